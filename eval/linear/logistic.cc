#include "eval/linear/logistic.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <utility>
#include <vector>

#include "ATen/ATen.h"
#include "absl/strings/str_cat.h"
#include "tec/base/status.h"

namespace tec {
namespace {

constexpr int64_t kBlockNumbers = int64_t{1} << 23;  // Of float64, 64 MiB.

// The features as the probe sees them, a block of images at a time: float64, standardised. All of them at once would
// be several times the features themselves, beside an [n, classes] array or two.
class Blocks {
 public:
  Blocks(const at::Tensor& features, int64_t rows) : features_(features), rows_(std::min(rows, features.size(0))) {}

  // Minus `mean`, times `scale`: float64 [C].
  void Standardise(const at::Tensor& mean, const at::Tensor& scale) {
    mean_ = mean;
    scale_ = scale;
    // One block is made once and for all.
    if (rows_ == features_.size(0)) {
      features_ = Make(0, rows_);
      mean_ = scale_ = at::Tensor();
    }
  }

  // Calls use(x, begin) for x float64 [up to rows, C], the images from `begin` on.
  template <typename Use>
  void ForEach(const Use& use) const {
    for (int64_t begin = 0; begin < features_.size(0); begin += rows_) {
      use(Make(begin, std::min(rows_, features_.size(0) - begin)), begin);
    }
  }

 private:
  at::Tensor Make(int64_t begin, int64_t rows) const {
    const at::Tensor x = features_.narrow(0, begin, rows).to(at::kDouble);
    return mean_.defined() ? (x - mean_).mul_(scale_) : x;
  }

  at::Tensor features_, mean_, scale_;
  int64_t rows_;
};

// The objective over one flat vector of parameters, W row-major and then b.
class Objective {
 public:
  // labels: int64 [n].
  Objective(const Blocks& blocks, at::Tensor labels, int64_t width, int64_t classes, double l2)
      : blocks_(blocks), labels_(std::move(labels)), width_(width), classes_(classes), l2_(l2) {}

  int64_t size() const { return classes_ * (width_ + 1); }

  std::pair<at::Tensor, at::Tensor> Split(const at::Tensor& flat) const {
    const int64_t weights = classes_ * width_;
    return {flat.narrow(0, 0, weights).view({classes_, width_}), flat.narrow(0, weights, classes_)};
  }

  double operator()(const at::Tensor& flat, at::Tensor* gradient) const {
    const auto [weight, bias] = Split(flat);
    const double n = static_cast<double>(labels_.size(0));
    *gradient = at::zeros_like(flat);
    auto [weight_gradient, bias_gradient] = Split(*gradient);
    at::Tensor loss = at::zeros({}, flat.options());
    blocks_.ForEach([&, &weight = weight, &bias = bias, &to_weight = weight_gradient, &to_bias = bias_gradient](
                        const at::Tensor& x, int64_t begin) {
      const at::Tensor labels = labels_.narrow(0, begin, x.size(0)).unsqueeze(1);
      at::Tensor log_p = at::log_softmax(at::addmm(bias, x, weight.t()), 1);
      const at::Tensor own = log_p.gather(1, labels);
      loss -= own.sum();
      // d/dlogits of the mean cross-entropy: (p - onehot) / n.
      const at::Tensor residual =
          log_p.exp_().scatter_add_(1, labels, at::full_like(own, -1)).div_(n);  // [rows, classes]
      to_weight.addmm_(residual.t(), x);
      to_bias.add_(residual.sum(0));
    });
    weight_gradient.add_(weight, l2_);
    return loss.item<double>() / n + 0.5 * l2_ * weight.square().sum().item<double>();
  }

 private:
  const Blocks& blocks_;
  at::Tensor labels_;
  int64_t width_, classes_;
  double l2_;
};

double Dot(const at::Tensor& a, const at::Tensor& b) { return at::dot(a, b).item<double>(); }

// L-BFGS's memory: pairs of step and change of gradient, newest last (Nocedal & Wright, Numerical Optimization, 2nd
// edition, algorithm 7.4).
class InverseHessian {
 public:
  void Add(at::Tensor step, at::Tensor change) {
    const double curvature = Dot(step, change);
    // The objective is strongly convex in W; only rounding makes this fail.
    if (!(curvature > 1e-14 * Dot(change, change))) return;
    if (pairs_.size() == kMemory) pairs_.pop_front();
    pairs_.push_back({std::move(step), std::move(change), 1 / curvature});
  }

  void Clear() { pairs_.clear(); }
  bool empty() const { return pairs_.empty(); }

  at::Tensor Apply(const at::Tensor& gradient) const {
    at::Tensor q = gradient.clone();
    std::vector<double> alpha(pairs_.size());
    for (size_t i = pairs_.size(); i-- > 0;) {
      alpha[i] = pairs_[i].rho * Dot(pairs_[i].step, q);
      q.add_(pairs_[i].change, -alpha[i]);
    }
    if (!pairs_.empty()) {
      const Pair& last = pairs_.back();
      q.mul_(1 / (last.rho * Dot(last.change, last.change)));
    }
    for (size_t i = 0; i < pairs_.size(); ++i) {
      const double beta = pairs_[i].rho * Dot(pairs_[i].change, q);
      q.add_(pairs_[i].step, alpha[i] - beta);
    }
    return q;
  }

