// Where a program meets LibTorch: choosing the device, and turning its exceptions into statuses, once.

#ifndef TEC_RUN_TORCH_RUNTIME_H_
#define TEC_RUN_TORCH_RUNTIME_H_

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "c10/core/Device.h"

namespace tec {

// "cpu", "cuda" (device 0) or "cuda:N". FailedPrecondition where there is no such CUDA device, saying how to
// run on the CPU: nothing falls back by itself. InvalidArgument for another name.
absl::StatusOr<c10::Device> SelectDevice(const std::string& name);

// CUDA devices that this process sees; 0 in a build without CUDA.
int CudaDeviceCount();

// Runs `body`. An exception of LibTorch or of a library below it becomes Internal with the first line of its message,
// one of memory (also of a device) ResourceExhausted.
absl::Status CatchTorch(const std::function<absl::Status()>& body);

// The same for a body that gives a value.
template <typename T>
absl::StatusOr<T> CatchTorchOr(const std::function<absl::StatusOr<T>()>& body) {
  absl::StatusOr<T> result = absl::UnknownError("not run");
  const absl::Status status = CatchTorch([&]() -> absl::Status {
    result = body();
    return result.status();
  });
  if (!status.ok()) return status;
  return result;
}

}  // namespace tec

#endif  // TEC_RUN_TORCH_RUNTIME_H_
