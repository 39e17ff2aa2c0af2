// //eval:reproduce: a row of the paper's table from its base model to the finetuned accuracy and a verdict, or the same
// chain on small pictures in minutes.
//
//   ./bazelw run //eval:reproduce -- --row=vit_b_mae_300ep --data_path=/imagenet --base_model=mae_pretrain_vit_base.pth
//   ./bazelw run //eval:reproduce -- --scale=mini --data_path=/cifar10 --device=cpu
//   ./bazelw run //eval:reproduce -- --scale=mini --stages=3 --data_path=/cifar10 --device=cpu
//
// Exit codes: 0 reproduced, 1 bad use or input, 2 a stage failed, 3 stopped on request (the same command goes on),
// 4 all stages are done and the result is not the published one.

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "data/dataset/dataset.h"
#include "eval/reproduce/plan.h"
#include "eval/reproduce/report.h"
#include "eval/reproduce/subset.h"
#include "nlohmann/json.hpp"
#include "tec/base/exit_code.h"
#include "tec/base/file.h"
#include "tec/base/json_text.h"
#include "tec/base/logging.h"
#include "tec/base/path.h"
#include "tec/base/printable.h"
#include "tec/base/program.h"
#include "tec/base/status.h"
#include "tec/base/steady_seconds.h"
#include "tec/config/flag_parser.h"
#include "tec/config/rows.h"
#include "tec/dist/launch.h"
#include "tec/run/folder_lock.h"

ABSL_FLAG(std::string, row, "vit_b_mae_300ep", "The row of the paper's table.");
ABSL_FLAG(
    std::string, scale, "paper",
    "paper: the row as published. mini: a base model is trained, new models against it, on a part of --data_path; "
    "the row's name is then a heading only.");
ABSL_FLAG(
    std::string, data_path, "",
    "A folder with train/, and val/ or test/, one folder a class in each. paper: ImageNet-1k; mini: pictures of 32 "
    "to 64 pixels, for instance CIFAR-10.");
ABSL_FLAG(
    std::string, base_model, "",
    "paper: the row's base model; without it the program says which file that is. With --stages: the chain's first "
    "model, which is made otherwise.");
ABSL_FLAG(std::string, output_dir, "./reproduce", "Folder for runs, logs and report/.");
ABSL_FLAG(int64_t, nproc, 0,
          "paper: processes (GPUs) on this machine, 0: 1 or, with --dry_run, the row's 8; the batch of an update stays "
          "the row's.");
ABSL_FLAG(std::string, seeds, "", "Seeds, separated by commas; empty: the reference's (paper), 0 (mini).");
ABSL_FLAG(int64_t, train_images, 10000, "mini: training images taken from --data_path, the same number of each class.");
ABSL_FLAG(int64_t, held_out_images, 2000, "mini: held-out images.");
ABSL_FLAG(int64_t, epochs, 0, "mini: epochs of each training run, for a trial; 0: those of the chain.");
ABSL_FLAG(int64_t, stages, 0,
          "mini: a chain of so many models, a base model (MAE), a new model against it, one against that, ...; it ends "
          "early when kNN no longer rises by more than its standard error. 0: the comparison of the small scale.");
ABSL_FLAG(bool, finetune_stages, false, "With --stages: finetune each model of the chain, too.");
ABSL_FLAG(std::string, device, "cuda", "cuda or cpu.");
ABSL_FLAG(int64_t, threads, 0, "Compute threads of a process on the CPU; 0: all cores.");
ABSL_FLAG(int64_t, num_workers, 0, "Threads of a process that decode images; 0: as many as it has cores.");
ABSL_FLAG(
    bool, dry_run, false,
    "Print the commands, their settings and what they cost, and end; --data_path and --base_model may be missing.");
ABSL_FLAG(double, tflops, 0,
          "--dry_run: TFLOP/s that a process sustains, for the hours; 0: 400 (paper; 40 % of an H100's peak in "
          "bfloat16), 0.153 (mini; measured on two cores).");

