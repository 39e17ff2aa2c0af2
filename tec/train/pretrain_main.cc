// //tec:pretrain: trains a new model against a base model, or a base model from pixels, or, without flags, both on made
// pictures to show what comes of it. Exit codes: tec/base/exit_code.h.

#include <cstdio>
#include <optional>
#include <string>

#include "tec/base/exit_code.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"
#include "tec/config/flags.h"
#include "tec/dist/flags.h"
#include "tec/quickstart/quickstart.h"
#include "tec/train/trainer.h"

namespace tec {
namespace {

absl::StatusOr<TrainResult> Pretrain(const CommandLine& command_line) {
  TrainOptions options;
  TEC_ASSIGN_OR_RETURN(options.environment, LaunchEnvironmentOf(command_line.distributed));
  return Train(command_line.experiment, options);
}

int Main(int argc, char** argv) {
  InitLogging(argv[0]);
  const absl::StatusOr<CommandLine> command_line = ParseCommandLine(argc, argv);
  if (const std::optional<int> exit_code = FinishEarly(command_line)) return *exit_code;
  const auto report = [](const absl::Status& status) {
    if (!status.ok()) std::fprintf(stderr, "pretrain: %s\n", std::string(status.message()).c_str());
  };
  if (command_line->is_quickstart) {
    const absl::Status status = RunQuickstart(command_line->quickstart).status();
    report(status);
    return ExitCodeOf(status);
  }
  const absl::StatusOr<TrainResult> result = Pretrain(*command_line);
  report(result.status());
  return ExitCodeOf(result);
}

}  // namespace
}  // namespace tec

int main(int argc, char** argv) { return tec::Main(argc, argv); }
