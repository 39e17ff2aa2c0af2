#include "tec/losses/losses.h"

#include <cmath>
#include <utility>

#include "ATen/TensorOperators.h"
#include "ATen/ops/empty.h"
#include "ATen/ops/empty_like.h"
#include "ATen/ops/full.h"
#include "ATen/ops/log_softmax.h"
#include "ATen/ops/var_mean.h"
#include "tec/base/logging.h"
#include "tec/losses/loss_kernels.h"
#include "tec/nn/kernel_launch.h"
#include "tec/nn/work_record.h"
#include "torch/csrc/autograd/custom_function.h"

namespace tec {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr double kStandardisationEpsilon = 1e-6;

// (x - mean) / sqrt(var + 1e-6) along `dim`, unbiased variance.
at::Tensor Standardise(const at::Tensor& x, int64_t dim) {
  const auto [variance, mean] = at::var_mean(x, {dim}, /*correction=*/1, /*keepdim=*/true);
  return (x - mean) / (variance + kStandardisationEpsilon).sqrt();
}

void CheckShapes(const at::Tensor& prediction, const at::Tensor& target, const at::Tensor& mask) {
  TEC_CHECK(prediction.sizes() == target.sizes() && mask.sizes() == target.sizes().slice(0, 2))
      << "prediction " << prediction.sizes() << ", target " << target.sizes() << ", mask " << mask.sizes();
}

// Squared error, averaged over the last dimension, then over the patches with mask 1.
at::Tensor MaskedSquaredError(const at::Tensor& prediction, const at::Tensor& target, const at::Tensor& mask) {
  CheckShapes(prediction, target, mask);
  const at::Tensor error = (prediction - target).square().mean(-1);
  return (error * mask).sum() / mask.sum();
}

at::ScalarType TypeOfTargets(const at::Tensor& target) {
  return target.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

// As the kernels take it: of the targets' type or, beside float32, of a low precision.
at::Tensor PredictionFor(const at::Tensor& prediction, at::ScalarType type) {
  return (prediction.scalar_type() == at::kDouble || type == at::kDouble ? prediction.to(type) : prediction)
      .contiguous();
}

// Two numbers, and what they are made from; NaN for no rows, as the mean of nothing is.
std::pair<at::Tensor, at::Tensor> MakeSums(const at::Tensor& like, at::ScalarType type) {
  const at::TensorOptions options = like.options().dtype(type);
  return {like.numel() == 0 ? at::full({2}, NAN, options) : at::empty({2}, options),
          at::empty({ColumnPartsOf(like), 2}, options)};
}

class FeatureLossFunction : public torch::autograd::Function<FeatureLossFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& prediction, const at::Tensor& target,
                            const at::Tensor& mean, const at::Tensor& variance, const at::Tensor& mask) {
    const auto [sums, scratch] = MakeSums(prediction, target.scalar_type());
    FeatureLossForward a = Arguments(prediction, target, mean, variance, mask, sums);
    a.scratch = DataOf(scratch);
    WorkRecord work("tec::feature_loss", {prediction, target, mean, variance, mask}, 2);
    RunKernel(prediction, RunFeatureLoss, TEC_CUDA_KERNEL(LaunchFeatureLoss), a);
    work.Wrote({sums});
    context->save_for_backward({prediction, target, mean, variance, mask, sums});
    return sums[0];
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor d_loss = gradients[0].contiguous(), d_prediction = at::empty_like(saved[0]);
    FeatureLossBackward b = {};
    b.forward = Arguments(saved[0], saved[1], saved[2], saved[3], saved[4], saved[5]);
    b.d_loss = DataOf(d_loss);
    b.d_prediction = DataOf(d_prediction);
    WorkRecord work("tec::feature_loss_backward", saved);
    RunKernel(saved[0], RunFeatureLossBackward, TEC_CUDA_KERNEL(LaunchFeatureLossBackward), b);
    work.Wrote({d_prediction});
    variable_list result(5);
    result[0] = d_prediction;
    return result;
  }

 private:
  static FeatureLossForward Arguments(const at::Tensor& prediction, const at::Tensor& target, const at::Tensor& mean,
                                      const at::Tensor& variance, const at::Tensor& mask, const at::Tensor& sums) {
    FeatureLossForward a = {};
    a.type = ElementOf(target.scalar_type());
    a.prediction_type = ElementOf(prediction.scalar_type());
    a.images = prediction.size(0);
    a.patches = target.size(1);
    a.skip = prediction.size(1) - a.patches;
    a.width = prediction.size(2);
    a.epsilon = kStandardisationEpsilon;
    a.prediction = DataOf(prediction);
    a.target = DataOf(target);
    a.mean = DataOf(mean);
    a.variance = DataOf(variance);
    a.mask = DataOf(mask);
    a.sums = DataOf(sums);
    return a;
  }
};

