#include "tec/nn/normalize.h"

#include <cstdint>
#include <vector>

#include "ATen/ops/empty.h"
#include "tec/base/logging.h"
#include "tec/nn/parallel.h"
#ifdef TEC_CUDA
#include "c10/cuda/CUDAGuard.h"
#include "c10/cuda/CUDAStream.h"
#include "tec/nn/normalize_cuda.h"
#endif

namespace tec {
namespace {

// [c, 256]: what each byte of each channel becomes.
std::vector<std::array<float, 256>> Tables(absl::Span<const float> mean, absl::Span<const float> std) {
  std::vector<std::array<float, 256>> tables(mean.size());
  for (size_t c = 0; c < tables.size(); ++c) {
    for (int byte = 0; byte < 256; ++byte) {
      const float unit = static_cast<float>(byte) / 255.0F;
      tables[c][byte] = (unit - mean[c]) / std[c];
    }
  }
  return tables;
}

// `area` pixels of kChannels to planes that lie `area` apart; 0: of `channels`.
template <int kChannels>
void Spread(const uint8_t* pixels, int64_t area, int64_t channels, const std::array<float, 256>* tables, float* out) {
  const int64_t count = kChannels != 0 ? kChannels : channels;
  for (int64_t i = 0; i < area; ++i, pixels += count) {
    for (int64_t c = 0; c < count; ++c) out[c * area + i] = tables[c][pixels[c]];
  }
}

at::Tensor NormalizeOnCpu(const at::Tensor& pixels, absl::Span<const float> mean, absl::Span<const float> std) {
  const int64_t images = pixels.size(0), area = pixels.size(1) * pixels.size(2), channels = pixels.size(3);
  at::Tensor result = at::empty({images, channels, pixels.size(1), pixels.size(2)}, pixels.options().dtype(at::kFloat));
  const std::vector<std::array<float, 256>> tables = Tables(mean, std);
  const uint8_t* in = pixels.const_data_ptr<uint8_t>();
  float* out = result.mutable_data_ptr<float>();
  at::parallel_for(0, images, /*grain_size=*/1, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      (channels == 3 ? Spread<3> : Spread<0>)(in + n * area * channels, area, channels, tables.data(),
                                              out + n * area * channels);
    }
  });
  return result;
}

#ifdef TEC_CUDA
at::Tensor NormalizeOnCuda(const at::Tensor& pixels, absl::Span<const float> mean, absl::Span<const float> std) {
  const c10::cuda::CUDAGuard guard(pixels.device());
  const int64_t images = pixels.size(0), height = pixels.size(1), width = pixels.size(2);
  const int64_t channels = pixels.size(3);
  at::Tensor result = at::empty({images, channels, height, width}, pixels.options().dtype(at::kFloat));
  const char* error = LaunchNormalizePixels(
      pixels.const_data_ptr<uint8_t>(), images, height * width, static_cast<int>(channels), mean.data(), std.data(),
      result.mutable_data_ptr<float>(), c10::cuda::getCurrentCUDAStream(pixels.device().index()).stream());
  TEC_CHECK(error == nullptr) << error;
  return result;
}
#endif

}  // namespace

at::Tensor NormalizePixels(const at::Tensor& pixels, absl::Span<const float> mean, absl::Span<const float> std) {
  constexpr int64_t kMostChannels = 64;  // LaunchNormalizePixels'.
  TEC_CHECK_EQ(pixels.dim(), 4);
  const int64_t channels = pixels.size(3);
  TEC_CHECK(channels == static_cast<int64_t>(mean.size()) && channels == static_cast<int64_t>(std.size()) &&
            channels >= 1 && channels <= kMostChannels)
      << channels << " channels, " << mean.size() << " means, " << std.size() << " deviations; pixels are [N, H, W, c]";
  TEC_CHECK(pixels.scalar_type() == at::kByte) << "got " << pixels.scalar_type();
  TEC_CHECK(pixels.is_contiguous());
#ifdef TEC_CUDA
  if (pixels.is_cuda()) return NormalizeOnCuda(pixels, mean, std);
#endif
  TEC_CHECK(pixels.is_cpu()) << "this build has no kernel for " << pixels.device();
  return NormalizeOnCpu(pixels, mean, std);
}

}  // namespace tec
