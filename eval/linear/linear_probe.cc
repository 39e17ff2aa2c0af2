#include "eval/linear/linear_probe.h"

#include <utility>

#include "ATen/ATen.h"
#include "absl/strings/str_cat.h"
#include "c10/core/GradMode.h"
#include "tec/base/logging.h"
#include "tec/nn/initialise.h"

namespace tec {
namespace {

constexpr double kInitialDeviation = 0.01;
constexpr double kBatchNormEpsilon = 1e-6;
constexpr double kBatchNormMomentum = 0.1;

}  // namespace

LinearProbe::LinearProbe(const LinearProbeOptions& options, uint64_t seed, int64_t first_head, at::Device device)
    : options_(options) {
  TEC_CHECK(options.width > 0 && options.classes > 0 && !options.lr_scales.empty());
  weight_ = at::empty({heads(), options.classes, options.width});
  for (int64_t r = 0; r < heads(); ++r) FillTruncatedNormal(weight_[r], kInitialDeviation, seed, first_head + r);
  weight_ = weight_.to(device);
  bias_ = at::zeros({heads(), options.classes}, weight_.options());
  if (options.batch_norm) {
    running_mean_ = at::zeros({options.width}, weight_.options());
    running_var_ = at::ones({options.width}, weight_.options());
  }
  std::vector<ParameterGroup> groups;
  for (int64_t r = 0; r < heads(); ++r) {
    ParameterGroup group;
    group.names = {absl::StrCat("head.", r, ".weight"), absl::StrCat("head.", r, ".bias")};
    group.parameters = {weight_[r], bias_[r]};  // Views: an update of one is an update of the probe.
    group.weight_decay = options.weight_decay;
    group.lr_scale = options.lr_scales[r];
    groups.push_back(std::move(group));
  }
  optimizer_ = std::make_unique<Lars>(std::move(groups), options.optimizer);
}

at::Tensor LinearProbe::Normalise(const at::Tensor& features, bool training) const {
  TEC_CHECK(features.dim() == 2 && features.size(1) == options_.width)
      << "a probe of width " << options_.width << " got features of shape " << features.sizes();
  if (!options_.batch_norm) return features;
  return at::batch_norm(features, /*weight=*/{}, /*bias=*/{}, running_mean_, running_var_, training, kBatchNormMomentum,
                        kBatchNormEpsilon, /*cudnn_enabled=*/true);
}

at::Tensor LinearProbe::Accumulate(const at::Tensor& features, const at::Tensor& labels, int64_t accum_iter) {
  c10::NoGradGuard no_grad;  // The gradient of a linear map is written down faster than recorded.
  const int64_t images = features.size(0), outputs = heads() * options_.classes;
  TEC_CHECK(images >= (options_.batch_norm ? 2 : 1) && labels.sizes() == at::IntArrayRef({images}));
  const at::Tensor x = Normalise(features, /*training=*/true);
  const at::Tensor log_p =
      at::log_softmax(at::addmm(bias_.view({outputs}), x, weight_.view({outputs, options_.width}).t())
                          .view({images, heads(), options_.classes}),
                      2);
  const at::Tensor own = labels.view({images, 1, 1}).expand({images, heads(), 1});
  const at::Tensor losses = log_p.gather(2, own).mean(at::IntArrayRef({0, 2})).neg_();  // [R]
  // d/dlogits of the mean cross-entropy: (p - onehot) / N.
  const at::Tensor residual = log_p.exp()
                                  .scatter_add_(2, own, at::full({1}, -1.0, log_p.options()).expand(own.sizes()))
                                  .mul_(1.0 / static_cast<double>(images * accum_iter))
                                  .view({images, outputs});
  const at::Tensor weight_gradient = at::matmul(residual.t(), x).view_as(weight_);
  const at::Tensor bias_gradient = residual.sum(0).view_as(bias_);
  if (weight_gradient_.defined()) {
    weight_gradient_.add_(weight_gradient);
    bias_gradient_.add_(bias_gradient);
  } else {
    weight_gradient_ = weight_gradient;
    bias_gradient_ = bias_gradient;
  }
  return losses;
}

void LinearProbe::Step(double lr) {
  TEC_CHECK(weight_gradient_.defined()) << "a step without a gradient";
  for (int64_t r = 0; r < heads(); ++r) {
    const std::vector<at::Tensor>& parameters = optimizer_->groups()[r].parameters;
    parameters[0].mutable_grad() = weight_gradient_[r];
    parameters[1].mutable_grad() = bias_gradient_[r];
  }
  optimizer_->Step(lr);
  optimizer_->ZeroGrad();
  weight_gradient_.reset();
  bias_gradient_.reset();
}

at::Tensor LinearProbe::Logits(const at::Tensor& features) const {
  c10::NoGradGuard no_grad;
  const int64_t outputs = heads() * options_.classes;
  return at::addmm(bias_.view({outputs}), Normalise(features, /*training=*/false),
                   weight_.view({outputs, options_.width}).t())
      .view({features.size(0), heads(), options_.classes});
}

}  // namespace tec
