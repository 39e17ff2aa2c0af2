#include "tec/run/update_agreement.h"

#include <array>

#include "ATen/ops/cat.h"
#include "ATen/ops/stack.h"
#include "ATen/ops/zeros.h"
#include "absl/strings/str_cat.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"

namespace tec {
namespace {

// As they travel.
constexpr std::array<bool UpdateAgreement::Flags::*, 4> kFlags = {
    &UpdateAgreement::Flags::stop, &UpdateAgreement::Flags::bad_images, &UpdateAgreement::Flags::save,
    &UpdateAgreement::Flags::error};

}  // namespace

void UpdateAgreement::Send(bool save_due, bool error) {
  TEC_CHECK(!sent_) << "what was sent before is to be received first";
  const int requests = context_.save_requests();
  Sent sent;
  sent.mine.stop = context_.stop_requested();
  sent.mine.bad_images = bad_images_ && bad_images_->news();
  sent.mine.save = save_due || requests > save_requests_;
  sent.mine.error = error;
  save_requests_ = requests;
  if (added_.empty()) return;
  sent.steps = static_cast<int64_t>(added_.size());
  sent.numbers = at::stack(std::exchange(added_, {})).flatten().to(at::kDouble);
  if (context_.group().world_size() > 1) {
    // Made on the device: a copy of the host's would wait for it.
    const at::Tensor flags = at::zeros({static_cast<int64_t>(kFlags.size())}, sent.numbers.options());
    for (size_t i = 0; i < kFlags.size(); ++i) {
      if (sent.mine.*kFlags[i]) flags.narrow(0, static_cast<int64_t>(i), 1).fill_(1);
    }
    sent.numbers = at::cat({sent.numbers, flags});
    sent.sum = context_.group().StartSum(sent.numbers);
  }
  sent_ = std::move(sent);
}

absl::StatusOr<UpdateAgreement::Agreed> UpdateAgreement::Receive() {
  Agreed agreed;
  if (!sent_) return agreed;
  const Sent sent = *std::exchange(sent_, std::nullopt);
  const int ranks = context_.group().world_size();
  agreed.mine = agreed.any = sent.mine;
  if (ranks > 1) TEC_RETURN_IF_ERROR(context_.group().FinishSums({sent.sum}, "agreeing on the losses"));
  const at::Tensor numbers = sent.numbers.cpu();
  const double* values = numbers.const_data_ptr<double>();
  const int64_t losses = numbers.numel() - (ranks > 1 ? static_cast<int64_t>(kFlags.size()) : 0);
  const int64_t parts = losses / sent.steps;
  for (int64_t step = 0; step < sent.steps; ++step) {
    agreed.losses.emplace_back();
    for (int64_t part = 0; part < parts; ++part) agreed.losses.back().push_back(values[step * parts + part] / ranks);
  }
  if (ranks > 1) {
    for (size_t i = 0; i < kFlags.size(); ++i) agreed.any.*kFlags[i] = values[losses + static_cast<int64_t>(i)] > 0;
  }
  save_ = save_ || agreed.any.save;
  return agreed;
}

absl::StatusOr<bool> UpdateAgreement::AnyStops(bool this_rank) {
  ProcessGroup& group = context_.group();
  TEC_ASSIGN_OR_RETURN(const std::vector<int> ranks, group.Which(this_rank));
  if (ranks.empty() || group.world_size() == 1) return !ranks.empty();
  TEC_LOG(INFO) << "stopping: " << group.NameOf(ranks[0])
                << (ranks.size() > 1 ? absl::StrCat(" and ", ranks.size() - 1, " more were") : " was") << " asked to";
  return true;
}

}  // namespace tec
