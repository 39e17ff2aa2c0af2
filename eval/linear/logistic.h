// A linear probe of frozen features without a learning rate to choose: multinomial logistic regression, fitted to
// convergence by L-BFGS. The problem is convex, so the answer depends on the data and the penalty alone, not on a seed.
//
//   minimise over W [classes, C], b [classes]:
//     (1/n) sum_i -log softmax(W x_i + b)[label_i]  +  (l2 / 2) |W|^2
//
// where x are the features, standardised with the training set's mean and deviation if asked for. scikit-learn's
// LogisticRegression(C) is l2 = 1 / (n C).

#ifndef TEC_EVAL_LINEAR_LOGISTIC_H_
#define TEC_EVAL_LINEAR_LOGISTIC_H_

#include <cstdint>
#include <functional>

#include "ATen/core/Tensor.h"
#include "absl/status/statusor.h"

namespace tec {

struct LogisticOptions {
  double l2 = 1e-3;         // > 0: without a penalty separable classes have no optimum.
  bool standardise = true;  // Mean 0, deviation 1 for each feature; a constant feature becomes 0.
  int64_t max_iterations = 1000;
  double tolerance = 1e-6;  // Done when no entry of the gradient is larger.
  // Asked before each iteration; true ends the fit with Cancelled.
  std::function<bool()> stop;
  // Images at once; 0: as many as take 64 MiB in float64. What is held beside the features is that, and what is
  // proportional to the weights. Sums are in another order with another number.
  int64_t block = 0;
};

struct LogisticProbe {
  at::Tensor weight;  // float64 [classes, C], for standardised features.
  at::Tensor bias;    // float64 [classes]
  at::Tensor mean;    // float64 [C]; 0 without standardising.
  at::Tensor scale;   // float64 [C], 1 / deviation; 1 without standardising, 0 for a constant feature.
  double loss = 0;    // The minimised objective.
  int64_t iterations = 0;
  bool converged = false;  // false: stopped by max_iterations, or no step lowered the objective any more.

  // features: [m, C] of any float type -> float64 [m, classes].
  at::Tensor Logits(const at::Tensor& features) const;
};

// features: [n, C] of any float type; labels: int64 [n] in 0..classes-1. InvalidArgument for shapes that do not fit, an
// empty set, labels out of range, features that are not finite, or options out of range. Computes in float64 on the
// features' device.
absl::StatusOr<LogisticProbe> FitLogistic(const at::Tensor& features, const at::Tensor& labels, int64_t classes,
                                          const LogisticOptions& options = LogisticOptions());

}  // namespace tec

#endif  // TEC_EVAL_LINEAR_LOGISTIC_H_
