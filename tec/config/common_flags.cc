#include "tec/config/common_flags.h"

#include <cmath>
#include <cstdio>

#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"
#include "tec/base/path.h"
#include "tec/base/program.h"

// Defaults: recipe.md section 9. A default here must equal ReferenceExperiment's and ReferenceFinetune's; a test
// compares them.

ABSL_FLAG(std::string, config, "", "name of an experiment or a text file; other flags that are given override it");
ABSL_FLAG(bool, print_config, false, "print the experiment with every field set, and exit");

ABSL_FLAG(std::string, data_path, "/datasets01/imagenet_full_size/061417/",
          "pictures: a folder with train/, class folders, a flat folder, a list file, tar shards or a packed file");
ABSL_FLAG(int64_t, input_size, 224, "pixels a side of the crop that the models see");
ABSL_FLAG(int64_t, channels, 3,
          "of a picture: 3 RGB, 1 grey, whatever the file; other numbers: what a PNG or TIFF file holds, unchanged");
ABSL_FLAG(std::string, mean, "0.485,0.456,0.406",
          "of each channel, in units of [0, 1], to normalise by; //tools:verify_dataset --stats computes it");
ABSL_FLAG(std::string, std, "0.229,0.224,0.225", "standard deviation of each channel; as --mean");
ABSL_FLAG(int64_t, num_workers, 0, "threads that decode pictures; 0: as many as this rank has cores");
ABSL_FLAG(bool, pin_mem, true, "copy to the GPU from page-locked memory");
ABSL_FLAG(bool, no_pin_mem, false, "switch --pin_mem off");
ABSL_FLAG(double, max_bad_fraction, 0.001, "stop if more than this part of the pictures cannot be read");

ABSL_FLAG(std::string, sampler, "own", "order of the pictures: own, or reference (PyTorch's permutation of the epoch)");
ABSL_FLAG(double, train_fraction, 1,
          "this part of every class's training pictures, chosen by the seed (in finetuning: by --subset_seed)");
ABSL_FLAG(std::string, classes, "", "these classes alone: names separated by commas; empty: all");
ABSL_FLAG(std::string, exclude, "",
          "shell patterns (*, ?, [...]) of files and folders of the data set to leave out, with commas between them");

ABSL_FLAG(int64_t, batch_size, 64, "pictures a rank and micro-step");
ABSL_FLAG(int64_t, accum_iter, 1, "micro-steps an update; the effective batch is batch_size x accum_iter x world size");
ABSL_FLAG(double, lr, 0, "learning rate; 0: blr x effective batch / 256");
ABSL_FLAG(double, blr, 1e-3, "learning rate per 256 pictures of the effective batch");
ABSL_FLAG(double, weight_decay, 0.05, "AdamW's decoupled weight decay");
ABSL_FLAG(double, clip_grad, 0, "largest global norm of the gradient; 0: no clipping");

ABSL_FLAG(std::string, output_dir, "./output_dir", "checkpoints, logs and the resolved experiment");
ABSL_FLAG(std::string, log_dir, "./output_dir", "TensorBoard events; unless given, the output_dir of the run");
ABSL_FLAG(std::string, resume, "", "checkpoint file to go on from; unless given, the newest of output_dir, if any");
ABSL_FLAG(int64_t, start_epoch, 0, "first epoch, counted from 0; a resumed run goes on where it stopped");
ABSL_FLAG(double, save_every_minutes, 0, "save this_checkpoint also within an epoch; 0: only at its end");
ABSL_FLAG(int64_t, keep_last, 0, "numbered checkpoints to keep, the newest; older ones are removed; 0: all");
ABSL_FLAG(
    std::string, save_weights, "all",
    "what numbered checkpoints hold: all, or encoder: what evaluating and finetuning need, a quarter of the size");
ABSL_FLAG(bool, overwrite, false,
          "start anew in an output_dir that holds a run: its checkpoints and logs are removed first");
ABSL_FLAG(int64_t, print_freq, 20, "micro-steps between two printed lines where there is no terminal");
ABSL_FLAG(double, log_seconds, 60, "a printed line at least so often where there is no terminal; 0: by --print_freq");
ABSL_FLAG(bool, report, true, "write report.html, a page to look at, into output_dir in the background");
ABSL_FLAG(double, report_seconds, 10, "that drawing the page's pictures may take at the end (quickstart: 60)");

ABSL_FLAG(std::string, device, "cuda", "cuda or cpu");
ABSL_FLAG(std::string, precision, "",
          "float32, bfloat16 or float16 (CUDA only); unless given, bfloat16 where the processor or GPU has it");
ABSL_FLAG(int64_t, threads, 0,
          "compute threads on the CPU; 0: the cores that the process may use, shared among the ranks of a machine");
ABSL_FLAG(int64_t, seed, 5, "of everything random");

