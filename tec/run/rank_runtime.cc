#include "tec/run/rank_runtime.h"

#include <dlfcn.h>
#include <malloc.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <utility>

#include "ATen/Context.h"
#include "ATen/Parallel.h"
#include "absl/strings/str_cat.h"
#include "tec/base/cores.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"
#include "tec/run/torch_runtime.h"

namespace tec {
namespace {

int64_t rank_cores = 0;
bool bound = false;
bool bfloat16_gradients = false;

// "" in a build without CUDA, whose runtime has the function.
std::string PciAddress(int device) {
  using GetAddress = int (*)(char* address, int size, int device);
  const auto get = reinterpret_cast<GetAddress>(dlsym(RTLD_DEFAULT, "cudaDeviceGetPCIBusId"));
  char address[64] = "";
  return get != nullptr && get(address, sizeof(address), device) == 0 ? address : "";
}

// By the libraries' documents: cuBLAS with a workspace of one size, NCCL with one algorithm and without sums in the
// switches (NVLS), whose order is not told.
absl::Status SumInOneOrder() {
  const std::pair<const char*, const char*> variables[] = {{"CUBLAS_WORKSPACE_CONFIG", ":4096:8"},
                                                           {"NCCL_ALGO", "Ring"},
                                                           {"NCCL_PROTO", "Simple"},
                                                           {"NCCL_NVLS_ENABLE", "0"}};
  for (const auto& [name, value] : variables) {
    const char* const given = std::getenv(name);
    if (given != nullptr && std::string(given) != value) {
      return absl::FailedPreconditionError(
          absl::StrCat("--deterministic needs ", name, "=", value, ", which is ", given));
    }
    setenv(name, value, 1);
  }
  at::globalContext().setDeterministicCuDNN(true);
  at::globalContext().setBenchmarkCuDNN(false);
  // What has no such implementation warns.
  at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/true);
  at::globalContext().setDeterministicFillUninitializedMemory(false);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<c10::Device> SelectRankDevice(const std::string& name, const LaunchEnvironment& environment) {
  if (environment.world_size == 1 || name != "cuda") return SelectDevice(name);
  // A launcher that gives each rank a device of its own (srun --gpus-per-task=1) shows it as number 0 to each.
  return SelectDevice(absl::StrCat("cuda:", CudaDeviceCount() == 1 ? 0 : environment.local_rank));
}

absl::Status PrepareRank(const RankRuntimeOptions& options, const LaunchEnvironment& environment) {
  bfloat16_gradients = options.bfloat16_gradients;
  if (bfloat16_gradients && environment.world_size > 1 && environment.rank == 0) {
    TEC_LOG(INFO) << "gradients travel between the ranks in bfloat16: half the bytes, 8 bits of each number";
  }
  const absl::StatusOr<c10::Device> device = SelectRankDevice(options.device, environment);
  if (!device.ok() || !device->is_cuda()) return absl::OkStatus();
  if (options.deterministic) TEC_RETURN_IF_ERROR(SumInOneOrder());
  if (!options.bind) return absl::OkStatus();
  const std::string address = PciAddress(device->index());
  const int node = address.empty() ? -1 : NodeOfPciDevice(address);
  if (node < 0) return absl::OkStatus();
  // Its share is that of all cores: which other ranks are at this node it does not know.
  rank_cores = CoresOfRank(environment.local_world_size);
  TEC_RETURN_IF_ERROR(Annotate(RunOnNode(node, CoresOfNode(node)), "--bind (--nobind leaves it)"));
  rank_cores = std::min<int64_t>(rank_cores, UsableCores());
  bound = true;
  TEC_LOG(INFO) << "bound to memory node " << node << ", where " << device->str() << " is (" << address << ")";
  return absl::OkStatus();
}

void SetComputeThreads(int64_t threads, const LaunchEnvironment& environment) {
  if (!bound) rank_cores = CoresOfRank(environment.local_world_size);
  at::set_num_threads(static_cast<int>(threads > 0 ? threads : rank_cores));
}

int64_t RankCores() { return rank_cores > 0 ? rank_cores : UsableCores(); }

bool Bfloat16Gradients() { return bfloat16_gradients; }

int64_t DecodingThreads(int64_t num_workers) { return num_workers > 0 ? num_workers : RankCores(); }

void KeepFreedMemory() {
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
}

}  // namespace tec
