// //tec:pretrain: trains a new model against a base model, or a base model from pixels, or, without flags, both on made
// pictures to show what comes of it. Exit codes: tec/base/exit_code.h.

#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "eval/knn/knn_monitor.h"
#include "eval/quickstart/compare_encoders.h"
#include "eval/report/background_report.h"
#include "eval/report/open_page.h"
#include "eval/report/picture_process.h"
#include "eval/report/run_pictures.h"
#include "tec/base/exit_code.h"
#include "tec/base/logging.h"
#include "tec/base/program.h"
#include "tec/base/status.h"
#include "tec/config/flags.h"
#include "tec/dist/flags.h"
#include "tec/models/factory.h"
#include "tec/own_images/own_images.h"
#include "tec/quickstart/quickstart.h"
#include "tec/run/rank_runtime.h"
#include "tec/train/trainer.h"

namespace tec {
namespace {

KnnMonitorOptions MonitorOptions(const CommandLine& command_line) {
  const config::Experiment& experiment = command_line.experiment;
  KnnMonitorOptions options;
  options.data_path = command_line.knn_data_path;
  options.index_folder = experiment.logging().output_dir();
  options.exclude = ParseExclude(experiment.data().exclude());
  options.encoder = VitOptionsFrom(experiment.model(), experiment.data());
  options.features.spec = kPoolFeatures;
  options.features.threads = static_cast<int>(DecodingThreads(experiment.data().num_workers()));
  options.features.max_bad_fraction = experiment.data().max_bad_fraction();
  const config::Data& data = experiment.data();
  options.features.pin_mem = data.pin_mem();
  options.features.mean.assign(data.mean().begin(), data.mean().end());
  options.features.std.assign(data.std().begin(), data.std().end());
  return options;
}

BackgroundReportOptions PageOf(const config::Experiment& experiment, double seconds) {
  BackgroundReportOptions options;
  options.folder = experiment.logging().output_dir();
  options.pictures = SectionsByProcess;
  options.last_seconds = seconds;
  return options;
}

// page: empty: none was written.
void OpenIfAsked(const CommandLine& command_line, const std::string& page) {
  if (!command_line.open) return;
  if (page.empty()) {
    TEC_LOG(WARNING) << "--open: there is no page to open" << (command_line.saving.report ? "" : " (--noreport)");
    return;
  }
  OpenPage(page);
}

// What an error of this rank alone, before it meets the others, would make them wait for.
absl::Status Prepare(const CommandLine& command_line, std::optional<KnnMonitor>* monitor, TrainOptions* prepared) {
  TrainOptions& options = *prepared;
  TEC_ASSIGN_OR_RETURN(options.environment, LaunchEnvironmentOf(command_line.distributed));
  const Distributed& distributed = command_line.distributed;
  TEC_RETURN_IF_ERROR(PrepareRank({command_line.experiment.runtime().device(), distributed.bind,
                                   distributed.deterministic, distributed.bfloat16_gradients},
                                  options.environment));
  options.overwrite = command_line.saving.overwrite;
  options.retention.keep_last = command_line.saving.keep_last;
  options.retention.encoder_only = command_line.saving.encoder_only;
  options.log_seconds = command_line.saving.log_seconds;
  const int64_t every = command_line.knn_every;
  if (every > 0) {
    absl::StatusOr<KnnMonitor> made = KnnMonitor::Create(MonitorOptions(command_line));
    if (!made.ok()) return Annotate(made.status(), "--knn_every");
    *monitor = *std::move(made);
    options.monitor = [monitor, every](int64_t epoch, const torch::nn::Module& model, ProcessGroup& group) {
      return (epoch + 1) % every == 0 ? (*monitor)->Evaluate(model, &group)
                                      : std::vector<std::pair<std::string, double>>();
    };
  }
  return absl::OkStatus();
}

absl::StatusOr<TrainResult> Pretrain(const CommandLine& command_line) {
  std::optional<KnnMonitor> monitor;
  TrainOptions options;
  if (const absl::Status status = Prepare(command_line, &monitor, &options); !status.ok()) {
    TellRanks(command_line.distributed, status);
    return status;
  }
  BackgroundReportOptions page = PageOf(command_line.experiment, command_line.saving.report_seconds);
  if (!command_line.saving.report || options.environment.rank != 0) page.folder.clear();
  const std::string folder = page.folder;
  absl::StatusOr<TrainResult> result =
      WithReport<TrainResult>(std::move(page), [&] { return Train(command_line.experiment, options); });
  // Not after a stop: exit code 3 says that there is more to come.
  if (result.ok() && !result->stopped && options.environment.rank == 0) {
    OpenIfAsked(command_line, folder.empty() ? "" : absl::StrCat(folder, "/report.html"));
  }
  return result;
}

absl::Status Quickstart(const CommandLine& command_line) {
  // It is there to be looked at: its pictures may take a minute.
  constexpr double kPictureSeconds = 60;
  WatchRun watch;
  if (command_line.saving.report) {
    const double seconds = std::max(kPictureSeconds, command_line.saving.report_seconds);
    watch = [seconds](const config::Experiment& run) {
      const auto report = std::make_shared<BackgroundReport>(PageOf(run, seconds));
      return [report](bool finished) { return report->Finish(/*pictures=*/finished); };
    };
  }
  TEC_ASSIGN_OR_RETURN(const QuickstartResult result, RunQuickstart(command_line.quickstart, CompareEncoders, watch));
  OpenIfAsked(command_line, result.report);
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  InitLogging(argv[0]);
  if (const std::optional<int> exit_code = DrawRunPicturesIfAsked()) return *exit_code;
  const absl::StatusOr<CommandLine> command_line = ParseCommandLine(argc, argv, ThisMachine(), SettleOwnImages());
  if (const std::optional<int> exit_code = FinishEarly(command_line)) {
    TellRanks(Distributed(), command_line.status());
    return *exit_code;
  }
  if (command_line->is_quickstart) {
    return ReportStatus("pretrain", Quickstart(*command_line));
  }
  if (!command_line->announcement.empty()) {
    std::printf("%s\n", command_line->announcement.c_str());
    std::fflush(stdout);
  }
  const absl::StatusOr<TrainResult> result = Pretrain(*command_line);
  ReportStatus("pretrain", result.status());
  return ExitCodeOf(result);
}

}  // namespace
}  // namespace tec

int main(int argc, char** argv) { return tec::RunProgram(argc, argv, tec::Main); }
