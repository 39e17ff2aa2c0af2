#include "tec/nn/masking.h"

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

}  // namespace tec
