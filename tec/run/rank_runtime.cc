#include "tec/run/rank_runtime.h"

#include <dlfcn.h>
#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <utility>

#include "ATen/Context.h"
#include "ATen/Parallel.h"
#include "absl/strings/str_cat.h"
#include "c10/core/CPUAllocator.h"
#include "tec/base/cores.h"
#include "tec/base/logging.h"
#include "tec/base/memory_region.h"
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

// The address space that large tensors get; null where it is limited (ulimit -v), so that it is not taken from others.
MemoryRegion* MakeTensorRegion() {
  rlimit limit;
  if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur != RLIM_INFINITY) return nullptr;
  const int64_t pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  return pages <= 0 || page <= 0 ? nullptr : new MemoryRegion(static_cast<size_t>(pages) * static_cast<size_t>(page));
}

// Tensors of a training step: those that are large out of one region, the others from where they were before.
class KeptTensors : public c10::Allocator {
 public:
  static KeptTensors& Get() {
    static KeptTensors& kept = *new KeptTensors;
    return kept;
  }
  // Null: none.
  static MemoryRegion* region() {
    static MemoryRegion* region = MakeTensorRegion();
    return region;
  }

  c10::DataPtr allocate(size_t bytes) override {
    void* data = bytes < kLarge ? nullptr : region()->Allocate(bytes);
    if (data == nullptr) data = before_.raw_allocate(bytes);
    return {data, data, &Free, c10::Device(c10::kCPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &Free; }
  void copy_data(void* to, const void* from, size_t count) const override { default_copy_data(to, from, count); }

 private:
  // Beside what is kept for longer than a step, as gradients of biases, smaller ones leave no room unused that counts.
  static constexpr size_t kLarge = size_t{256} << 10;

  KeptTensors() : before_(*c10::GetCPUAllocator()) {}
  static void Free(void* data) {
    if (region()->Contains(data)) {
      region()->Free(data);
    } else {
      Get().before_.raw_deallocate(data);
    }
  }

  c10::Allocator& before_;
};

}  // namespace

absl::StatusOr<c10::Device> SelectRankDevice(const std::string& name, const LaunchEnvironment& environment) {
  if (environment.world_size == 1 || name != "cuda") return SelectDevice(name);
  // A launcher that gives each rank a device of its own (srun --gpus-per-task=1) shows it as number 0 to each.
  return SelectDevice(absl::StrCat("cuda:", CudaDeviceCount() == 1 ? 0 : environment.local_rank));
}

absl::Status PrepareRank(const RankRuntimeOptions& options, const LaunchEnvironment& environment) {
  rank_cores = CoresOfRank(environment.local_world_size);
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
  // The rank's share stays that of all cores: which other ranks are at this node it does not know.
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
  if (KeptTensors::region() != nullptr) c10::SetCPUAllocator(&KeptTensors::Get());
}

}  // namespace tec
