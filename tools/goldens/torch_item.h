// GoldenItem's inputs and comparisons for at::Tensor.

#ifndef TEC_TOOLS_GOLDENS_TORCH_ITEM_H_
#define TEC_TOOLS_GOLDENS_TORCH_ITEM_H_

#include <map>
#include <string>
#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/status/statusor.h"
#include "tools/goldens/golden_item.h"

namespace tec {

// GoldenTensors::Input as a tensor.
absl::StatusOr<at::Tensor> InputTensor(GoldenTensors& file, const std::string& name, DType dtype,
                                       const std::vector<int64_t>& shape);
// Every tensor whose name begins with `prefix`, which is cut off. NotFound if there is none.
absl::StatusOr<std::map<std::string, at::Tensor>> InputsWithPrefix(GoldenTensors& file, const std::string& prefix);

// GoldenItem::Compare. 16-bit results are widened to float32.
void Compare(GoldenItem& item, GoldenTensors& file, const std::string& name, const at::Tensor& actual,
             const GoldenTolerance& tolerance, const GoldenSkip& skip = nullptr);

}  // namespace tec

#endif  // TEC_TOOLS_GOLDENS_TORCH_ITEM_H_