 private:
  static constexpr size_t kMemory = 10;
  struct Pair {
    at::Tensor step, change;
    double rho;
  };
  std::deque<Pair> pairs_;
};

absl::Status Check(const at::Tensor& features, const at::Tensor& labels, int64_t classes,
                   const LogisticOptions& options) {
  if (features.dim() != 2 || features.size(0) == 0 || features.size(1) == 0) {
    return absl::InvalidArgumentError("linear probe: no features");
  }
  if (labels.dim() != 1 || labels.scalar_type() != at::kLong || labels.size(0) != features.size(0)) {
    return absl::InvalidArgumentError(
        absl::StrCat("linear probe: ", features.size(0), " features, but ", labels.numel(), " labels"));
  }
  const int64_t low = labels.min().item<int64_t>(), high = labels.max().item<int64_t>();
  if (low < 0 || high >= classes) {
    return absl::InvalidArgumentError(
        absl::StrCat("linear probe: label ", low < 0 ? low : high, ", but there are ", classes, " classes"));
  }
  if (!(options.l2 > 0) || !(options.tolerance > 0) || options.max_iterations <= 0) {
    return absl::InvalidArgumentError("linear probe: l2, tolerance and max_iterations must be positive");
  }
  return absl::OkStatus();
}

}  // namespace

at::Tensor LogisticProbe::Logits(const at::Tensor& features) const {
  return at::addmm(bias, (features.to(at::kDouble) - mean) * scale, weight.t());
}

absl::StatusOr<LogisticProbe> FitLogistic(const at::Tensor& features, const at::Tensor& labels, int64_t classes,
                                          const LogisticOptions& options) {
  TEC_RETURN_IF_ERROR(Check(features, labels, classes, options));
  const int64_t n = features.size(0), width = features.size(1);
  const int64_t rows = options.block > 0 ? options.block : std::max<int64_t>(1, kBlockNumbers / (classes + width));
  Blocks blocks(features, rows);
  LogisticProbe probe;
  const auto f64 = features.options().dtype(at::kDouble);
  probe.mean = at::zeros({width}, f64);
  probe.scale = at::ones({width}, f64);
  bool finite = true;
  at::Tensor sum = at::zeros({width}, f64), largest = at::zeros({width}, f64);
  blocks.ForEach([&](const at::Tensor& x, int64_t) {
    const at::Tensor most = x.abs().amax(0);
    finite = finite && at::isfinite(most).all().item<bool>();
    at::maximum_out(largest, largest, most);
    sum += x.sum(0);
  });
  if (!finite) return absl::InvalidArgumentError("linear probe: features that are not finite");
  if (options.standardise) {
    probe.mean = sum / static_cast<double>(n);
    at::Tensor squares = at::zeros({width}, f64);
    blocks.ForEach([&](const at::Tensor& x, int64_t) { squares += (x - probe.mean).square().sum(0); });
    const at::Tensor deviation = (squares / static_cast<double>(n)).sqrt();
    // A feature that is constant but for rounding says nothing, and 1 / deviation would blow its rounding up.
    const at::Tensor constant = deviation <= 1e-10 * largest;
    probe.scale = at::where(constant, at::zeros_like(deviation), deviation.reciprocal());
    blocks.Standardise(probe.mean, probe.scale);
  }

  const Objective objective(blocks, labels, width, classes, options.l2);
  at::Tensor point = at::zeros({objective.size()}, f64), gradient;
  probe.loss = objective(point, &gradient);
  InverseHessian inverse_hessian;
  for (; probe.iterations < options.max_iterations; ++probe.iterations) {
    if (options.stop && options.stop()) return absl::CancelledError("stopped on request");
    if (gradient.abs().max().item<double>() <= options.tolerance) {
      probe.converged = true;
      break;
    }
    at::Tensor direction = inverse_hessian.Apply(gradient).neg_();
    double slope = Dot(direction, gradient);
    if (!(slope < 0)) {  // Only rounding turns it uphill: start anew from the gradient.
      inverse_hessian.Clear();
      direction = gradient.neg();
      slope = Dot(direction, gradient);
    }
    // Halve the step until the objective falls by a part of what the slope promises (Armijo). The first step has no
    // curvature to go by: it is kept to length 1.
    double step = inverse_hessian.empty() ? std::min(1.0, 1 / direction.norm().item<double>()) : 1.0;
    at::Tensor next, next_gradient;
    double next_loss = 0;
    bool fell = false;
    for (int halvings = 0; halvings < 40 && !fell; ++halvings, step *= 0.5) {
      next = point + step * direction;
      next_loss = objective(next, &next_gradient);
      fell = next_loss <= probe.loss + 1e-4 * step * slope;
    }
    if (!fell) break;
    inverse_hessian.Add(next - point, next_gradient - gradient);
    point = next;
    gradient = next_gradient;
    probe.loss = next_loss;
  }
  std::tie(probe.weight, probe.bias) = objective.Split(point);
  return probe;
}

}  // namespace tec
