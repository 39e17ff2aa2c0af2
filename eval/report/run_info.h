// How a run was started: command, versions, machine. A line of run_info.jsonl for each start, in the run's folder.

#ifndef TEC_EVAL_REPORT_RUN_INFO_H_
#define TEC_EVAL_REPORT_RUN_INFO_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "nlohmann/json.hpp"

namespace tec {

// {"system", "processor", "cores", "gpus", "compiler", "libtorch", "cuda"}: what this program runs on.
nlohmann::ordered_json ThisMachineInfo();

// The project's commit, which pins the version of every dependency, with "-dirty" after it if files were changed. Known
// under `bazel run`, which names the checkout; otherwise says why not.
std::string ProjectCommit();

// Adds this process to `folder`/run_info.jsonl: command, time, version, commit and machine. Errors are the system's.
absl::Status AddRunInfo(const std::string& folder);

// The lines, oldest first; none where there is no such file. A broken line is passed over.
std::vector<nlohmann::json> ReadRunInfo(const std::string& folder);

}  // namespace tec

#endif  // TEC_EVAL_REPORT_RUN_INFO_H_
