// Random masking of patches, from given noise. (recipe.md section 3.1, step 3)

#ifndef TEC_NN_MASKING_H_
#define TEC_NN_MASKING_H_

#include <cstdint>
#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/types/span.h"

namespace tec {

// V: patches kept of L at a mask ratio in [0, 1): int(L * (1 - ratio)) in double, truncated. (100, 0.9) gives 9, as the
// reference, because 1 - 0.9 lies below 0.1.
int64_t VisiblePatches(int64_t patches, double mask_ratio);

struct Masking {
  at::Tensor ids_keep;     // I64 [N, V]: patches kept, in shuffled order.
  at::Tensor ids_restore;  // I64 [N, L]: place of each patch in the shuffled order.
  at::Tensor ids_shuffle;  // I64 [N, L]: the inverse of ids_restore.
  at::Tensor mask;         // F32 [N, L]: 0 kept, 1 removed.
};

// Keeps, for each image, the V patches with the smallest noise, in the order of their noise. noise F32 [N, L]. Equal
// noise: the earlier patch first.
Masking RandomMasking(const at::Tensor& noise, double mask_ratio);

// The noise of those images: F32 [N, L], uniform in [0, 1), row i a function of (seed, epoch, samples[i]) alone.
at::Tensor MaskingNoise(uint64_t seed, uint64_t epoch, absl::Span<const int64_t> samples, int64_t patches);

// Noise that lets rectangles of neighbouring patches be removed, as BEiT's masks are made (arXiv 2106.08254, algorithm
// 1): rectangles of 16 patches or more (fewer if less than that is to be removed), a side 0.3 to 1/0.3 times the other,
// until they cover L - V. MaskingNoise, + 1 for the patches covered: where the last rectangle covers too many, chance
// decides which stay. grid x grid patches; F32 [N, grid * grid].
at::Tensor BlockMaskingNoise(uint64_t seed, uint64_t epoch, absl::Span<const int64_t> samples, int64_t grid,
                             double mask_ratio);

// Noise by which the patches of larger `relevance` are removed sooner, though not in strict order: noise + the patch's
// place by falling relevance, from 1 to 0 (after AttMask, arXiv 2203.12719, whose masks remove what [CLS] looks at).
// Both F32 [N, L]. Equal relevance: the earlier patch is the more relevant.
at::Tensor GuidedNoise(const at::Tensor& noise, const at::Tensor& relevance);

}  // namespace tec

#endif  // TEC_NN_MASKING_H_
