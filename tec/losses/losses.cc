#include "tec/losses/losses.h"

#include "ATen/TensorOperators.h"
#include "ATen/core/grad_mode.h"
#include "ATen/ops/log_softmax.h"
#include "ATen/ops/softmax.h"
#include "ATen/ops/var_mean.h"
#include "tec/base/logging.h"

namespace tec {
namespace {

constexpr double kStandardisationEpsilon = 1e-6;

// (x - mean) / sqrt(var + 1e-6) along `dim`, unbiased variance.
at::Tensor Standardise(const at::Tensor& x, int64_t dim) {
  const auto [variance, mean] = at::var_mean(x, {dim}, /*correction=*/1, /*keepdim=*/true);
  return (x - mean) / (variance + kStandardisationEpsilon).sqrt();
}

// Squared error, averaged over the last dimension, then over the patches with mask 1.
at::Tensor MaskedSquaredError(const at::Tensor& prediction, const at::Tensor& target, const at::Tensor& mask) {
  TEC_CHECK(prediction.sizes() == target.sizes() && mask.sizes() == target.sizes().slice(0, 2))
      << "prediction " << prediction.sizes() << ", target " << target.sizes() << ", mask " << mask.sizes();
  const at::Tensor error = (prediction - target).square().mean(-1);
  return (error * mask).sum() / mask.sum();
}

}  // namespace

at::Tensor FeatureLoss(const at::Tensor& prediction, const at::Tensor& target, const at::Tensor& mask) {
  return MaskedSquaredError(prediction.to(at::kFloat), Standardise(target.to(at::kFloat), 1), mask.to(at::kFloat));
}

at::Tensor RelationLoss(const at::Tensor& logits, const at::Tensor& target_logits, double tau) {
  TEC_CHECK(logits.sizes() == target_logits.sizes()) << logits.sizes() << " vs. " << target_logits.sizes();
  const at::Tensor target = at::softmax(target_logits.to(at::kFloat) / tau, -1);
  return -(target * at::log_softmax(logits.to(at::kFloat), -1)).sum(-1).mean();
}

at::Tensor RelationTargetEntropy(const at::Tensor& target_logits, double tau) {
  at::NoGradGuard no_gradient;
  const at::Tensor log_target = at::log_softmax(target_logits.to(at::kFloat) / tau, -1);
  return -(log_target.exp() * log_target).sum(-1).mean();
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
