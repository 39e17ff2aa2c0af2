// What a rank takes of its machine: a device and compute threads.

#ifndef TEC_TRAIN_RANK_RUNTIME_H_
#define TEC_TRAIN_RANK_RUNTIME_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "c10/core/Device.h"
#include "tec/dist/environment.h"

namespace tec {

// As SelectDevice (torch_runtime.h); of several ranks, "cuda" is the device of the rank's number on its machine.
absl::StatusOr<c10::Device> SelectRankDevice(const std::string& name, const LaunchEnvironment& environment);

// Compute threads on the CPU; 0: this machine's cores, shared among its ranks.
void SetComputeThreads(int64_t threads, const LaunchEnvironment& environment);

}  // namespace tec

#endif  // TEC_TRAIN_RANK_RUNTIME_H_
