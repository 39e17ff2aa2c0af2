#include "tec/run/unread_update.h"

#include <cmath>
#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace tec {

std::string UnreadUpdate::TakeLosses(UpdateAgreement::Agreed received, const std::vector<std::string>& names,
                                     const EpochPlan& plan) {
  agreed = std::move(received);
  const int64_t first = position.next_micro_step - static_cast<int64_t>(agreed->losses.size());
  for (size_t step = 0; step < agreed->losses.size(); ++step) {
    const std::vector<double>& losses = agreed->losses[step];
    if (!std::isfinite(losses[0])) {
      std::string what = absl::StrFormat("the loss is not finite at epoch %d, micro-step %d of %d:", position.epoch,
                                         first + static_cast<int64_t>(step), plan.steps_per_epoch);
      for (size_t i = 0; i < losses.size(); ++i) absl::StrAppend(&what, " ", names[i], " ", losses[i]);
      return what;
    }
    for (size_t i = 0; i < losses.size(); ++i) position.losses[i].Add(losses[i]);
    position.lrs.Add(position.lr);
  }
  return "";
}

std::string UnreadUpdate::TakeResult(const EpochPlan& plan) {
  result.Read();
  if (!result.skipped || result.loss_scale) return "";
  return absl::StrFormat("the gradient's norm is %g at epoch %d, micro-step %d of %d", result.grad_norm.value_or(NAN),
                         position.epoch, position.next_micro_step - 1, plan.steps_per_epoch);
}

}  // namespace tec
