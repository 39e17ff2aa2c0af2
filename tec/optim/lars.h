// Momentum SGD, and LARS, which rescales each weight's gradient to a fixed part of the weight's own size: the
// optimisers of linear probes. (recipe.md section 16)
//
// For each parameter p with gradient g, and v zero at first:
//
//   SGD    g <- g + weight_decay p
//   LARS   the same, then g <- trust_coefficient |p| / |g| g (unchanged if either norm is 0); parameters of one
//          dimension (biases) are neither decayed nor rescaled
//   both   v <- momentum v + g;  p <- p - lr v
//
// A probe tries many learning rates at once, each for a head of its own: lr_scale of a group multiplies the rate.

#ifndef TEC_OPTIM_LARS_H_
#define TEC_OPTIM_LARS_H_

#include <vector>

#include "absl/status/status.h"
#include "tec/optim/parameter_groups.h"

namespace tec {

struct LarsOptions {
  double momentum = 0.9;
  double trust_coefficient = 0.001;  // 0: plain momentum SGD.
};

class Lars {
 public:
  // Parameters must be where they will stay. Groups bring their own weight decay.
  Lars(std::vector<ParameterGroup> groups, const LarsOptions& options);

  // One update with learning rate lr * lr_scale in each group. Parameters without a gradient are passed over.
  void Step(double lr);

  // Drops the gradients.
  void ZeroGrad();

  const std::vector<ParameterGroup>& groups() const { return groups_; }
  // v of each parameter, in the order of the groups. The optimiser's own tensors, not copies: a resumed run copies into
  // them.
  const std::vector<at::Tensor>& momentum() const { return momentum_; }

 private:
  std::vector<ParameterGroup> groups_;
  LarsOptions options_;
  std::vector<at::Tensor> momentum_;
};

}  // namespace tec

#endif  // TEC_OPTIM_LARS_H_
