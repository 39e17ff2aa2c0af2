// The state that a run of several ranks goes on from.

#ifndef TEC_RUN_SHARED_RUN_STATE_H_
#define TEC_RUN_SHARED_RUN_STATE_H_

#include <optional>

#include "absl/status/statusor.h"
#include "tec/checkpoint/training_state.h"
#include "tec/run/run_context.h"
#include "tec/run/run_options.h"
#include "tec/run/run_saver.h"

namespace tec {

// The file options.resume, or the newest of output_dir, or none. The first rank chooses the file, so that all read the
// same one. Errors are FindRunState's and CheckFinite's, on every rank.
absl::StatusOr<std::optional<LoadedState>> FindSharedRunState(RunContext& context, const LoopOptions& options,
                                                              const RunSaver* saver);

}  // namespace tec

#endif  // TEC_RUN_SHARED_RUN_STATE_H_
