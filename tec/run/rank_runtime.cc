#include "tec/run/rank_runtime.h"

#include <malloc.h>

#include <algorithm>
#include <limits>
#include <thread>

#include "ATen/Parallel.h"
#include "absl/strings/str_cat.h"
#include "tec/run/torch_runtime.h"

namespace tec {

absl::StatusOr<c10::Device> SelectRankDevice(const std::string& name, const LaunchEnvironment& environment) {
  if (environment.world_size == 1 || name != "cuda") return SelectDevice(name);
  // A launcher that gives each rank a device of its own (srun --gpus-per-task=1) shows it as number 0 to each.
  return SelectDevice(absl::StrCat("cuda:", CudaDeviceCount() == 1 ? 0 : environment.local_rank));
}

void SetComputeThreads(int64_t threads, const LaunchEnvironment& environment) {
  const int64_t cores = std::max<int64_t>(1, std::thread::hardware_concurrency());
  at::set_num_threads(
      static_cast<int>(threads > 0 ? threads : std::max<int64_t>(1, cores / environment.local_world_size)));
}

void KeepFreedMemory() {
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
}

}  // namespace tec
