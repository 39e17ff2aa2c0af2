// The CUDA half of loss_kernels.h. A block takes a row at a time; its sums are added up by a second kernel, in order.

#include "tec/losses/loss_kernels.h"
#include "tec/nn/device_rows.h"

namespace tec {
namespace {

__device__ inline float Exp(float x) { return expf(x); }
__device__ inline double Exp(double x) { return exp(x); }
__device__ inline float Log(float x) { return logf(x); }
__device__ inline double Log(double x) { return log(x); }

template <typename A>
__device__ inline A Standardised(const FeatureLossForward& a, int64_t row, int64_t c) {
  const int64_t image = row / a.patches * a.width;
  return Quotient(static_cast<const A*>(a.target)[row * a.width + c] - static_cast<const A*>(a.mean)[image + c],
                  Root(static_cast<const A*>(a.variance)[image + c] + static_cast<A>(a.epsilon)));
}

// One block: total[i] = the sum over the parts, then what `mean` says: total[0] / total[1], or both over `rows`.
template <typename A>
__global__ void FinishKernel(const A* scratch, int64_t parts, int64_t rows, bool ratio, A* total) {
  A sums[2] = {};
  for (int64_t part = threadIdx.x; part < parts; part += blockDim.x) {
    for (int i = 0; i < 2; ++i) sums[i] += scratch[2 * part + i];
  }
  for (int i = 0; i < 2; ++i) sums[i] = BlockSum(sums[i]);
  if (threadIdx.x != 0) return;
  total[0] = Quotient(sums[0], ratio ? sums[1] : static_cast<A>(rows));
  total[1] = ratio ? sums[1] : Quotient(sums[1], static_cast<A>(rows));
}

// Of patch `row` of all images.
__device__ inline int64_t PredictionRow(const FeatureLossForward& a, int64_t row) {
  return row + (row / a.patches + 1) * a.skip;
}

template <typename A, typename P>
__global__ void FeatureKernel(FeatureLossForward a) {
  A errors = 0, masks = 0;
  for (int64_t row = blockIdx.x; row < a.images * a.patches; row += gridDim.x) {
    const A mask = static_cast<const A*>(a.mask)[row];
    if (mask == 0) continue;
    A error = 0;
    for (int64_t c = threadIdx.x; c < a.width; c += blockDim.x) {
      const A difference =
          Wide(static_cast<const P*>(a.prediction)[PredictionRow(a, row) * a.width + c]) - Standardised<A>(a, row, c);
      error += difference * difference;
    }
    errors += mask * Quotient(BlockSum(error), static_cast<A>(a.width));
    masks += mask;
  }
  if (threadIdx.x == 0) {
    static_cast<A*>(a.scratch)[2 * blockIdx.x] = errors;
    static_cast<A*>(a.scratch)[2 * blockIdx.x + 1] = masks;
  }
}

template <typename A, typename P>
__global__ void FeatureGradientKernel(FeatureLossBackward b) {
  const FeatureLossForward& a = b.forward;
  const A factor = Quotient(Quotient(2 * *static_cast<const A*>(b.d_loss), static_cast<const A*>(a.sums)[1]),
                            static_cast<A>(a.width));
  for (int64_t row = blockIdx.x; row < a.images * a.patches; row += gridDim.x) {
    const A f = factor * static_cast<const A*>(a.mask)[row];
    P* skipped = static_cast<P*>(b.d_prediction) + (PredictionRow(a, row) - a.skip) * a.width;
    for (int64_t c = threadIdx.x; row % a.patches == 0 && c < a.skip * a.width; c += blockDim.x) {
      Narrow(A(0), skipped + c);
    }
    for (int64_t c = threadIdx.x; c < a.width; c += blockDim.x) {
      const int64_t i = PredictionRow(a, row) * a.width + c;
      const A d = f == 0 ? A(0) : f * (Wide(static_cast<const P*>(a.prediction)[i]) - Standardised<A>(a, row, c));
      Narrow(d, static_cast<P*>(b.d_prediction) + i);
    }
  }
}

template <typename A>
__device__ inline A BlockMax(A x) {
  __shared__ A tops[kMostThreads / kWarp];
  for (int offset = kWarp / 2; offset > 0; offset /= 2) {
    const A other = __shfl_down_sync(0xffffffffu, x, offset);
    x = other > x ? other : x;
  }
  __syncthreads();  // Those of the call before have been read.
  if (threadIdx.x % kWarp == 0) tops[threadIdx.x / kWarp] = x;
  __syncthreads();
  A top = tops[0];
  for (int w = 1; w < blockDim.x / kWarp; ++w) top = tops[w] > top ? tops[w] : top;
  return top;
}

// Row after row as in the CPU's.
template <typename A, typename X>
struct Row {
  __device__ Row(const RelationLossForward& a, int64_t row)
      : logits(static_cast<const X*>(a.logits) + row * a.width),
        target(static_cast<const A*>(a.target) + row * a.width),
        tau(static_cast<A>(a.tau)) {
    // A thread without a column takes the first one, which changes no maximum.
    A x = Wide(logits[0]), t = Quotient(target[0], tau);
    for (int64_t i = threadIdx.x; i < a.width; i += blockDim.x) {
      const A y = Wide(logits[i]), u = Quotient(target[i], tau);
      x = y > x ? y : x;
      t = u > t ? u : t;
    }
    top = BlockMax(x);
    target_top = BlockMax(t);
    A sum = 0, target_sum = 0;
    for (int64_t i = threadIdx.x; i < a.width; i += blockDim.x) {
      sum += Exp(Wide(logits[i]) - top);
      target_sum += Exp(Quotient(target[i], tau) - target_top);
    }
    log_sum = Log(BlockSum(sum));
    target_log_sum = Log(BlockSum(target_sum));
  }
  __device__ A Logit(int64_t i) const { return Wide(logits[i]) - top - log_sum; }
  __device__ A Target(int64_t i) const { return Quotient(target[i], tau) - target_top - target_log_sum; }

