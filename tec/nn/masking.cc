#include "tec/nn/masking.h"

#include <algorithm>
#include <cmath>

#include "ATen/TensorOperators.h"
#include "ATen/ops/argsort.h"
#include "ATen/ops/empty.h"
#include "tec/base/logging.h"
#include "tec/base/random.h"

namespace tec {

int64_t VisiblePatches(int64_t patches, double mask_ratio) {
  TEC_CHECK(mask_ratio >= 0 && mask_ratio < 1) << "mask_ratio " << mask_ratio << " is not in [0, 1)";
  return static_cast<int64_t>(static_cast<double>(patches) * (1 - mask_ratio));
}

Masking RandomMasking(const at::Tensor& noise, double mask_ratio) {
  TEC_CHECK(noise.dim() == 2) << "masking noise has shape [N, L], not " << noise.sizes();
  const int64_t visible = VisiblePatches(noise.size(1), mask_ratio);
  Masking masking;
  masking.ids_shuffle = at::argsort(noise, /*stable=*/true, 1, /*descending=*/false);
  masking.ids_restore = at::argsort(masking.ids_shuffle, /*stable=*/true, 1, /*descending=*/false);
  masking.ids_keep = masking.ids_shuffle.slice(1, 0, visible);
  // Patch l stands at place ids_restore[l] of the shuffled order; the first V places are kept.
  masking.mask = masking.ids_restore.ge(visible).to(at::kFloat);
  return masking;
}

at::Tensor MaskingNoise(uint64_t seed, uint64_t epoch, absl::Span<const int64_t> samples, int64_t patches) {
  at::Tensor noise = at::empty({static_cast<int64_t>(samples.size()), patches}, at::kFloat);
  float* out = noise.data_ptr<float>();
  for (const int64_t sample : samples) {
    RandomStream stream(RandomKey{seed, RandomPurpose::kMask, epoch, static_cast<uint64_t>(sample)});
    for (int64_t l = 0; l < patches; ++l) *out++ = stream.NextFloat();
  }
  return noise;
}

at::Tensor BlockMaskingNoise(uint64_t seed, uint64_t epoch, absl::Span<const int64_t> samples, int64_t grid,
                             double mask_ratio) {
  constexpr double kLeastArea = 16, kLeastAspect = 0.3;
  at::Tensor noise = MaskingNoise(seed, epoch, samples, grid * grid);
  const int64_t removed = grid * grid - VisiblePatches(grid * grid, mask_ratio);
  float* row = noise.data_ptr<float>();
  for (const int64_t sample : samples) {
    RandomStream stream(RandomKey{seed, RandomPurpose::kMaskBlocks, epoch, static_cast<uint64_t>(sample)});
    for (int64_t covered = 0; covered < removed;) {
      const double most = static_cast<double>(removed - covered);
      const double area = stream.Uniform(std::min(kLeastArea, most), std::max(kLeastArea, most));
      const double aspect = std::exp(stream.Uniform(std::log(kLeastAspect), -std::log(kLeastAspect)));
      const auto side = [grid](double length) {
        return std::min(grid, std::max<int64_t>(1, std::llround(std::sqrt(length))));
      };
      const int64_t height = side(area * aspect), width = side(area / aspect);
      const auto place = [&stream, grid](int64_t length) {
        return static_cast<int64_t>(stream.UniformInt(static_cast<uint64_t>(grid - length + 1)));
      };
      const int64_t top = place(height), left = place(width);
      for (int64_t y = top; y < top + height; ++y) {
        for (int64_t x = left; x < left + width; ++x) {
          float& value = row[y * grid + x];
          if (value >= 1) continue;
          value += 1;
          ++covered;
        }
      }
    }
    row += grid * grid;
  }
  return noise;
}

at::Tensor GuidedNoise(const at::Tensor& noise, const at::Tensor& relevance) {
  const int64_t patches = noise.size(1);
  const at::Tensor order = at::argsort(relevance, /*stable=*/true, 1, /*descending=*/true);
  const at::Tensor place = at::argsort(order, /*stable=*/true, 1, /*descending=*/false).to(at::kFloat);
  return noise + (1 - place / static_cast<double>(std::max<int64_t>(1, patches - 1)));
}

}  // namespace tec
