#include "tec/nn/normalize.h"

#include "ATen/ops/empty.h"
#include "ATen/ops/tensor.h"
#include "tec/base/logging.h"
#ifdef TEC_CUDA
#include "c10/cuda/CUDAGuard.h"
#include "c10/cuda/CUDAStream.h"
#include "tec/nn/normalize_cuda.h"
#endif

namespace tec {
namespace {

// [3] -> [1, 3, 1, 1], which broadcasts over [N, 3, H, W].
at::Tensor PerChannel(const std::array<float, 3>& values) {
  return at::tensor(at::ArrayRef<float>(values.data(), values.size())).view({1, 3, 1, 1});
}

#ifdef TEC_CUDA
at::Tensor NormalizeOnCuda(const at::Tensor& pixels, const std::array<float, 3>& mean,
                           const std::array<float, 3>& std) {
  const c10::cuda::CUDAGuard guard(pixels.device());
  const int64_t images = pixels.size(0), height = pixels.size(1), width = pixels.size(2);
  at::Tensor result = at::empty({images, 3, height, width}, pixels.options().dtype(at::kFloat));
  const char* error = LaunchNormalizePixels(pixels.const_data_ptr<uint8_t>(), images, height * width, mean, std,
                                            result.mutable_data_ptr<float>(),
                                            c10::cuda::getCurrentCUDAStream(pixels.device().index()).stream());
  TEC_CHECK(error == nullptr) << error;
  return result;
}
#endif

}  // namespace

at::Tensor NormalizePixels(const at::Tensor& pixels, const std::array<float, 3>& mean,
                           const std::array<float, 3>& std) {
  TEC_CHECK_EQ(pixels.dim(), 4);
  TEC_CHECK_EQ(pixels.size(3), 3) << "channels; pixels are [N, H, W, 3]";
  TEC_CHECK(pixels.scalar_type() == at::kByte) << "got " << pixels.scalar_type();
  TEC_CHECK(pixels.is_contiguous());
#ifdef TEC_CUDA
  if (pixels.is_cuda()) return NormalizeOnCuda(pixels, mean, std);
#endif
  TEC_CHECK(pixels.is_cpu()) << "this build has no kernel for " << pixels.device();
  return pixels.permute({0, 3, 1, 2})
      .to(at::kFloat, /*non_blocking=*/false, /*copy=*/true, at::MemoryFormat::Contiguous)
      .div_(255)
      .sub_(PerChannel(mean))
      .div_(PerChannel(std));
}

}  // namespace tec