  const X* logits;
  const A* target;
  A tau, top, log_sum, target_top, target_log_sum;
};

template <typename A, typename X>
__global__ void RelationKernel(RelationLossForward a) {
  A crosses = 0, owns = 0;
  for (int64_t row = blockIdx.x; row < a.rows; row += gridDim.x) {
    const Row<A, X> r(a, row);
    A cross = 0, own = 0;
    for (int64_t i = threadIdx.x; i < a.width; i += blockDim.x) {
      const A target = r.Target(i), p = Exp(target);
      cross -= p * r.Logit(i);
      own -= p * target;
    }
    crosses += BlockSum(cross);
    owns += BlockSum(own);
  }
  if (threadIdx.x == 0) {
    static_cast<A*>(a.scratch)[2 * blockIdx.x] = crosses;
    static_cast<A*>(a.scratch)[2 * blockIdx.x + 1] = owns;
  }
}

template <typename A, typename X>
__global__ void RelationGradientKernel(RelationLossBackward b) {
  const RelationLossForward& a = b.forward;
  const A factor = Quotient(*static_cast<const A*>(b.d_loss), static_cast<A>(a.rows));
  for (int64_t row = blockIdx.x; row < a.rows; row += gridDim.x) {
    const Row<A, X> r(a, row);
    for (int64_t i = threadIdx.x; i < a.width; i += blockDim.x) {
      Narrow(factor * (Exp(r.Logit(i)) - Exp(r.Target(i))), static_cast<X*>(b.d_logits) + row * a.width + i);
    }
  }
}

template <typename F>
const char* Dispatch(Element type, Element prediction, const F& f) {
  if (type == Element::kDouble && prediction == type) {
    f(double(), double());
  } else if (type != Element::kFloat || prediction == Element::kDouble) {
    return "no loss for predictions of this type";
  } else if (prediction == Element::kFloat) {
    f(float(), float());
  } else if (prediction == Element::kBFloat16) {
    f(float(), __nv_bfloat16());
  } else {
    f(float(), __half());
  }
  return LastError();
}

unsigned BlocksFor(int64_t rows) { return static_cast<unsigned>(std::min<int64_t>(rows, kCudaColumnParts)); }
// Where nothing is summed over rows.
unsigned ManyBlocksFor(int64_t rows) { return static_cast<unsigned>(std::min<int64_t>(rows, 65535)); }

}  // namespace

const char* LaunchFeatureLoss(const FeatureLossForward& a, void* stream) {
  const auto on = static_cast<cudaStream_t>(stream);
  const int64_t rows = a.images * a.patches;
  if (rows == 0) return nullptr;  // A grid without blocks is an error to CUDA.
  return Dispatch(a.type, a.prediction_type, [&](auto t, auto p) {
    using A = decltype(t);
    FeatureKernel<A, decltype(p)><<<BlocksFor(rows), ThreadsFor(a.width, 1), 0, on>>>(a);
    FinishKernel<A><<<1, kMostThreads, 0, on>>>(static_cast<const A*>(a.scratch), BlocksFor(rows), rows, true,
                                                static_cast<A*>(a.sums));
  });
}

const char* LaunchFeatureLossBackward(const FeatureLossBackward& b, void* stream) {
  const FeatureLossForward& a = b.forward;
  const int64_t rows = a.images * a.patches;
  if (rows == 0) return nullptr;
  return Dispatch(a.type, a.prediction_type, [&](auto t, auto p) {
    FeatureGradientKernel<decltype(t), decltype(p)>
        <<<ManyBlocksFor(rows), ThreadsFor(a.width, 1), 0, static_cast<cudaStream_t>(stream)>>>(b);
  });
}

const char* LaunchRelationLoss(const RelationLossForward& a, void* stream) {
  const auto on = static_cast<cudaStream_t>(stream);
  if (a.rows == 0) return nullptr;
  return Dispatch(a.type, a.logits_type, [&](auto t, auto x) {
    using A = decltype(t);
    RelationKernel<A, decltype(x)><<<BlocksFor(a.rows), ThreadsFor(a.width, 1), 0, on>>>(a);
    FinishKernel<A><<<1, kMostThreads, 0, on>>>(static_cast<const A*>(a.scratch), BlocksFor(a.rows), a.rows, false,
                                                static_cast<A*>(a.means));
  });
}

const char* LaunchRelationLossBackward(const RelationLossBackward& b, void* stream) {
  if (b.forward.rows == 0) return nullptr;
  return Dispatch(b.forward.type, b.forward.logits_type, [&](auto t, auto x) {
    RelationGradientKernel<decltype(t), decltype(x)>
        <<<ManyBlocksFor(b.forward.rows), ThreadsFor(b.forward.width, 1), 0, static_cast<cudaStream_t>(stream)>>>(b);
  });
}

}  // namespace tec
