#include "eval/logistic/validation_split.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "ATen/ops/tensor.h"
#include "tec/base/logging.h"
#include "tec/base/random.h"

namespace tec {

absl::StatusOr<ValidationSplit> SplitForValidation(const at::Tensor& labels, int64_t classes, double fraction,
                                                   uint64_t seed) {
  TEC_CHECK(labels.dim() == 1 && labels.scalar_type() == at::kLong && fraction > 0 && fraction < 1);
  std::vector<std::vector<int64_t>> rows_of_class(classes);
  const at::Tensor contiguous = labels.contiguous();
  for (int64_t i = 0; i < labels.numel(); ++i) rows_of_class[contiguous.const_data_ptr<int64_t>()[i]].push_back(i);
  std::vector<int64_t> fitted, validation;
  for (int64_t c = 0; c < classes; ++c) {
    const std::vector<int64_t>& rows = rows_of_class[c];
    const int64_t count = static_cast<int64_t>(rows.size());
    if (count == 0) continue;
    // Epoch 1: the subset of the training images (epoch 0) is chosen by the same purpose.
    RandomStream stream(RandomKey{seed, RandomPurpose::kSplit, /*epoch=*/1, static_cast<uint64_t>(c)});
    const std::vector<int64_t> order = RandomPermutation(count, stream);
    const int64_t aside = std::min(count - 1, static_cast<int64_t>(std::ceil(fraction * static_cast<double>(count))));
    for (int64_t i = 0; i < count; ++i) (i < aside ? validation : fitted).push_back(rows[order[i]]);
  }
  if (validation.empty()) {
    return absl::InvalidArgumentError(
        "no class has two training images: there is nothing to choose C by; give one --c");
  }
  std::sort(fitted.begin(), fitted.end());
  std::sort(validation.begin(), validation.end());
  return ValidationSplit{at::tensor(fitted, at::kLong), at::tensor(validation, at::kLong)};
}

}  // namespace tec
