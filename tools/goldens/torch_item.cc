#include "tools/goldens/torch_item.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "tec/base/status.h"
#include "tec/checkpoint/torch_tensors.h"

namespace tec {

absl::StatusOr<at::Tensor> InputTensor(GoldenTensors& file, const std::string& name, DType dtype,
                                       const std::vector<int64_t>& shape) {
  TEC_ASSIGN_OR_RETURN(const TensorView view, file.Input(name, dtype, shape));
  return TensorOf(view);
}

absl::StatusOr<std::map<std::string, at::Tensor>> InputsWithPrefix(GoldenTensors& file, const std::string& prefix) {
  std::map<std::string, at::Tensor> inputs;
  for (const std::string& name : file.Names(prefix)) {
    TEC_ASSIGN_OR_RETURN(const TensorView view, file.Input(name));
    inputs.emplace(name.substr(prefix.size()), TensorOf(view));
  }
  if (inputs.empty()) return absl::NotFoundError(absl::StrCat(file.file(), " has no tensor ", prefix, "*"));
  return inputs;
}

void Compare(GoldenItem& item, GoldenTensors& file, const std::string& name, const at::Tensor& actual,
             const GoldenTolerance& tolerance, const GoldenSkip& skip) {
  if (!actual.defined()) {
    file.Expected(name);
    return item.Fail(name, "nothing was computed");
  }
  at::Tensor tensor = actual.detach().cpu();
  if (tensor.scalar_type() == at::kBFloat16 || tensor.scalar_type() == at::kHalf) tensor = tensor.to(at::kFloat);
  item.Compare(file, name, ViewOf(tensor.contiguous()), tolerance, skip);
}

}  // namespace tec
