// The CPU half of loss_kernels.h.

#include <algorithm>
#include <cmath>
#include <vector>

#include "c10/util/BFloat16.h"
#include "tec/base/logging.h"
#include "tec/losses/loss_kernels.h"
#include "tec/nn/parallel.h"

namespace tec {
namespace {

// Calls body(row, sums) for all rows; their two sums, made in parts of the rows and then over the parts, into `total`.
template <typename A, typename F>
void SumOverRows(int64_t rows, void* scratch, A* total, const F& body) {
  const int64_t parts = std::min(kCpuColumnParts, rows);
  at::parallel_for(0, parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part) {
      A* sums = static_cast<A*>(scratch) + 2 * part;
      sums[0] = sums[1] = 0;
      for (int64_t row = part * rows / parts; row < (part + 1) * rows / parts; ++row) body(row, sums);
    }
  });
  total[0] = total[1] = 0;
  for (int64_t part = 0; part < parts; ++part) {
    for (int i = 0; i < 2; ++i) total[i] += static_cast<A*>(scratch)[2 * part + i];
  }
}

// Of patch `row` of all images.
int64_t PredictionRow(const FeatureLossForward& a, int64_t row) { return row + (row / a.patches + 1) * a.skip; }

// out[c] = the standardised target of patch `row` (of all images).
template <typename A>
void Standardised(const FeatureLossForward& a, int64_t row, A* out) {
  const int64_t image = row / a.patches * a.width;
  const A *target = static_cast<const A*>(a.target) + row * a.width, *mean = static_cast<const A*>(a.mean) + image,
          *variance = static_cast<const A*>(a.variance) + image;
  const A epsilon = static_cast<A>(a.epsilon);
#pragma omp simd
  for (int64_t c = 0; c < a.width; ++c) out[c] = (target[c] - mean[c]) / std::sqrt(variance[c] + epsilon);
}

template <typename A, typename P>
void Feature(const FeatureLossForward& a) {
  A* sums = static_cast<A*>(a.sums);
  SumOverRows(a.images * a.patches, a.scratch, sums, [&](int64_t row, A* to) {
    const A mask = static_cast<const A*>(a.mask)[row];
    if (mask == 0) return;
    std::vector<A> target(a.width);
    Standardised(a, row, target.data());
    const P* prediction = static_cast<const P*>(a.prediction) + PredictionRow(a, row) * a.width;
    A error = 0;
#pragma omp simd reduction(+ : error)
    for (int64_t c = 0; c < a.width; ++c) {
      const A difference = static_cast<A>(prediction[c]) - target[c];
      error += difference * difference;
    }
    to[0] += mask * (error / static_cast<A>(a.width));
    to[1] += mask;
  });
  sums[0] /= sums[1];
}

template <typename A, typename P>
void FeatureGradient(const FeatureLossBackward& b) {
  const FeatureLossForward& a = b.forward;
  const A factor = 2 * *static_cast<const A*>(b.d_loss) / static_cast<const A*>(a.sums)[1] / static_cast<A>(a.width);
  at::parallel_for(0, a.images * a.patches, 16, [&](int64_t begin, int64_t end) {
    std::vector<A> target(a.width);
    for (int64_t row = begin; row < end; ++row) {
      P* d = static_cast<P*>(b.d_prediction) + PredictionRow(a, row) * a.width;
      if (row % a.patches == 0) std::fill_n(d - a.skip * a.width, a.skip * a.width, P(0));
      const A f = factor * static_cast<const A*>(a.mask)[row];
      if (f == 0) {
        std::fill_n(d, a.width, P(0));
        continue;
      }
      Standardised(a, row, target.data());
      const P* prediction = static_cast<const P*>(a.prediction) + PredictionRow(a, row) * a.width;
#pragma omp simd
      for (int64_t c = 0; c < a.width; ++c) d[c] = static_cast<P>(f * (static_cast<A>(prediction[c]) - target[c]));
    }
  });
}

