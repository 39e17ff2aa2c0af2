// What a rank takes of its machine: a device, compute threads, memory.

#ifndef TEC_RUN_RANK_RUNTIME_H_
#define TEC_RUN_RANK_RUNTIME_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "c10/core/Device.h"
#include "tec/dist/environment.h"

namespace tec {

// As SelectDevice (torch_runtime.h); of several ranks, "cuda" is the device of the rank's number on its machine,
// or the only one that this process sees.
absl::StatusOr<c10::Device> SelectRankDevice(const std::string& name, const LaunchEnvironment& environment);

// Compute threads on the CPU; 0: this machine's cores, shared among its ranks.
void SetComputeThreads(int64_t threads, const LaunchEnvironment& environment);

// From here on freed memory stays with this process, up to 1 GiB a block, instead of going back to the kernel and being
// cleared again at the next step: 8 % of a ViT-B step in bfloat16 (//benchmarks/train:step). The process never shrinks
// then, so it is for training loops, after loading.
void KeepFreedMemory();

}  // namespace tec

#endif  // TEC_RUN_RANK_RUNTIME_H_
