#include "tec/run/torch_runtime.h"

#include <exception>
#include <new>

#include "ATen/Context.h"
#include "ATen/detail/CUDAHooksInterface.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "c10/util/Exception.h"

namespace tec {

int CudaDeviceCount() {
  return at::globalContext().hasCUDA() ? static_cast<int>(at::detail::getCUDAHooks().deviceCount()) : 0;
}

absl::StatusOr<c10::Device> SelectDevice(const std::string& name) {
  if (name == "cpu") return c10::Device(c10::kCPU);
  absl::string_view rest = name;
  int index = 0;
  if (!absl::ConsumePrefix(&rest, "cuda") ||
      (!rest.empty() && (!absl::ConsumePrefix(&rest, ":") || !absl::SimpleAtoi(rest, &index) || index < 0))) {
    return absl::InvalidArgumentError(absl::StrCat("--device=", name, ": it must be cuda, cuda:N or cpu"));
  }
  const int count = CudaDeviceCount();
  if (index >= count) {
    // LibTorch's CUDA half, which is there or not as the program was linked, whatever devices there are.
    const char* why = !at::detail::getCUDAHooks().hasCUDART()
                          ? "this program has no CUDA; the wheel for GPUs and a build with --config=cuda have"
                      : count == 0 ? "0 found; is NVIDIA's driver running, and CUDA_VISIBLE_DEVICES not empty?"
                                   : "counted from 0, after CUDA_VISIBLE_DEVICES";
    return absl::FailedPreconditionError(absl::StrCat("--device=", name, ": no such CUDA device is present (", why,
                                                      "); give --device=cpu to run on the CPU"));
  }
  return c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(index));
}

absl::Status CatchTorch(const std::function<absl::Status()>& body) {
  try {
    return body();
  } catch (const c10::OutOfMemoryError& error) {
    return absl::ResourceExhaustedError(error.what_without_backtrace());
  } catch (const c10::Error& error) {
    const std::string message = error.what_without_backtrace();
    return absl::InternalError(message.substr(0, message.find('\n')));
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("out of memory");
  } catch (const std::exception& error) {  // Of the libraries below LibTorch: "could not create a primitive".
    const std::string message = error.what();
    return absl::InternalError(message.substr(0, message.find('\n')));
  }
}

}  // namespace tec
