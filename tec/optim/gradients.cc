#include "tec/optim/gradients.h"

#include "ATen/TensorOperators.h"
#include "ATen/ops/_amp_foreach_non_finite_check_and_unscale.h"
#include "ATen/ops/_foreach_mul.h"
#include "ATen/ops/_foreach_norm.h"
#include "ATen/ops/full.h"
#include "ATen/ops/linalg_vector_norm.h"
#include "ATen/ops/nan_to_num.h"
#include "ATen/ops/stack.h"
#include "ATen/ops/zeros.h"
#include "c10/core/GradMode.h"
#include "tec/base/logging.h"

namespace tec {
namespace {

std::vector<at::Tensor> Gradients(const std::vector<at::Tensor>& parameters) {
  std::vector<at::Tensor> gradients;
  for (const at::Tensor& parameter : parameters) {
    if (parameter.grad().defined()) gradients.push_back(parameter.grad());
  }
  return gradients;
}

}  // namespace

at::Tensor GradientNorm(const std::vector<at::Tensor>& parameters) {
  c10::NoGradGuard no_grad;
  const std::vector<at::Tensor> gradients = Gradients(parameters);
  if (gradients.empty()) return at::zeros({}, at::kFloat);
  return at::linalg_vector_norm(at::stack(at::_foreach_norm(gradients)));
}

at::Tensor NotFinite(const at::Tensor& norm) {
  c10::NoGradGuard no_grad;
  // Nothing times infinity is no number; two kernels, where isfinite is four.
  return at::nan_to_num((norm * 0).to(at::kFloat), 1.0);
}

at::Tensor ClipGradientNorm(const std::vector<at::Tensor>& parameters, double max_norm) {
  TEC_CHECK_GT(max_norm, 0) << "clipping to a norm that is not positive";
  c10::NoGradGuard no_grad;
  const at::Tensor norm = GradientNorm(parameters);
  const std::vector<at::Tensor> gradients = Gradients(parameters);
  if (gradients.empty()) return norm;
  at::_foreach_mul_(gradients, (max_norm / (norm + 1e-6)).clamp_max(1.0));
  return norm;
}

at::Tensor LossScaler::Scale(const at::Tensor& loss) const { return loss * state_.scale; }

bool LossScaler::Unscale(const std::vector<at::Tensor>& parameters) {
  c10::NoGradGuard no_grad;
  const std::vector<at::Tensor> gradients = Gradients(parameters);
  TEC_CHECK(!gradients.empty()) << "Unscale comes after backward";
  const auto options = gradients[0].options().dtype(at::kFloat);
  at::Tensor found_inf = at::zeros({1}, options);
  // The reciprocal in double, as GradScaler computes it.
  at::_amp_foreach_non_finite_check_and_unscale_(gradients, found_inf, at::full({1}, 1 / state_.scale, options));
  overflow_ = found_inf.item<float>() != 0;
  return !overflow_;
}

void LossScaler::Update() {
  if (overflow_) {
    state_.scale *= state_.backoff_factor;
    state_.growth_tracker = 0;
  } else if (++state_.growth_tracker == state_.growth_interval) {
    state_.scale *= state_.growth_factor;
    state_.growth_tracker = 0;
  }
  overflow_ = false;
}

}  // namespace tec