// The largest of x[i] / divisor, and log of the sum of exp(x[i] / divisor - largest).
template <typename A, typename X>
void LogSum(const X* x, int64_t n, A divisor, A* largest, A* log_sum) {
  A top = static_cast<A>(x[0]) / divisor;
  for (int64_t i = 1; i < n; ++i) top = std::max(top, static_cast<A>(x[i]) / divisor);
  A sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += std::exp(static_cast<A>(x[i]) / divisor - top);
  *largest = top;
  *log_sum = std::log(sum);
}

// Of a row: logits and targets after log softmax.
template <typename A, typename X>
struct Row {
  Row(const RelationLossForward& a, int64_t row)
      : logits(static_cast<const X*>(a.logits) + row * a.width),
        target(static_cast<const A*>(a.target) + row * a.width),
        tau(static_cast<A>(a.tau)) {
    LogSum<A>(logits, a.width, A(1), &top, &log_sum);
    LogSum<A>(target, a.width, tau, &target_top, &target_log_sum);
  }
  A Logit(int64_t i) const { return static_cast<A>(logits[i]) - top - log_sum; }
  A Target(int64_t i) const { return target[i] / tau - target_top - target_log_sum; }

  const X* logits;
  const A* target;
  A tau, top, log_sum, target_top, target_log_sum;
};

template <typename A, typename X>
void Relation(const RelationLossForward& a) {
  A* means = static_cast<A*>(a.means);
  SumOverRows(a.rows, a.scratch, means, [&](int64_t row, A* to) {
    const Row<A, X> r(a, row);
    A cross = 0, own = 0;
    for (int64_t i = 0; i < a.width; ++i) {
      const A target = r.Target(i), p = std::exp(target);
      cross -= p * r.Logit(i);
      own -= p * target;
    }
    to[0] += cross;
    to[1] += own;
  });
  for (int i = 0; i < 2; ++i) means[i] /= static_cast<A>(a.rows);
}

template <typename A, typename X>
void RelationGradient(const RelationLossBackward& b) {
  const RelationLossForward& a = b.forward;
  const A factor = *static_cast<const A*>(b.d_loss) / static_cast<A>(a.rows);
  at::parallel_for(0, a.rows, 16, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const Row<A, X> r(a, row);
      X* d = static_cast<X*>(b.d_logits) + row * a.width;
      for (int64_t i = 0; i < a.width; ++i) {
        d[i] = static_cast<X>(factor * (std::exp(r.Logit(i)) - std::exp(r.Target(i))));
      }
    }
  });
}

template <typename F>
void Dispatch(Element type, Element prediction, const F& f) {
  if (type == Element::kDouble && prediction == type) return f(double(), double());
  if (type == Element::kFloat && prediction == type) return f(float(), float());
  TEC_CHECK(type == Element::kFloat && prediction == Element::kBFloat16) << "no loss for predictions of this type";
  f(float(), c10::BFloat16());
}

}  // namespace

void RunFeatureLoss(const FeatureLossForward& a) {
  Dispatch(a.type, a.prediction_type, [&](auto t, auto p) { Feature<decltype(t), decltype(p)>(a); });
}

void RunFeatureLossBackward(const FeatureLossBackward& b) {
  Dispatch(b.forward.type, b.forward.prediction_type,
           [&](auto t, auto p) { FeatureGradient<decltype(t), decltype(p)>(b); });
}

void RunRelationLoss(const RelationLossForward& a) {
  Dispatch(a.type, a.logits_type, [&](auto t, auto x) { Relation<decltype(t), decltype(x)>(a); });
}

void RunRelationLossBackward(const RelationLossBackward& b) {
  Dispatch(b.forward.type, b.forward.logits_type,
           [&](auto t, auto x) { RelationGradient<decltype(t), decltype(x)>(b); });
}

}  // namespace tec
