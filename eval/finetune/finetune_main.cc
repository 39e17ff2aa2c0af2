// //eval:finetune: see tec/config/finetune_flags.h for the command line and run_finetune.h for what it does.
//
//   ./bazelw run //eval:finetune -- --mlp_token --finetune=tec.pth --data_path=/imagenet
//
// Exit codes: 0 done, 1 bad use or input, 2 failed while running, 3 stopped on request after saving.

#include <cstdio>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "eval/finetune/run_finetune.h"
#include "tec/base/exit_code.h"
#include "tec/base/logging.h"
#include "tec/config/finetune.h"
#include "tec/config/finetune_flags.h"
#include "tec/dist/environment.h"

namespace tec {
namespace {

absl::Status CheckSingleProcess(const Distributed& distributed) {
  LaunchOptions options;
  options.dist_on_itp = distributed.dist_on_itp;
  options.dist_url = distributed.dist_url;
  const absl::StatusOr<LaunchEnvironment> environment = DetectLaunchEnvironment(options);
  if (!environment.ok()) return environment.status();
  if (environment->world_size == 1) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "the environment asks for ", environment->world_size,
      " processes, but finetuning runs in one for now; unset RANK and WORLD_SIZE (or their like of the launcher), and "
      "multiply --accum_iter to keep the batch of an update"));
}

int Main(int argc, char** argv) {
  InitLogging(argv[0]);
  const absl::StatusOr<FinetuneCommandLine> command_line = ParseFinetuneCommandLine(argc, argv);
  if (const std::optional<int> exit_code = FinishEarly(command_line)) return *exit_code;
  absl::Status status = CheckSingleProcess(command_line->distributed);
  bool stopped = false;
  if (status.ok()) {
    const absl::StatusOr<RunFinetuneResult> result = RunFinetune(command_line->finetune, RunFinetuneOptions());
    status = result.status();
    stopped = result.ok() && result->stopped;
  }
  if (!status.ok()) std::fprintf(stderr, "finetune: %s\n", std::string(status.message()).c_str());
  return stopped ? kExitStopped : ExitCodeOf(status);
}

}  // namespace
}  // namespace tec

int main(int argc, char** argv) { return tec::Main(argc, argv); }
