// Where a parameter's gradient is to be made, so that it need not be copied there: in a flat bucket
// (tec/dist/gradient_reducer.h). Kept with the parameter, as its post-accumulate hook.

#ifndef TEC_NN_GRADIENT_PLACE_H_
#define TEC_NN_GRADIENT_PLACE_H_

#include "ATen/core/Tensor.h"
#include "torch/csrc/autograd/function_hook.h"
#include "torch/csrc/autograd/variable.h"

namespace tec {

class GradientPlace : public torch::autograd::PostAccumulateGradHook {
 public:
  // Of the parameter's shape and type, contiguous, its values unset; or undefined for any place. Who asks, in a
  // backward pass, writes the parameter's gradient there and hands it to autograd.
  virtual at::Tensor Give() = 0;
};

inline at::Tensor PlaceForGradient(const at::Tensor& parameter) {
  if (!parameter.is_leaf() || !parameter.requires_grad()) return {};
  auto* place = dynamic_cast<GradientPlace*>(torch::autograd::impl::post_acc_grad_hooks(parameter).get());
  return place == nullptr ? at::Tensor() : place->Give();
}

}  // namespace tec

#endif  // TEC_NN_GRADIENT_PLACE_H_
