// A folder that holds a finished run is not taken for another one: it would train nothing, and look as if it had.

#ifndef TEC_RUN_FINISHED_RUN_H_
#define TEC_RUN_FINISHED_RUN_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace tec {

// FailedPrecondition if output_dir holds a run that has all of `epochs`, and differs(its experiment.textproto) is not
// empty; and, whatever `epochs`, if the run there has all that it was to have and was of another experiment (method,
// models, base models, data and what of them is taken, seed). Lists what differs and names what to do. Touches nothing.
absl::Status CheckNotFinished(const std::string& output_dir, int64_t epochs,
                              const std::function<std::vector<std::string>(const std::string& recorded)>& differs);

// Removes what a run leaves in its folder: checkpoints, logs, results, settings, its page, the folder tensorboard with
// all that is in it. Others stay, and so does the folder, which need not be there.
absl::Status RemoveRun(const std::string& output_dir);

}  // namespace tec

#endif  // TEC_RUN_FINISHED_RUN_H_
