// From tensors to what kernels take (kernel_types.h), and to the device they run on.

#ifndef TEC_NN_KERNEL_LAUNCH_H_
#define TEC_NN_KERNEL_LAUNCH_H_

#include <utility>
#include <vector>

#include "ATen/core/Tensor.h"
#include "ATen/ops/empty.h"
#include "ATen/ops/zeros.h"
#include "tec/base/logging.h"
#include "tec/nn/kernel_types.h"
#ifdef TEC_CUDA
#include "c10/cuda/CUDAGuard.h"
#include "c10/cuda/CUDAStream.h"
#endif

namespace tec {

inline Element ElementOf(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return Element::kFloat;
    case at::kDouble:
      return Element::kDouble;
    case at::kBFloat16:
      return Element::kBFloat16;
    case at::kHalf:
      return Element::kHalf;
    default:
      TEC_CHECK(false) << "no kernel for " << type;
      return Element::kFloat;
  }
}

// Null of an undefined tensor. Contiguous ones only.
inline void* DataOf(const at::Tensor& tensor) {
  TEC_CHECK(!tensor.defined() || tensor.is_contiguous()) << "a kernel takes contiguous tensors";
  return tensor.defined() ? tensor.data_ptr() : nullptr;
}

inline RowParts PartsOf(const std::vector<at::Tensor>& tensors) {
  RowParts parts = {};
  TEC_CHECK(tensors.size() <= kMostParts) << tensors.size() << " parts of a row";
  for (const at::Tensor& tensor : tensors) {
    parts.width = tensor.size(-1);
    parts.at[parts.count++] = DataOf(tensor);
  }
  return parts;
}

template <typename Arguments>
struct CudaKernelOf {
  using Type = const char* (*)(const Arguments&, void*);
};

// Runs one of two kernels with these arguments, where `like` lies. on_cuda: null in a build without CUDA.
template <typename Arguments>
void RunKernel(const at::Tensor& like, void (*on_cpu)(const Arguments&), typename CudaKernelOf<Arguments>::Type on_cuda,
               const Arguments& arguments) {
#ifdef TEC_CUDA
  if (like.is_cuda()) {
    const c10::cuda::CUDAGuard guard(like.device());
    const char* error = on_cuda(arguments, c10::cuda::getCurrentCUDAStream(like.device().index()).stream());
    TEC_CHECK(error == nullptr) << error;
    return;
  }
#endif
  TEC_CHECK(like.is_cpu()) << "this build has no kernel for " << like.device();
  on_cpu(arguments);
}

inline int64_t ColumnPartsOf(const at::Tensor& like) { return like.is_cpu() ? kCpuColumnParts : kCudaColumnParts; }

// Of a kernel that sums its rows: columns [width], and what it makes them from. Zero where there are no rows, which a
// kernel passes over.
inline void MakeColumnSums(const at::Tensor& like, int64_t width, at::Tensor* columns, at::Tensor* scratch) {
  const at::TensorOptions options = like.options().dtype(like.scalar_type() == at::kDouble ? at::kDouble : at::kFloat);
  *columns = like.numel() == 0 ? at::zeros({width}, options) : at::empty({width}, options);
  *scratch = at::empty({ColumnPartsOf(like), width}, options);
}

}  // namespace tec

// The CUDA half of a kernel, where the build has one.
#ifdef TEC_CUDA
#define TEC_CUDA_KERNEL(launch) (launch)
#else
#define TEC_CUDA_KERNEL(launch) nullptr
#endif

#endif  // TEC_NN_KERNEL_LAUNCH_H_
