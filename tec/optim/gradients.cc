#include "tec/optim/gradients.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

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
#include "tec/nn/parallel.h"
#include "tec/nn/work_record.h"

namespace tec {
namespace {

// Elements summed as one. Their number says in which order the squares are added, whatever the number of threads.
constexpr int64_t kChunkElements = 64 * 1024;
// Sums side by side, so that none waits for the addition before.
constexpr int64_t kLanes = 16;

std::vector<at::Tensor> Gradients(const std::vector<at::Tensor>& parameters) {
  std::vector<at::Tensor> gradients;
  for (const at::Tensor& parameter : parameters) {
    if (parameter.grad().defined()) gradients.push_back(parameter.grad());
  }
  return gradients;
}

// A chunk's sum, in double: a square of a float32 is exact there, and neither overflows nor is lost beside the others.
template <typename T>
double SumOfSquares(const T* x, int64_t size) {
  std::array<double, kLanes> sums = {};
  int64_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      const auto value = static_cast<double>(x[i + lane]);
      sums[lane] += value * value;
    }
  }
  for (int64_t lane = 0; i < size; ++i, ++lane) sums[lane] += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

// All chunks of all gradients, side by side. LibTorch's own norm of a list of tensors is one thread's work here.
at::Tensor NormOnCpu(const std::vector<at::Tensor>& gradients) {
  WorkRecord work("tec::gradient_norm", gradients);
  at::ScalarType type = at::kFloat;
  std::vector<at::Tensor> whole;
  struct Chunk {
    const at::Tensor* of;
    int64_t begin, size;
  };
  std::vector<Chunk> chunks;
  for (const at::Tensor& gradient : gradients) {
    if (gradient.scalar_type() == at::kDouble) type = at::kDouble;
    // float16 and bfloat16 are float32 too.
    whole.push_back((gradient.scalar_type() == at::kDouble ? gradient : gradient.to(at::kFloat)).contiguous());
  }
  for (const at::Tensor& gradient : whole) {
    for (int64_t begin = 0; begin < gradient.numel(); begin += kChunkElements) {
      chunks.push_back({&gradient, begin, std::min(kChunkElements, gradient.numel() - begin)});
    }
  }
  std::vector<double> sums(chunks.size());
  at::parallel_for(0, static_cast<int64_t>(chunks.size()), 1, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      const auto& [of, begin, size] = chunks[i];
      sums[i] = of->scalar_type() == at::kDouble ? SumOfSquares(of->const_data_ptr<double>() + begin, size)
                                                 : SumOfSquares(of->const_data_ptr<float>() + begin, size);
    }
  });
  double square = std::accumulate(sums.begin(), sums.end(), 0.0);
  // AdamW squares the gradients in float32, where such ones leave a moment that is infinite for good: they count as
  // what float32's own sum would say, and the update is not made.
  if (type == at::kFloat && square > std::numeric_limits<float>::max())
    square = std::numeric_limits<double>::infinity();
  const at::Tensor norm = at::full({}, std::sqrt(square), type);
  work.Wrote(norm);
  return norm;
}

}  // namespace

at::Tensor GradientNorm(const std::vector<at::Tensor>& parameters) {
  c10::NoGradGuard no_grad;
  const std::vector<at::Tensor> gradients = Gradients(parameters);
  if (gradients.empty()) return at::zeros({}, at::kFloat);
  if (std::all_of(gradients.begin(), gradients.end(), [](const at::Tensor& g) { return g.is_cpu(); })) {
    return NormOnCpu(gradients);
  }
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
  const at::Tensor factor = (max_norm / (norm + 1e-6)).clamp_max(1.0);
  // Times one changes nothing; a device would have to be waited for to know.
  if (norm.is_cpu() && factor.item<double>() == 1) return norm;
  at::_foreach_mul_(gradients, factor);
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
