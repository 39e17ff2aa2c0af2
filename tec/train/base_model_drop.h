// Which base models an image is learnt from in an update. Leaving some out at random keeps one from outweighing the
// others (after UNIC's teacher dropping, arXiv 2408.05088, which drops by the losses; here chance alone decides).

#ifndef TEC_TRAIN_BASE_MODEL_DROP_H_
#define TEC_TRAIN_BASE_MODEL_DROP_H_

#include <cstdint>

#include "ATen/core/Tensor.h"
#include "absl/types/span.h"

namespace tec {

// bool [N, base_models], on the CPU: each base model is left out at `rate`, in [0, 1); where that leaves none for an
// image, one of them, by chance, stays. Row i is a function of (seed, epoch, samples[i]) alone. Undefined, which means
// that all stay, at a rate of 0.
at::Tensor KeptBaseModels(uint64_t seed, uint64_t epoch, absl::Span<const int64_t> samples, int64_t base_models,
                          double rate);

// The probability that a base model stays: 1 - rate + rate^n / n.
double KeptProbability(int64_t base_models, double rate);

}  // namespace tec

#endif  // TEC_TRAIN_BASE_MODEL_DROP_H_