class RelationLossFunction : public torch::autograd::Function<RelationLossFunction> {
 public:
  // Loss, then the target's entropy.
  static variable_list forward(AutogradContext* context, const at::Tensor& logits, const at::Tensor& target,
                               double tau) {
    const auto [means, scratch] = MakeSums(logits, target.scalar_type());
    RelationLossForward a = Arguments(logits, target, tau);
    a.scratch = DataOf(scratch);
    a.means = DataOf(means);
    WorkRecord work("tec::relation_loss", {logits, target}, 2);
    RunKernel(logits, RunRelationLoss, TEC_CUDA_KERNEL(LaunchRelationLoss), a);
    work.Wrote({means});
    context->save_for_backward({logits, target});
    context->saved_data["tau"] = tau;
    const variable_list result = {means[0], means[1]};
    context->mark_non_differentiable({result[1]});
    return result;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor d_loss = gradients[0].contiguous(), d_logits = at::empty_like(saved[0]);
    RelationLossBackward b = {};
    b.forward = Arguments(saved[0], saved[1], context->saved_data["tau"].toDouble());
    b.d_loss = DataOf(d_loss);
    b.d_logits = DataOf(d_logits);
    WorkRecord work("tec::relation_loss_backward", saved);
    RunKernel(saved[0], RunRelationLossBackward, TEC_CUDA_KERNEL(LaunchRelationLossBackward), b);
    work.Wrote({d_logits});
    return {d_logits, at::Tensor(), at::Tensor()};
  }

 private:
  static RelationLossForward Arguments(const at::Tensor& logits, const at::Tensor& target, double tau) {
    RelationLossForward a = {};
    a.type = ElementOf(target.scalar_type());
    a.logits_type = ElementOf(logits.scalar_type());
    a.width = logits.size(-1);
    a.rows = logits.numel() / a.width;
    a.tau = tau;
    a.logits = DataOf(logits);
    a.target = DataOf(target);
    return a;
  }
};

}  // namespace

at::Tensor FeatureLoss(const at::Tensor& prediction, const at::Tensor& target, const at::Tensor& mask) {
  TEC_CHECK(prediction.dim() == 3 && prediction.size(1) >= target.size(1))
      << "prediction " << prediction.sizes() << ", target " << target.sizes();
  CheckShapes(prediction.slice(1, prediction.size(1) - target.size(1)), target, mask);
  const at::ScalarType type = TypeOfTargets(target);
  const at::Tensor wide = target.detach().to(type).contiguous();
  const auto [variance, mean] = at::var_mean(wide, {1}, /*correction=*/1);
  return FeatureLossFunction::apply(PredictionFor(prediction, type), wide, mean, variance, mask.to(type).contiguous());
}

RelationLosses RelationLossOf(const at::Tensor& logits, const at::Tensor& target_logits, double tau) {
  TEC_CHECK(logits.sizes() == target_logits.sizes() && logits.size(-1) > 0)
      << logits.sizes() << " vs. " << target_logits.sizes();
  const at::ScalarType type = TypeOfTargets(target_logits);
  const variable_list means =
      RelationLossFunction::apply(PredictionFor(logits, type), target_logits.detach().to(type).contiguous(), tau);
  return {means[0], means[1]};
}

at::Tensor Patchify(const at::Tensor& images, int64_t patch_size) {
  TEC_CHECK(images.dim() == 4 && images.size(2) % patch_size == 0 && images.size(3) % patch_size == 0)
      << "images " << images.sizes() << " in patches of " << patch_size;
  const int64_t channels = images.size(1), rows = images.size(2) / patch_size, columns = images.size(3) / patch_size;
  return images.reshape({-1, channels, rows, patch_size, columns, patch_size})
      .permute({0, 2, 4, 3, 5, 1})
      .reshape({images.size(0), rows * columns, patch_size * patch_size * channels});
}

at::Tensor PixelLoss(const at::Tensor& prediction, const at::Tensor& images, const at::Tensor& mask, int64_t patch_size,
                     bool norm_pix) {
  const at::Tensor pixels = Patchify(images.to(at::kFloat), patch_size);
  return MaskedSquaredError(prediction.to(at::kFloat), norm_pix ? Standardise(pixels, -1) : pixels,
                            mask.to(at::kFloat));
}

at::Tensor SoftTargetCrossEntropy(const at::Tensor& logits, const at::Tensor& targets) {
  TEC_CHECK(logits.sizes() == targets.sizes()) << logits.sizes() << " vs. " << targets.sizes();
  return -(targets.to(at::kFloat) * at::log_softmax(logits.to(at::kFloat), -1)).sum(-1).mean();
}

at::Tensor LabelSmoothingCrossEntropy(const at::Tensor& logits, const at::Tensor& labels, double smoothing) {
  TEC_CHECK(logits.dim() == 2 && labels.dim() == 1 && logits.size(0) == labels.size(0))
      << logits.sizes() << " vs. " << labels.sizes();
  const at::Tensor log_probability = at::log_softmax(logits.to(at::kFloat), -1);
  const at::Tensor likelihood = log_probability.gather(1, labels.unsqueeze(1)).squeeze(1);
  return -((1 - smoothing) * likelihood + smoothing * log_probability.mean(-1)).mean();
}

}  // namespace tec
