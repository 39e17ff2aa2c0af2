#include "tec/run/shared_run_state.h"

#include <string>

#include "tec/base/status.h"
#include "tec/checkpoint/finite_state.h"

namespace tec {

absl::StatusOr<std::optional<LoadedState>> FindSharedRunState(RunContext& context, const LoopOptions& options,
                                                              const RunSaver* saver) {
  std::optional<LoadedState> found;
  const auto find = [&](const std::string& file) -> absl::Status {
    TEC_ASSIGN_OR_RETURN(found, FindRunState(file, saver, options.method, options.instead));
    return found ? CheckFinite(*found) : absl::OkStatus();
  };
  TEC_RETURN_IF_ERROR(context.OnFirstRank([&] { return find(options.resume); }));
  TEC_ASSIGN_OR_RETURN(const std::string path, context.group().BroadcastText(found ? found->path : ""));
  TEC_RETURN_IF_ERROR(context.group().Agree(context.first_rank() || path.empty() ? absl::OkStatus() : find(path)));
  return found;
}

}  // namespace tec
