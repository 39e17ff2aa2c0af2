#include "tec/run/update_agreement.h"

#include <cstdint>

#include "ATen/ops/cat.h"
#include "ATen/ops/stack.h"
#include "ATen/ops/tensor.h"
#include "tec/base/status.h"

namespace tec {

absl::StatusOr<UpdateAgreement::Agreed> UpdateAgreement::Agree(const Flags& mine) {
  Agreed agreed;
  if (pending_.empty()) return agreed;
  const int64_t steps = static_cast<int64_t>(pending_.size()), parts = pending_[0].numel(), losses = steps * parts;
  at::Tensor all = at::cat({at::stack(pending_).reshape({losses}).to(at::kDouble),
                            at::tensor({mine.stop ? 1.0 : 0.0, bad_images_ && bad_images_->news() ? 1.0 : 0.0,
                                        mine.save ? 1.0 : 0.0, mine.error ? 1.0 : 0.0},
                                       at::kDouble)
                                .to(context_.device())});
  pending_.clear();
  TEC_RETURN_IF_ERROR(context_.group().AllReduceSum(all, "agreeing on the losses"));
  all = all.cpu();
  const double* values = all.const_data_ptr<double>();
  for (int64_t step = 0; step < steps; ++step) {
    agreed.losses.emplace_back();
    for (int64_t part = 0; part < parts; ++part) {
      agreed.losses.back().push_back(values[step * parts + part] / context_.group().world_size());
    }
  }
  agreed.any.stop = values[losses] > 0;
  agreed.any.save = values[losses + 2] > 0;
  agreed.any.error = values[losses + 3] > 0;
  // A run that ends needs no count.
  if (values[losses + 1] > 0 && !agreed.any.error) TEC_RETURN_IF_ERROR(bad_images_->Share());
  return agreed;
}

}  // namespace tec