namespace tec {

std::string ConfigFlag() { return absl::GetFlag(FLAGS_config); }
absl::StatusOr<SavingFlags> ReadSavingFlags() {
  SavingFlags flags;
  flags.overwrite = absl::GetFlag(FLAGS_overwrite);
  flags.keep_last = absl::GetFlag(FLAGS_keep_last);
  flags.log_seconds = absl::GetFlag(FLAGS_log_seconds);
  flags.report = absl::GetFlag(FLAGS_report);
  flags.report_seconds = absl::GetFlag(FLAGS_report_seconds);
  if (!(flags.report_seconds >= 0) || !std::isfinite(flags.report_seconds)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--report_seconds=", flags.report_seconds, ": it must be a number from 0"));
  }
  const std::string weights = absl::GetFlag(FLAGS_save_weights);
  flags.encoder_only = weights == "encoder";
  if (weights != "all" && weights != "encoder") {
    return absl::InvalidArgumentError(absl::StrCat("--save_weights=", weights, ": it must be all or encoder"));
  }
  if (flags.keep_last < 0) {
    return absl::InvalidArgumentError(absl::StrCat("--keep_last=", flags.keep_last, ": it must be at least 0"));
  }
  if (!(flags.log_seconds >= 0)) {
    return absl::InvalidArgumentError(absl::StrCat("--log_seconds=", flags.log_seconds, ": it must be at least 0"));
  }
  return flags;
}
bool PrintConfigFlag() { return absl::GetFlag(FLAGS_print_config); }

FlagGroup DataFlags() {
  return {"Data",
          {{"data_path", "data.path"},
           {"classes", "data.classes"},
           {"exclude", "data.exclude"},
           {"train_fraction", "data.train_fraction"},
           {"sampler", "data.sampler"},
           {"channels", "data.channels"},
           {"mean", "data.mean"},
           {"std", "data.std"},
           {"num_workers", "data.num_workers"},
           {"fast_jpeg"},
           {"max_bad_fraction", "data.max_bad_fraction"},
           {"pin_mem", "data.pin_mem"},
           {"no_pin_mem", "data.pin_mem", /*negated=*/true}}};
}

FlagGroup OptimizerFlags() {
  return {"Optimiser and schedule",
          {{"batch_size", "optimizer.batch_size"},
           {"accum_iter", "optimizer.accum_iter"},
           {"lr", "optimizer.lr"},
           {"blr", "optimizer.blr"},
           {"min_lr", "schedule.min_lr"},
           {"epochs", "schedule.epochs"},
           {"warmup_epochs", "schedule.warmup_epochs"},
           {"start_epoch", "schedule.start_epoch"},
           {"weight_decay", "optimizer.weight_decay"},
           {"clip_grad", "optimizer.clip_grad"}}};
}

FlagGroup OutputFlags() {
  return {"Results, checkpoints and logs",
          {{"output_dir", "logging.output_dir"},
           {"log_dir", "logging.log_dir"},
           {"print_freq", "logging.print_freq"},
           {"resume", "checkpointing.resume"},
           {"save_period", "checkpointing.save_period"},
           {"save_every_minutes", "checkpointing.save_every_minutes"}}};
}

FlagGroup SavingFlagGroup() {
  return {"What stays on the disk, and what is printed",
          {{"overwrite", ""},
           {"keep_last", ""},
           {"save_weights", ""},
           {"log_seconds", ""},
           {"report", ""},
           {"report_seconds", ""}}};
}

FlagGroup RuntimeFlags() {
  return {"Device",
          {{"device", "runtime.device"},
           {"precision", "runtime.precision"},
           {"threads", "runtime.threads"},
           {"seed", "seed"}}};
}

void FollowOutputDir(const ParsedFlags& parsed, const config::Logging& before, config::Logging* logging) {
  if (!parsed.Given("log_dir") && before.log_dir() == before.output_dir()) logging->clear_log_dir();
}

void ResolvePaths(config::Data* data, config::Checkpointing* checkpointing, config::Logging* logging) {
  data->set_path(AbsoluteUserPath(data->path()));
  // An address stays one, for Validate to refuse by name.
  if (checkpointing->resume().find("://") == std::string::npos) {
    checkpointing->set_resume(AbsoluteUserPath(checkpointing->resume()));
  }
  logging->set_output_dir(AbsoluteUserPath(logging->output_dir()));
  logging->set_log_dir(AbsoluteUserPath(logging->log_dir()));
}

std::optional<int> PrintAndFinish(const absl::Status& status, bool help, const std::function<std::string()>& help_text,
                                  bool print_config, const std::function<std::string()>& config_text) {
  if (!status.ok()) {
    ReportStatus("error", status);
    return kExitBadInput;
  }
  if (!help && !print_config) return std::nullopt;
  std::fputs((help ? help_text() : config_text()).c_str(), stdout);
  // A full disk or a closed pipe must not pass for a printed config.
  return std::fflush(stdout) == 0 ? 0 : 1;
}

}  // namespace tec
