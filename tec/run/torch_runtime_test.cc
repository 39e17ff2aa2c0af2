#include "tec/run/torch_runtime.h"

#include <new>

#include "ATen/ATen.h"
#include "gtest/gtest.h"

namespace tec {
namespace {

TEST(TorchRuntimeTest, NamesDevices) {
  EXPECT_EQ(*SelectDevice("cpu"), c10::Device(c10::kCPU));
  for (const char* name : {"", "gpu", "cuda:", "cuda:x", "cuda0", "CPU"}) {
    EXPECT_EQ(SelectDevice(name).status().code(), absl::StatusCode::kInvalidArgument) << name;
  }
}

TEST(TorchRuntimeTest, AnAbsentDeviceIsAnError) {
  const absl::Status status = SelectDevice("cuda:99").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(status.message().find("--device=cpu"), absl::string_view::npos) << status;
#ifdef TEC_CUDA
  EXPECT_EQ(status.message().find("has no CUDA"), absl::string_view::npos) << status;
#else
  EXPECT_NE(status.message().find("this program has no CUDA"), absl::string_view::npos) << status;
#endif
}

TEST(TorchRuntimeTest, ExceptionsBecomeStatuses) {
  EXPECT_TRUE(CatchTorch([] { return absl::OkStatus(); }).ok());
  const absl::Status shape = CatchTorch([] {
    at::matmul(at::ones({2, 3}), at::ones({2, 3}));
    return absl::OkStatus();
  });
  EXPECT_EQ(shape.code(), absl::StatusCode::kInternal);
  EXPECT_NE(shape.message().find("2x3"), absl::string_view::npos) << shape;
  EXPECT_EQ(shape.message().find('\n'), absl::string_view::npos) << shape;
  EXPECT_EQ(CatchTorch([]() -> absl::Status { throw std::bad_alloc(); }).code(), absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace tec
