#include "tec/nn/plain_forms.h"

#include "ATen/ATen.h"

namespace tec::testing {

at::Tensor PlainSum(const ResidualStream& stream) {
  if (!stream.branch.defined()) return stream.x;
  at::Tensor branch = stream.branch;
  // A bias went into it without its gradient: added and taken away again, it has one.
  if (stream.branch_bias.defined()) branch = branch + stream.branch_bias - stream.branch_bias.detach();
  return stream.x + (stream.scale.defined() ? branch * stream.scale.view({-1, 1, 1}) : branch);
}

SumAndNorm PlainNormOf(const ResidualStream& stream, const at::Tensor& weight, const at::Tensor& bias, double epsilon) {
  const at::Tensor sum = PlainSum(stream);
  return {sum, at::layer_norm(sum, {weight.size(0)}, weight, bias, epsilon)};
}

std::vector<at::Tensor> PlainNormOfConcatenation(const std::vector<at::Tensor>& parts, int64_t groups,
                                                 const at::Tensor& weight, const at::Tensor& bias, double epsilon) {
  return at::layer_norm(at::cat(parts, -1), {weight.size(0)}, weight, bias, epsilon).chunk(groups, -1);
}

at::Tensor PlainUnshuffle(const at::Tensor& x, const at::Tensor& mask_token, const at::Tensor& ids_restore,
                          const at::Tensor& positions) {
  const int64_t batch = x.size(0), visible = x.size(1) - 1, patches = ids_restore.size(1);
  const at::Tensor masked = mask_token.expand({batch, patches - visible, -1});
  const at::Tensor shuffled = at::cat({x.slice(1, 1), masked}, 1);
  const at::Tensor restored = shuffled.gather(1, ids_restore.unsqueeze(-1).expand({-1, -1, x.size(2)}));
  return at::cat({x.slice(1, 0, 1), restored}, 1) + positions;
}

}  // namespace tec::testing
