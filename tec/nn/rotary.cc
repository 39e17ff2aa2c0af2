#include "tec/nn/rotary.h"

#include <vector>

#include "ATen/TensorOperators.h"
#include "ATen/ops/cat.h"
#include "ATen/ops/tensor.h"
#include "tec/base/logging.h"

namespace tec {

Rotary::Rotary(const RotaryGrid& rotary, int64_t grid) {
  const int64_t patches = grid * grid;
  const at::Tensor angles = at::tensor(at::ArrayRef<double>(RotaryAngles(rotary, grid)), at::kDouble)
                                .view({patches, static_cast<int64_t>(2 * rotary.frequencies.size())});
  const auto table = [](const at::Tensor& half) { return at::cat({half, half}, 1).to(at::kFloat); };
  cos_ = register_buffer("cos", table(angles.cos()));
  sin_ = register_buffer("sin", table(angles.sin()));
}

at::Tensor Rotary::forward(const at::Tensor& x) const {
  const int64_t others = x.size(2) - cos_.size(0);
  TEC_CHECK(x.size(3) == cos_.size(1) && others >= 0)
      << "rotary positions for " << cos_.sizes() << " patches and numbers, not " << x.sizes();
  const at::Tensor patches = x.slice(2, others);
  const std::vector<at::Tensor> halves = patches.chunk(2, -1);
  const at::Tensor turned = patches * cos_ + at::cat({-halves[1], halves[0]}, -1) * sin_;
  return at::cat({x.slice(2, 0, others), turned.to(x.scalar_type())}, 2);
}

}  // namespace tec
