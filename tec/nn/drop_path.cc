#include "tec/nn/drop_path.h"

#include "ATen/TensorOperators.h"
#include "ATen/ops/empty.h"
#include "ATen/ops/linspace.h"
#include "ATen/ops/tensor.h"
#include "tec/base/logging.h"
#include "tec/base/random.h"

namespace tec {

std::vector<double> DropPathRates(double drop_path, int64_t depth) {
  const at::Tensor rates = at::linspace(0, drop_path, depth, at::kFloat);
  return std::vector<double>(rates.data_ptr<float>(), rates.data_ptr<float>() + depth);
}

at::Tensor DropPathScale(const at::Tensor& uniforms, double rate) {
  TEC_CHECK(rate >= 0 && rate < 1) << "drop path rate " << rate << " is not in [0, 1)";
  const double keep = 1 - rate;
  return (uniforms + keep).floor() / keep;
}

at::Tensor DropPathScales(const at::Tensor& uniforms, const std::vector<double>& rates) {
  TEC_CHECK(uniforms.dim() == 2 && uniforms.size(0) == 2 * static_cast<int64_t>(rates.size()))
      << "draws " << uniforms.sizes() << " for " << rates.size() << " blocks";
  std::vector<float> keep;
  for (const double rate : rates) {
    TEC_CHECK(rate >= 0 && rate < 1) << "drop path rate " << rate << " is not in [0, 1)";
    keep.insert(keep.end(), 2, static_cast<float>(1 - rate));
  }
  const at::Tensor column = at::tensor(keep, at::kFloat).to(uniforms.device()).unsqueeze(1);
  return (uniforms + column).floor() / column;
}

at::Tensor DropPathUniforms(uint64_t seed, uint64_t epoch, absl::Span<const int64_t> samples, int64_t depth) {
  const int64_t images = static_cast<int64_t>(samples.size());
  at::Tensor uniforms = at::empty({2 * depth, images}, at::kFloat);
  float* out = uniforms.data_ptr<float>();
  for (int64_t j = 0; j < images; ++j) {
    RandomStream stream(RandomKey{seed, RandomPurpose::kDropPath, epoch, static_cast<uint64_t>(samples[j])});
    for (int64_t row = 0; row < 2 * depth; ++row) out[row * images + j] = stream.NextFloat();
  }
  return uniforms;
}

}  // namespace tec
