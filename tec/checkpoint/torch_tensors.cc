#include "tec/checkpoint/torch_tensors.h"

#include <string.h>

#include "ATen/Functions.h"
#include "absl/strings/str_cat.h"
#include "c10/core/GradMode.h"
#include "tec/base/logging.h"
#include "tec/checkpoint/own_bytes.h"

namespace tec {
namespace {

constexpr std::pair<DType, at::ScalarType> kTypes[] = {
    {DType::kBool, at::kBool},      {DType::kUint8, at::kByte},        {DType::kInt8, at::kChar},
    {DType::kInt16, at::kShort},    {DType::kInt32, at::kInt},         {DType::kInt64, at::kLong},
    {DType::kFloat16, at::kHalf},   {DType::kBFloat16, at::kBFloat16}, {DType::kFloat32, at::kFloat},
    {DType::kFloat64, at::kDouble},
};

at::ScalarType ScalarTypeOf(DType dtype) {
  for (const auto& [ours, theirs] : kTypes) {
    if (ours == dtype) return theirs;
  }
  TEC_CHECK(false) << "no such type";
  return at::kFloat;
}

DType DTypeOf(at::ScalarType type) {
  for (const auto& [ours, theirs] : kTypes) {
    if (theirs == type) return ours;
  }
  TEC_CHECK(false) << "no checkpoint type for " << c10::toString(type);
  return DType::kFloat32;
}

// The elements as an at::Tensor that shares them; valid while `view` lives. Where they are not aligned for their type,
// a copy.
at::Tensor Alias(const TensorView& view) {
  const at::TensorOptions options = at::TensorOptions().dtype(ScalarTypeOf(view.dtype));
  if (reinterpret_cast<uintptr_t>(view.bytes.data()) % DTypeSize(view.dtype) == 0 && !view.bytes.empty()) {
    return at::from_blob(const_cast<char*>(view.bytes.data()), view.shape, options);
  }
  at::Tensor copy = at::empty(view.shape, options);
  if (!view.bytes.empty()) memcpy(copy.data_ptr(), view.bytes.data(), view.bytes.size());
  return copy;
}

}  // namespace

TensorView ViewOf(const at::Tensor& tensor) {
  const at::Tensor dense = tensor.detach().to(at::kCPU).contiguous();
  TensorView view;
  view.dtype = DTypeOf(dense.scalar_type());
  view.shape = dense.sizes().vec();
  view.bytes = absl::string_view(static_cast<const char*>(dense.const_data_ptr()), dense.nbytes());
  view.owner = dense.is_alias_of(tensor) ? std::make_shared<const at::Tensor>(dense) : OwnBytes::Owner(dense);
  return view;
}

at::Tensor TensorOf(const TensorView& view) {
  at::Tensor tensor = at::empty(view.shape, at::TensorOptions().dtype(ScalarTypeOf(view.dtype)));
  if (!view.bytes.empty()) memcpy(tensor.data_ptr(), view.bytes.data(), view.bytes.size());
  ReleasePages(view);
  return tensor;
}

absl::Status CopyInto(const TensorView& view, at::Tensor tensor) {
  if (tensor.sizes() != at::IntArrayRef(view.shape) || tensor.scalar_type() != ScalarTypeOf(view.dtype)) {
    return absl::InvalidArgumentError(absl::StrCat("a tensor ", Describe(view), " does not fit ",
                                                   c10::toString(tensor.scalar_type()), " of another shape"));
  }
  CopyConverting(view, tensor);
  return absl::OkStatus();
}

void CopyConverting(const TensorView& view, at::Tensor tensor) {
  TEC_CHECK(tensor.sizes() == at::IntArrayRef(view.shape)) << Describe(view) << " into " << tensor.sizes();
  const c10::NoGradGuard no_grad;
  tensor.copy_(Alias(view));
  ReleasePages(view);
}

StateDict ViewsOf(const std::vector<std::pair<std::string, at::Tensor>>& tensors) {
  StateDict views;
  for (const auto& [name, tensor] : tensors) TEC_CHECK_OK(views.Add(name, ViewOf(tensor)));
  return views;
}

std::map<std::string, at::Tensor> TensorsOf(const StateDict& tensors) {
  std::map<std::string, at::Tensor> result;
  for (const auto& [name, view] : tensors) result.emplace(name, TensorOf(view));
  return result;
}

}  // namespace tec