namespace tec {
namespace {

// SIGINT or SIGTERM came while no stage was running; a second one ends the program at once.
volatile std::sig_atomic_t stop_requested = 0;

void NoteStops() {
  struct sigaction action = {};
  action.sa_handler = [](int) { stop_requested = 1; };
  action.sa_flags = static_cast<int>(SA_RESTART | SA_RESETHAND);
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

constexpr char kUsage[] =
    "Makes a row of the paper's table: pretrains against the row's base model, takes out the encoder, finetunes and "
    "evaluates it,\nand compares the result with the published one. Stopped at any point, the same command goes on.\n\n"
    "  ./bazelw run //eval:reproduce -- --row=vit_b_mae_300ep --data_path=/imagenet --base_model=mae.pth --nproc=8\n"
    "  ./bazelw run //eval:reproduce -- --scale=mini --data_path=/cifar10 --device=cpu --seeds=0,1\n"
    "  ./bazelw run //eval:reproduce -- --scale=mini --stages=3 --data_path=/cifar10 --device=cpu\n"
    "      A chain: a base model, a new model against it, one against that.\n\n";

std::vector<FlagGroup> Flags() {
  return {{"What is reproduced", {{"row"}, {"scale"}, {"data_path"}, {"base_model"}, {"seeds"}, {"output_dir"}}},
          {"The small scale", {{"train_images"}, {"held_out_images"}, {"epochs"}, {"stages"}, {"finetune_stages"}}},
          {"How it runs", {{"nproc"}, {"device"}, {"threads"}, {"num_workers"}, {"dry_run"}, {"tflops"}}}};
}

absl::StatusOr<ReproduceOptions> OptionsFromFlags() {
  ReproduceOptions options;
  options.row = absl::GetFlag(FLAGS_row);
  const std::string scale = absl::GetFlag(FLAGS_scale);
  if (scale != "paper" && scale != "mini") {
    return absl::InvalidArgumentError(absl::StrCat("--scale=", scale, ": it must be paper or mini"));
  }
  options.scale = scale == "mini" ? Scale::kMini : Scale::kPaper;
  options.data_path = UserPath(absl::GetFlag(FLAGS_data_path));
  options.base_model = UserPath(absl::GetFlag(FLAGS_base_model));
  options.output_dir = std::filesystem::absolute(UserPath(absl::GetFlag(FLAGS_output_dir))).lexically_normal().string();
  options.device = absl::GetFlag(FLAGS_device);
  options.ranks = static_cast<int>(absl::GetFlag(FLAGS_nproc));
  options.threads = absl::GetFlag(FLAGS_threads);
  options.num_workers = absl::GetFlag(FLAGS_num_workers);
  options.train_images = absl::GetFlag(FLAGS_train_images);
  options.held_out_images = absl::GetFlag(FLAGS_held_out_images);
  options.epochs = absl::GetFlag(FLAGS_epochs);
  options.stages = absl::GetFlag(FLAGS_stages);
  options.finetune = absl::GetFlag(FLAGS_finetune_stages);
  if (options.finetune && options.stages == 0) {
    return absl::InvalidArgumentError("--finetune_stages is for a chain: give --stages");
  }
  options.dry_run = absl::GetFlag(FLAGS_dry_run);
  if (const double tflops = absl::GetFlag(FLAGS_tflops); !(tflops >= 0 && std::isfinite(tflops))) {
    return absl::InvalidArgumentError(absl::StrCat("--tflops=", tflops, ": it must be at least 0"));
  }
  for (const absl::string_view part : absl::StrSplit(absl::GetFlag(FLAGS_seeds), ',', absl::SkipEmpty())) {
    int64_t seed = 0;
    if (!absl::SimpleAtoi(part, &seed) || seed < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("--seeds=", absl::GetFlag(FLAGS_seeds), ": \"", part, "\" is not a whole number from 0"));
    }
    if (std::find(options.seeds.begin(), options.seeds.end(), seed) != options.seeds.end()) {
      return absl::InvalidArgumentError(absl::StrCat("--seeds: ", seed, " is there twice"));
    }
    options.seeds.push_back(seed);
  }
  return options;
}

// How the program is started: as a subcommand of this binary if it is `tec`; else by its file, beside this one in its
// runfiles or in the same bazel-bin.
absl::StatusOr<std::vector<std::string>> CommandOf(Program program) {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  const std::string path = PathOf(program);
  if (self.filename() == "tec") return std::vector<std::string>{self.string(), std::filesystem::path(path).filename()};
  for (const std::filesystem::path& candidate :
       {std::filesystem::path(path), self.parent_path().parent_path().parent_path() / path}) {
    if (access(candidate.c_str(), X_OK) == 0) {
      return std::vector<std::string>{std::filesystem::absolute(candidate).string()};
    }
  }
  return absl::NotFoundError(
      absl::StrCat("the program ", path, " is not there; start with ./bazelw run //eval:reproduce"));
}

// What must stay the same when a folder is gone on with. Seeds may be added.
absl::Status CheckSameRun(const ReproduceOptions& options) {
  const std::string path = absl::StrCat(options.output_dir, "/reproduce.json");
  const nlohmann::ordered_json settings = {{"row", options.row},
                                           {"scale", options.scale == Scale::kPaper ? "paper" : "mini"},
                                           {"data_path", options.data_path},
                                           {"base_model", options.base_model},
                                           {"train_images", options.train_images},
                                           {"held_out_images", options.held_out_images},
                                           {"epochs", options.epochs},
                                           {"stages", options.stages},
                                           {"finetune_stages", options.finetune}};
  const std::string as_written = DumpJson(settings, 2);
  const absl::StatusOr<std::string> text = ReadFile(path);
  if (!text.ok()) return WriteFile(path, absl::StrCat(as_written, "\n"));
  const auto now = nlohmann::ordered_json::parse(as_written);
  nlohmann::ordered_json before = nlohmann::ordered_json::parse(*text, nullptr, /*allow_exceptions=*/false);
  // Folders begun before there was --epochs.
  if (before.is_object() && !before.contains("epochs")) before["epochs"] = 0;
  // And --stages.
  if (before.is_object() && !before.contains("stages")) {
    before["stages"] = 0;
    before["finetune_stages"] = false;
  }
  if (before == now) return absl::OkStatus();
  std::vector<std::string> changes;
  for (const auto& [key, value] : now.items()) {
    const nlohmann::ordered_json old = before.is_object() && before.contains(key) ? before[key] : nullptr;
    if (old != value) changes.push_back(absl::StrCat("--", key, " was ", old.dump(), " and is ", value.dump()));
  }
  return absl::InvalidArgumentError(absl::StrCat(options.output_dir, " holds another reproduction: ",
                                                 absl::StrJoin(changes, "; "), ". Choose another --output_dir"));
}

absl::Status CheckInputs(const ReproducePlan& plan) {
  const ReproduceOptions& options = plan.options;
  if (options.scale == Scale::kPaper && !std::filesystem::exists(options.base_model)) {
    return absl::NotFoundError(absl::StrCat("--base_model=", options.base_model, " is not there; it is ",
                                            plan.row.base_model_file(), ": ", plan.row.base_model_source()));
  }
  for (const Split split : {Split::kTrain, Split::kHeldOut}) {
    if (options.scale == Scale::kMini) continue;  // CopySubset has looked.
    const absl::Status status = OpenDataset(options.data_path, split).status();
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status RunStage(const Stage& stage, const ReproduceOptions& options) {
  LaunchRequest request;
  TEC_ASSIGN_OR_RETURN(request.command, CommandOf(stage.program));
  if (!stage.config_path.empty()) {
    TEC_RETURN_IF_ERROR(MakeDirectories(std::filesystem::path(stage.config_path).parent_path().string()));
    TEC_RETURN_IF_ERROR(WriteFile(stage.config_path, stage.config_text));
  }
  request.command.insert(request.command.end(), stage.arguments.begin(), stage.arguments.end());
  request.ranks = stage.ranks;
  request.log_file = absl::StrCat(options.output_dir, "/logs/", stage.name, ".log");
  TEC_RETURN_IF_ERROR(MakeDirectories(std::filesystem::path(request.log_file).parent_path().string()));
  TEC_RETURN_IF_ERROR(MakeDirectories(std::filesystem::path(stage.done_file).parent_path().string()));
  bool stopped = false;
  request.stop_requested = &stopped;
  const double start = SteadySeconds();
  TEC_ASSIGN_OR_RETURN(const int code, RunRanks(request));
  TEC_RETURN_IF_ERROR(AddDuration(options.output_dir, stage.name, SteadySeconds() - start));
  if (stopped) stop_requested = 1;
  if (code == kExitDone && std::filesystem::exists(stage.done_file)) return absl::OkStatus();
  if (code == kExitStopped || code == 128 + SIGINT || code == 128 + SIGTERM) {
    return absl::CancelledError(absl::StrCat("stopped in ", stage.name, "; the same command goes on there"));
  }
  const std::string where = absl::StrCat("stage ", stage.name, " ended with exit code ", code, "; see ",
                                         request.log_file, " and run the same command to go on");
  return code == kExitBadInput ? absl::InvalidArgumentError(where) : absl::InternalError(where);
}

// `*reproduced`: the verdict, once there is one.
absl::Status Run(const ReproduceOptions& options, bool* reproduced) {
  ImageCounts images = kImageNet;
  if (options.scale == Scale::kMini) images = {options.train_images, options.held_out_images};
  TEC_ASSIGN_OR_RETURN(ReproducePlan plan, MakePlan(options, images));
  if (options.dry_run) {
    Throughput throughput = DefaultThroughput(options.scale);
    if (const double tflops = absl::GetFlag(FLAGS_tflops); tflops > 0) throughput = {tflops * 1e12, "as given"};
    std::printf("%s", DescribePlan(plan, throughput).c_str());
    return absl::OkStatus();
  }
  if (options.scale == Scale::kMini && !std::filesystem::exists(options.data_path)) {
    return absl::NotFoundError(absl::StrCat("--data_path=", options.data_path, " is not there"));
  }
  TEC_RETURN_IF_ERROR(CheckInputs(plan));
  TEC_ASSIGN_OR_RETURN(const std::unique_ptr<FolderLock> lock, FolderLock::Take(options.output_dir));
  TEC_RETURN_IF_ERROR(CheckSameRun(options));
  int64_t held_out = images.held_out;
  if (options.scale == Scale::kMini) {
    absl::StatusOr<SubsetSizes> sizes = CopySubset(options.data_path, absl::StrCat(options.output_dir, "/data"),
                                                   {options.train_images, options.held_out_images});
    if (!sizes.ok()) return sizes.status();
    held_out = static_cast<int64_t>(sizes->held_out_images);
    std::printf("%d training and %d held-out images of %s\n", static_cast<int>(sizes->train_images),
                static_cast<int>(sizes->held_out_images), Printable(options.data_path).c_str());
  }

  absl::Status status;
  if (options.scale == Scale::kMini) plan.options.held_out_images = held_out;
  const auto write_report = [&plan](std::vector<StageResult>* results, Verdict* verdict) -> absl::Status {
    TEC_ASSIGN_OR_RETURN(*results, ReadResults(plan));
    *verdict = Judge(plan, *results);
    return WriteReport(plan, *results, *verdict);
  };
  std::vector<StageResult> results;
  Verdict verdict;
  for (size_t i = 0; i < plan.stages.size(); ++i) {
    const Stage& stage = plan.stages[i];
    const bool done = std::filesystem::exists(stage.done_file);
    if (stage.link > 1 && !done) {
      TEC_ASSIGN_OR_RETURN(results, ReadResults(plan));
      if (const std::string why = LeftOut(stage, results, held_out); !why.empty()) {
        std::printf("\n[%d/%d] %s: left out; %s\n", static_cast<int>(i + 1), static_cast<int>(plan.stages.size()),
                    stage.name.c_str(), why.c_str());
        continue;
      }
    }
    std::printf("\n[%d/%d] %s: %s%s\n", static_cast<int>(i + 1), static_cast<int>(plan.stages.size()),
                stage.name.c_str(), stage.what.c_str(), done ? " (done before)" : "");
    std::fflush(stdout);
    if (!done) {
      // A stage that ended well in spite of the request does not take the next one with it.
      status =
          stop_requested
              ? absl::CancelledError(absl::StrCat("stopped before ", stage.name, "; the same command goes on there"))
              : RunStage(stage, options);
    }
    if (!status.ok()) break;
    if (!done && i + 1 < plan.stages.size()) TEC_RETURN_IF_ERROR(write_report(&results, &verdict));
  }
  TEC_RETURN_IF_ERROR(write_report(&results, &verdict));
  std::printf("\n%s\n%s\nReport: %s/report/report.html\n", FormatResults(plan, results).c_str(), verdict.text.c_str(),
              Printable(options.output_dir).c_str());
  if (!status.ok()) return status;
  if (!verdict.reproduced) return absl::InternalError(verdict.text);
  *reproduced = *verdict.reproduced;
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  InitLogging(argv[0]);
  const std::vector<FlagGroup> flags = Flags();
  const absl::StatusOr<ParsedFlags> parsed = ParseFlags(argc, argv, flags);
  if (parsed.ok() && parsed->help) {
    std::printf("%s%s\nRows: %s\n", kUsage, DescribeFlags(flags).c_str(), absl::StrJoin(RowNames(), ", ").c_str());
    return kExitDone;
  }
  NoteStops();
  absl::Status status = parsed.status();
  if (status.ok()) {
    const absl::StatusOr<ReproduceOptions> options = OptionsFromFlags();
    bool reproduced = true;
    status = options.ok() ? Run(*options, &reproduced) : options.status();
    if (status.ok() && !reproduced) return kExitNotReproduced;
  }
  return ReportStatus("reproduce", status);
}

}  // namespace
}  // namespace tec

int main(int argc, char** argv) { return tec::RunProgram(argc, argv, tec::Main); }
