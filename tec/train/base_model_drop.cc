#include "tec/train/base_model_drop.h"

#include <cmath>

#include "ATen/ops/empty.h"
#include "tec/base/random.h"

namespace tec {

at::Tensor KeptBaseModels(uint64_t seed, uint64_t epoch, absl::Span<const int64_t> samples, int64_t base_models,
                          double rate) {
  if (rate == 0) return at::Tensor();
  at::Tensor kept = at::empty({static_cast<int64_t>(samples.size()), base_models}, at::kBool);
  bool* row = kept.data_ptr<bool>();
  for (const int64_t sample : samples) {
    RandomStream stream(RandomKey{seed, RandomPurpose::kBaseModels, epoch, static_cast<uint64_t>(sample)});
    bool any = false;
    for (int64_t base = 0; base < base_models; ++base) any |= row[base] = !stream.Bernoulli(rate);
    if (!any) row[stream.UniformInt(static_cast<uint64_t>(base_models))] = true;
    row += base_models;
  }
  return kept;
}

double KeptProbability(int64_t base_models, double rate) {
  const double n = static_cast<double>(base_models);
  return 1 - rate + std::pow(rate, n) / n;
}

}  // namespace tec
