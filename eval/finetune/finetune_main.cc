// //eval:finetune: see tec/config/finetune_flags.h for the command line and run_finetune.h for what it does.
//
//   ./bazelw run //eval:finetune -- --mlp_token --finetune=tec.pth --data_path=/imagenet
//
// Exit codes: 0 done, 1 bad use or input, 2 failed while running, 3 stopped on request after saving.

#include <optional>
#include <string>
#include <utility>

#include "eval/finetune/run_finetune.h"
#include "eval/report/background_report.h"
#include "eval/report/picture_process.h"
#include "eval/report/run_pictures.h"
#include "tec/base/exit_code.h"
#include "tec/base/logging.h"
#include "tec/base/program.h"
#include "tec/base/status.h"
#include "tec/config/finetune_flags.h"
#include "tec/dist/flags.h"
#include "tec/run/rank_runtime.h"

namespace tec {
namespace {

absl::StatusOr<RunFinetuneResult> Finetune(const FinetuneCommandLine& command_line) {
  RunFinetuneOptions options;
  TEC_ASSIGN_OR_RETURN(options.environment, LaunchEnvironmentOf(command_line.distributed));
  const Distributed& distributed = command_line.distributed;
  TEC_RETURN_IF_ERROR(PrepareRank({command_line.finetune.runtime().device(), distributed.bind,
                                   distributed.deterministic, distributed.bfloat16_gradients},
                                  options.environment));
  options.overwrite = command_line.saving.overwrite;
  options.retention.keep_last = command_line.saving.keep_last;
  options.retention.encoder_only = command_line.saving.encoder_only;
  options.log_seconds = command_line.saving.log_seconds;
  options.confusion = command_line.confusion;
  BackgroundReportOptions page;
  if (command_line.saving.report && !command_line.finetune.eval() && options.environment.rank == 0) {
    page.folder = command_line.finetune.logging().output_dir();
  }
  page.pictures = SectionsByProcess;
  page.last_seconds = command_line.saving.report_seconds;
  return WithReport<RunFinetuneResult>(std::move(page), [&] { return RunFinetune(command_line.finetune, options); });
}

int Main(int argc, char** argv) {
  InitLogging(argv[0]);
  if (const std::optional<int> exit_code = DrawRunPicturesIfAsked()) return *exit_code;
  const absl::StatusOr<FinetuneCommandLine> command_line = ParseFinetuneCommandLine(argc, argv);
  if (const std::optional<int> exit_code = FinishEarly(command_line)) {
    TellRanks(Distributed(), command_line.status());
    return *exit_code;
  }
  const absl::StatusOr<RunFinetuneResult> result = Finetune(*command_line);
  const ExitCode exit_code = ReportStatus("finetune", result.status());
  return result.ok() && result->stopped ? kExitStopped : exit_code;
}

}  // namespace
}  // namespace tec

int main(int argc, char** argv) { return tec::RunProgram(argc, argv, tec::Main); }
