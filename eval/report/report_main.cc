// //tools:report: one HTML page for a run, or for several side by side.
//
//   ./bazelw run //tools:report -- runs/tec
//   ./bazelw run //tools:report -- runs/a runs/b --output=both.html
//
// Exit codes: 0 done, 1 bad use or input, 2 failed while running, 3 stopped on request.

#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "eval/report/html.h"
#include "eval/report/open_page.h"
#include "eval/report/run_folder.h"
#include "eval/report/run_pictures.h"
#include "eval/report/run_report.h"
#include "tec/base/exit_code.h"
#include "tec/base/file.h"
#include "tec/base/logging.h"
#include "tec/base/path.h"
#include "tec/base/printable.h"
#include "tec/base/program.h"
#include "tec/base/status.h"
#include "tec/config/flag_parser.h"
#include "tec/run/stop_signal.h"
#include "tec/run/torch_runtime.h"

ABSL_FLAG(std::string, output, "", "The page; empty: report.html in the first run's folder.");
ABSL_FLAG(bool, pictures, true, "Draw what the models of a run make of some pictures.");
ABSL_FLAG(int64_t, report_images, 16, "Pictures drawn.");
ABSL_FLAG(int64_t, report_bank, 1000,
          "Training pictures that kNN, neighbours and the measures of collapse are computed from.");
ABSL_FLAG(std::string, data_path, "", "Where the run's pictures are now; empty: where they were.");
ABSL_FLAG(std::string, base_model, "", "Where the run's base model is now; empty: where it was.");
ABSL_FLAG(std::string, device, "cpu", "cpu or cuda: where the models compute.");
ABSL_FLAG(int64_t, num_workers, 2, "Threads that decode images.");
ABSL_FLAG(bool, tensorboard, false,
          "Also write the pictures, and vectors of them for the projector, into tensorboard/ beside the run's events.");
ABSL_FLAG(bool, histograms, false, "With --tensorboard: histograms of weights and features, too.");
ABSL_FLAG(bool, open, false, "Show the page afterwards, with xdg-open.");

namespace tec {
namespace {

constexpr char kUsage[] =
    "One page for a run, to be read offline or sent: curves, accuracies, what the models see, settings, files.\n\n"
    "  ./bazelw run //tools:report -- runs/tec\n"
    "  ./bazelw run //tools:report -- runs/a runs/b --output=both.html     # side by side, without pictures\n\n";

std::vector<FlagGroup> Flags() {
  return {{"The page", {{"output"}, {"open"}, {"pictures"}, {"report_images"}, {"report_bank"}}},
          {"TensorBoard", {{"tensorboard"}, {"histograms"}}},
          {"What it is drawn from", {{"data_path"}, {"base_model"}, {"device"}, {"num_workers"}}}};
}

// A segmentation has drawn its own.
bool HasPictures(const RunFolder& run) { return run.what != "segmentation"; }

absl::Status Run(const std::vector<std::string>& folders) {
  if (folders.empty()) return absl::InvalidArgumentError("say which run: the --output_dir of a program");
  std::vector<RunFolder> runs;
  for (const std::string& folder : folders) {
    TEC_ASSIGN_OR_RETURN(RunFolder run, ReadRunFolder(UserPath(folder)));
    runs.push_back(std::move(run));
  }
  RunPicturesOptions options;
  options.images = absl::GetFlag(FLAGS_report_images);
  options.bank = absl::GetFlag(FLAGS_report_bank);
  options.threads = static_cast<int>(absl::GetFlag(FLAGS_num_workers));
  if (options.images < 1 || options.bank < 2 || options.threads < 1) {
    return absl::InvalidArgumentError("--report_images and --num_workers must be at least 1, --report_bank at least 2");
  }
  options.data_path = UserPath(absl::GetFlag(FLAGS_data_path));
  options.base_model = UserPath(absl::GetFlag(FLAGS_base_model));
  options.device = absl::GetFlag(FLAGS_device);
  options.histograms = absl::GetFlag(FLAGS_histograms);
  const bool draws = absl::GetFlag(FLAGS_pictures) && runs.size() == 1 && HasPictures(runs[0]);
  if (absl::GetFlag(FLAGS_tensorboard)) {
    if (!draws) return absl::InvalidArgumentError("--tensorboard is for one run with --pictures");
    options.tensorboard_folder = TensorBoardFolderOf(runs[0]);
  } else if (options.histograms) {
    return absl::InvalidArgumentError("--histograms needs --tensorboard");
  }
  const StopSignal stop_signal;
  options.stop = [&stop_signal] { return stop_signal.received() != 0; };
  std::vector<ReportSection> sections;
  if (draws) {
    TEC_RETURN_IF_ERROR(SelectDevice(options.device).status());
    absl::StatusOr<std::vector<ReportSection>> pictures = RunPictures(runs[0], options);
    if (absl::IsCancelled(pictures.status())) return pictures.status();
    if (pictures.ok()) {
      sections = *std::move(pictures);
    } else {
      // The curves are worth a page by themselves, and the page says what is missing.
      TEC_LOG(WARNING) << "without pictures: " << pictures.status().message();
      sections.push_back(
          {"pictures", "Pictures",
           absl::StrCat("<p class=\"warning\">Not drawn: ", HtmlText(pictures.status().message()), "</p>\n")});
    }
  }
  const std::string output = absl::GetFlag(FLAGS_output).empty() ? absl::StrCat(runs[0].path, "/report.html")
                                                                 : UserPath(absl::GetFlag(FLAGS_output));
  TEC_RETURN_IF_ERROR(WriteFile(output, FormatRunReport(runs, sections)));
  std::printf("report: %s\n", Printable(output).c_str());
  if (!options.tensorboard_folder.empty()) {
    std::printf("for tensorboard --logdir: %s\n", Printable(options.tensorboard_folder).c_str());
  }
  if (absl::GetFlag(FLAGS_open)) OpenPage(output);
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  InitLogging(argv[0]);
  std::vector<std::string> folders;
  const auto parsed = ParseFlags(argc, argv, Flags(), &folders);
  if (parsed.ok() && parsed->help) {
    std::printf("%s%s", kUsage, DescribeFlags(Flags()).c_str());
    return kExitDone;
  }
  const absl::Status status = parsed.ok() ? CatchTorch([&] { return Run(folders); }) : parsed.status();
  return ReportStatus("report", status);
}

}  // namespace
}  // namespace tec

int main(int argc, char** argv) { return tec::RunProgram(argc, argv, tec::Main); }
