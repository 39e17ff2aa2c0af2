// AdamW with the semantics of torch.optim.AdamW, in one pass over all parameters, which also rewrites the working
// copies of low precision that a model's forward pass has made of them (tec/nn/working_copy.h).
// torch::optim::AdamW loops over tensors with half a dozen kernels each.

#ifndef TEC_OPTIM_ADAMW_H_
#define TEC_OPTIM_ADAMW_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "tec/optim/adamw_update.h"
#include "tec/optim/parameter_groups.h"

namespace tec {

// State of one parameter, under the names that torch.optim gives it.
struct AdamWState {
  at::Tensor step;        // F32, 0-dim: updates done.
  at::Tensor exp_avg;     // Like the parameter.
  at::Tensor exp_avg_sq;  // Like the parameter.
};

class AdamW {
 public:
  // Parameters must be where they will stay, and contiguous: their state is made on the same device. It is zero until
  // the first step.
  AdamW(std::vector<ParameterGroup> groups, const AdamWOptions& options);

  // One update with learning rate lr * lr_scale in each group. Parameters without a gradient are passed over, as in
  // torch.optim. not_finite (gradients.h): where it is 1 nothing changes, which the device alone needs to know;
  // undefined: never.
  void Step(double lr, const at::Tensor& not_finite = {});

  // Drops the gradients: the next backward writes new ones.
  void ZeroGrad();

  const std::vector<ParameterGroup>& groups() const { return groups_; }
  const AdamWOptions& options() const { return options_; }
  // All parameters in the order of a checkpoint's indices: group 0's, then group 1's, ...
  const std::vector<at::Tensor>& parameters() const { return parameters_; }
  // One entry for each of parameters(). The tensors are the optimiser's own, not copies.
  const std::vector<AdamWState>& state() const { return state_; }

  // Copies a saved state. All or nothing; InvalidArgument lists every mismatch in count or shape by parameter name.
  absl::Status LoadState(const std::vector<AdamWState>& state);

 private:
  std::vector<ParameterGroup> groups_;
  AdamWOptions options_;
  std::vector<at::Tensor> parameters_;
  std::vector<AdamWState> state_;
};

}  // namespace tec

#endif  // TEC_OPTIM_ADAMW_H_
