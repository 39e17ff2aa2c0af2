#include "tec/optim/adamw_update.h"

#include <algorithm>
#include <cstdint>

#include "ATen/core/LegacyTypeDispatch.h"
#include "ATen/ops/_fused_adamw.h"
#include "ATen/record_function.h"
#include "tec/base/logging.h"
#include "tec/nn/kernel_launch.h"
#include "tec/nn/parallel.h"
#include "tec/nn/work_record.h"
#include "tec/optim/adamw_kernels.h"

namespace tec {
namespace {

// Elements whose parameters are still in a cache when they are copied. A multiple of those in 64 bytes, in which
// LibTorch's loop goes: what is left over, and rounded otherwise, is the same as without pieces.
constexpr int64_t kPieceElements = 64 * 1024;

// LibTorch's loop over pieces of all parts, each copied while it is at hand.
void UpdateOnCpu(const std::vector<AdamWPart>& parts, const AdamWOptions& options) {
  struct Piece {
    size_t part;
    int64_t begin, size;
  };
  std::vector<Piece> pieces;
  for (size_t i = 0; i < parts.size(); ++i) {
    const int64_t size = parts[i].parameter.numel();
    for (int64_t begin = 0; begin < size; begin += kPieceElements) {
      pieces.push_back({i, begin, std::min(kPieceElements, size - begin)});
    }
  }
  at::parallel_for(0, static_cast<int64_t>(pieces.size()), 1, [&](int64_t first, int64_t last) {
    // Of this thread, which need not be the caller's.
    const at::AutoDispatchBelowADInplaceOrView no_autograd;
    const at::DisableRecordFunctionGuard quiet;
    for (int64_t i = first; i < last; ++i) {
      const AdamWPart& part = parts[pieces[i].part];
      const auto piece = [&, begin = pieces[i].begin, size = pieces[i].size](const at::Tensor& tensor) {
        return size == tensor.numel() ? tensor : tensor.view(-1).narrow(0, begin, size);
      };
      const at::Tensor parameter = piece(part.parameter);
      at::_fused_adamw_({parameter}, {piece(part.gradient)}, {piece(part.exp_avg)}, {piece(part.exp_avg_sq)},
                        /*max_exp_avg_sqs=*/{}, {part.step}, part.lr, options.beta1, options.beta2, part.weight_decay,
                        options.epsilon, /*amsgrad=*/false, /*maximize=*/false);
      if (part.copy.defined()) piece(part.copy).copy_(parameter);
    }
  });
}

#ifdef TEC_CUDA
void UpdateOnCuda(const std::vector<AdamWPart>& parts, const AdamWOptions& options, const at::Tensor& not_finite) {
  const at::Tensor& like = parts.front().parameter;
  const c10::cuda::CUDAGuard guard(like.device());
  void* const stream = c10::cuda::getCurrentCUDAStream(like.device().index()).stream();
  const auto floats = [](const at::Tensor& tensor) {
    TEC_CHECK(tensor.scalar_type() == at::kFloat) << "no AdamW of " << tensor.scalar_type() << " on CUDA";
    return static_cast<float*>(DataOf(tensor));
  };
  for (size_t begin = 0; begin < parts.size(); begin += kAdamWTensors) {
    AdamWKernel kernel = {};
    kernel.copy_type = Element::kBFloat16;
    kernel.beta1 = static_cast<float>(options.beta1);
    kernel.beta2 = static_cast<float>(options.beta2);
    kernel.epsilon = static_cast<float>(options.epsilon);
    if (not_finite.defined()) kernel.not_finite = floats(not_finite);
    for (size_t i = begin; i < std::min(parts.size(), begin + kAdamWTensors); ++i) {
      const AdamWPart& part = parts[i];
      if (part.copy.defined()) kernel.copy_type = ElementOf(part.copy.scalar_type());
      AdamWKernel::Tensor& tensor = kernel.tensors[kernel.count++];
      tensor.parameter = floats(part.parameter);
      tensor.exp_avg = floats(part.exp_avg);
      tensor.exp_avg_sq = floats(part.exp_avg_sq);
      tensor.gradient = floats(part.gradient);
      tensor.step = floats(part.step);
      tensor.copy = DataOf(part.copy);
      tensor.size = part.parameter.numel();
      tensor.lr = static_cast<float>(part.lr);
      tensor.weight_decay = static_cast<float>(part.weight_decay);
    }
    const char* error = LaunchAdamW(kernel, stream);
    TEC_CHECK(error == nullptr) << error;
  }
}
#endif

}  // namespace

void UpdateByAdamW(std::vector<AdamWPart> parts, const AdamWOptions& options, const at::Tensor& not_finite) {
  if (parts.empty()) return;
  std::vector<at::Tensor> reads = {not_finite}, writes;
  at::ScalarType copy_type = at::ScalarType::Undefined;
  for (AdamWPart& part : parts) {
    part.gradient = part.gradient.contiguous();
    for (const at::Tensor* tensor : {&part.parameter, &part.exp_avg, &part.exp_avg_sq, &part.copy}) {
      TEC_CHECK(!tensor->defined() || tensor->is_contiguous()) << "AdamW takes contiguous tensors";
    }
    reads.insert(reads.end(), {part.parameter, part.gradient, part.exp_avg, part.exp_avg_sq});
    writes.insert(writes.end(), {part.parameter, part.exp_avg, part.exp_avg_sq, part.copy});
    if (!part.copy.defined()) continue;
    TEC_CHECK(copy_type == at::ScalarType::Undefined || copy_type == part.copy.scalar_type())
        << "working copies of " << copy_type << " and of " << part.copy.scalar_type();
    copy_type = part.copy.scalar_type();
  }
  const auto launches = static_cast<int64_t>((parts.size() + kAdamWTensors - 1) / kAdamWTensors);
  WorkRecord work("tec::adamw", reads, launches);
#ifdef TEC_CUDA
  if (parts.front().parameter.is_cuda()) {
    UpdateOnCuda(parts, options, not_finite);
    work.Wrote(writes);
    return;
  }
#endif
  TEC_CHECK(parts.front().parameter.is_cpu()) << "this build has no AdamW for " << parts.front().parameter.device();
  if (not_finite.defined() && not_finite.item<float>() == 1) return;
  UpdateOnCpu(parts, options);
  work.Wrote(writes);
}

}  // namespace tec
