// One block updates kBlockElements of one tensor. The arithmetic is that of LibTorch's _fused_adamw_ on CUDA, whose
// moments are made with fused multiply-adds.

#include "tec/nn/device_rows.h"
#include "tec/optim/adamw_kernels.h"

namespace tec {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kBlockElements = 32 * kThreads * kVector;

// Of all copies of a launch.
template <typename Copy>
__global__ void AdamWUpdateKernel(const __grid_constant__ AdamWKernel a) {
  if (a.not_finite != nullptr && *a.not_finite == 1) return;
  int low = 0, high = a.count;  // The last tensor whose first block is not behind this one.
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    (a.first_block[middle] <= static_cast<int>(blockIdx.x) ? low : high) = middle;
  }
  const AdamWKernel::Tensor& t = a.tensors[low];
  const float step = *t.step;
  const float correction1 = 1 - powf(a.beta1, step), root2 = Root(1 - powf(a.beta2, step));
  const float step_size = Quotient(t.lr, correction1);
  const auto update = [&](float* p, float g, float* m, float* v) {
    if (t.weight_decay != 0) *p -= t.lr * t.weight_decay * *p;
    *m = fmaf(a.beta1, *m, fmaf(-a.beta1, g, g));
    *v = fmaf(a.beta2, *v, fmaf(-a.beta2, g * g, g * g));
    *p -= Quotient(step_size * *m, Quotient(Root(*v), root2) + a.epsilon);
  };
  const int64_t begin = (static_cast<int64_t>(blockIdx.x) - a.first_block[low]) * kBlockElements;
  const int64_t end = min(begin + kBlockElements, t.size);
  Copy* const copy = static_cast<Copy*>(t.copy);
  const auto is_aligned = [](const void* at, size_t bytes) { return reinterpret_cast<size_t>(at) % bytes == 0; };
  const bool aligned = is_aligned(t.parameter, 16) && is_aligned(t.gradient, 16) && is_aligned(t.exp_avg, 16) &&
                       is_aligned(t.exp_avg_sq, 16) && is_aligned(copy, 8);
  const int64_t whole = aligned ? begin + (end - begin) / kVector * kVector : begin;
  for (int64_t i = begin + static_cast<int64_t>(threadIdx.x) * kVector; i < whole; i += kThreads * kVector) {
    float p[kVector], g[kVector], m[kVector], v[kVector];
    Load<kVector>(t.parameter + i, p);
    Load<kVector>(t.gradient + i, g);
    Load<kVector>(t.exp_avg + i, m);
    Load<kVector>(t.exp_avg_sq + i, v);
#pragma unroll
    for (int k = 0; k < kVector; ++k) update(&p[k], g[k], &m[k], &v[k]);
    Store<kVector>(p, t.parameter + i);
    Store<kVector>(m, t.exp_avg + i);
    Store<kVector>(v, t.exp_avg_sq + i);
    if (copy != nullptr) Store<kVector>(p, copy + i);
  }
  for (int64_t i = whole + threadIdx.x; i < end; i += kThreads) {
    float p = t.parameter[i], m = t.exp_avg[i], v = t.exp_avg_sq[i];
    update(&p, t.gradient[i], &m, &v);
    t.parameter[i] = p;
    t.exp_avg[i] = m;
    t.exp_avg_sq[i] = v;
    if (copy != nullptr) Narrow(p, copy + i);
  }
}

}  // namespace

const char* LaunchAdamW(AdamWKernel a, void* stream) {
  a.first_block[0] = 0;
  for (int i = 0; i < a.count; ++i) {
    const int64_t blocks = (a.tensors[i].size + kBlockElements - 1) / kBlockElements;
    a.first_block[i + 1] = a.first_block[i] + static_cast<int>(blocks);
  }
  if (a.first_block[a.count] == 0) return nullptr;  // A grid without blocks is an error to CUDA.
  const auto kernel = a.copy_type == Element::kHalf ? AdamWUpdateKernel<__half> : AdamWUpdateKernel<__nv_bfloat16>;
  kernel<<<a.first_block[a.count], kThreads, 0, static_cast<cudaStream_t>(stream)>>>(a);
  return LastError();
}

}  // namespace tec
