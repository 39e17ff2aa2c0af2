#include "tec/nn/working_copy.h"

#include <cstdint>
#include <utility>

#include "c10/core/TensorImpl.h"
#include "tec/base/logging.h"

namespace tec {
namespace {

// LibTorch's place for what goes with a tensor: it lives as long as the tensor, and costs nothing where there is none.
struct WorkingCopy : c10::BackendMeta {
  at::Tensor low;
  const void* data = nullptr;  // The weight's, whose place may be taken by others' (torch::nn::Module::to).
  int64_t version = 0;         // Of the weight whose values `low` has.
  bool written = false;        // By who changed the weight, not cast from it.
};

WorkingCopy* CopyOf(const at::Tensor& weight) {
  auto* copy = dynamic_cast<WorkingCopy*>(weight.unsafeGetTensorImpl()->get_backend_meta());
  const bool current = copy != nullptr && copy->data == weight.const_data_ptr() && copy->version == weight._version();
  return current ? copy : nullptr;
}

}  // namespace

void AttachWorkingCopy(const at::Tensor& weight, at::Tensor low) {
  TEC_CHECK(low.sizes() == weight.sizes() && low.device() == weight.device())
      << low.sizes() << " of " << weight.sizes();
  auto copy = c10::make_intrusive<WorkingCopy>();
  copy->low = std::move(low);
  copy->data = weight.const_data_ptr();
  copy->version = weight._version();
  weight.unsafeGetTensorImpl()->set_backend_meta(std::move(copy));
}

at::Tensor CurrentWorkingCopy(const at::Tensor& weight) {
  const WorkingCopy* copy = CopyOf(weight);
  return copy == nullptr ? at::Tensor() : copy->low;
}

void WroteWorkingCopy(const at::Tensor& weight) {
  WorkingCopy* copy = CopyOf(weight);
  TEC_CHECK(copy != nullptr) << "a copy that is not the weight's";
  CountChange(weight);
  CountChange(copy->low);
  copy->version = weight._version();
  copy->written = true;
}

bool IsWrittenCopy(const at::Tensor& weight, const at::Tensor& low) {
  const WorkingCopy* copy = CopyOf(weight);
  return copy != nullptr && copy->written && copy->low.is_same(low);
}

void CountChange(const at::Tensor& tensor) { tensor.unsafeGetTensorImpl()->bump_version(); }

}  // namespace tec
