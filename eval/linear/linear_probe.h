// Linear classifiers on frozen features, trained by gradient: MAE's probe (one head, batch normalisation, LARS), and
// iBOT's and DINOv2's sweeps (a head for each learning rate, momentum SGD), where the features of a batch are read once
// for all heads. (recipe.md section 16)
//
//   LinearProbe probe(options, /*seed=*/0);
//   at::Tensor losses = probe.Accumulate(features, labels, /*accum_iter=*/1);   // [R]
//   probe.Step(lr);
//   at::Tensor logits = probe.Logits(held_out_features);                        // [m, R, classes]

#ifndef TEC_EVAL_LINEAR_LINEAR_PROBE_H_
#define TEC_EVAL_LINEAR_LINEAR_PROBE_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "ATen/core/Tensor.h"
#include "tec/optim/lars.h"

namespace tec {

struct LinearProbeOptions {
  int64_t width = 0;                    // C: features of an image.
  int64_t classes = 0;                  // K
  std::vector<double> lr_scales = {1};  // One head each; R of them.
  bool batch_norm = true;               // Before the heads: no affine part, eps 1e-6, running averages of momentum 0.1.
  double weight_decay = 0;
  LarsOptions optimizer;
};

class LinearProbe {
 public:
  // Weights are drawn from a normal distribution of deviation 0.01, each head's from the stream of (seed, first_head +
  // its number); biases are 0. All tensors lie on `device`.
  LinearProbe(const LinearProbeOptions& options, uint64_t seed, int64_t first_head = 0, at::Device device = at::kCPU);

  // One micro-batch of training: adds the gradient of each head's mean cross-entropy / accum_iter, and moves the
  // running averages. features: float32 [N, C], N >= 2 with batch_norm; labels: int64 [N] in 0..K-1. -> the losses,
  // float32 [R], not divided.
  at::Tensor Accumulate(const at::Tensor& features, const at::Tensor& labels, int64_t accum_iter = 1);

  // One update with learning rate lr * lr_scales[r], and drops the gradients.
  void Step(double lr);

  // Evaluation, by the running averages: float32 [m, C] -> [m, R, K].
  at::Tensor Logits(const at::Tensor& features) const;

  // The tensors that make up the probe; a resumed run, or a test, copies into them.
  const at::Tensor& weight() const { return weight_; }              // [R, K, C]
  const at::Tensor& bias() const { return bias_; }                  // [R, K]
  const at::Tensor& running_mean() const { return running_mean_; }  // [C]; undefined without batch_norm.
  const at::Tensor& running_var() const { return running_var_; }    // [C], unbiased.
  // Gradients since the last Step: as weight() and bias(). Undefined where there are none.
  const at::Tensor& weight_gradient() const { return weight_gradient_; }
  const at::Tensor& bias_gradient() const { return bias_gradient_; }
  // weight then bias of head 0, of head 1, ...
  const std::vector<at::Tensor>& momentum() const { return optimizer_->momentum(); }

  const LinearProbeOptions& options() const { return options_; }
  int64_t heads() const { return static_cast<int64_t>(options_.lr_scales.size()); }

 private:
  at::Tensor Normalise(const at::Tensor& features, bool training) const;

  LinearProbeOptions options_;
  at::Tensor weight_, bias_, running_mean_, running_var_;
  at::Tensor weight_gradient_, bias_gradient_;
  std::unique_ptr<Lars> optimizer_;
};

}  // namespace tec

#endif  // TEC_EVAL_LINEAR_LINEAR_PROBE_H_
