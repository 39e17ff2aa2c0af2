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

struct RankRuntimeOptions {
  std::string device;               // As SelectRankDevice; what is wrong with it is said there.
  bool bind = true;                 // --bind
  bool deterministic = false;       // --deterministic
  bool bfloat16_gradients = false;  // --bfloat16_gradients
};
// Before anything else of a run, on its main thread, from which all others inherit. bind: this rank runs on the cores,
// and takes memory, of the node that its GPU is at, where the kernel tells. deterministic: on a GPU, the same sums in
// the same order, of one run as of the next (docs/cluster.md); FailedPrecondition for an environment variable that says
// otherwise. bfloat16_gradients: Bfloat16Gradients().
absl::Status PrepareRank(const RankRuntimeOptions& options, const LaunchEnvironment& environment);

// Compute threads on the CPU; 0: the cores that this process may use, shared among this machine's ranks.
void SetComputeThreads(int64_t threads, const LaunchEnvironment& environment);
// This rank's share of them (tec/base/cores.h), since PrepareRank or SetComputeThreads.
int64_t RankCores();
// Whether gradients travel between the ranks in bfloat16 (tec/dist/gradient_reducer.h); false before PrepareRank.
bool Bfloat16Gradients();
// --num_workers; 0: RankCores().
int64_t DecodingThreads(int64_t num_workers);

// From here on freed memory stays with this process, up to 1 GiB a block, instead of going back to the kernel and being
// cleared again at the next step: 8 % of a ViT-B step in bfloat16 (//benchmarks/train:step). The process never shrinks
// then, so it is for training loops, after loading. Large tensors on the CPU get a region of their own
// (tec/base/memory_region.h) in place of malloc's heap, unless addresses are limited: the heap grew with each step, and
// that of a ViT-B step in float32 beyond what the step needs at once by a sixth.
void KeepFreedMemory();

}  // namespace tec

#endif  // TEC_RUN_RANK_RUNTIME_H_
