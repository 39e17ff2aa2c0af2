#include "tec/config/advice.h"

#include "absl/strings/str_format.h"
#include "tec/config/config.h"

namespace tec {

std::vector<std::string> AdviceOnRun(const config::Optimizer& optimizer, const config::Schedule& schedule,
                                     int64_t images, int64_t world_size) {
  std::vector<std::string> advice;
  const double warmup = schedule.warmup_epochs(), epochs = static_cast<double>(schedule.epochs());
  if (warmup > 0 && warmup >= epochs) {
    const double lr = LearningRate(optimizer, world_size);
    advice.push_back(
        absl::StrFormat("the warm-up of %g epochs (--warmup_epochs) is as long as the run of %g (--epochs) or longer: "
                        "the learning rate "
                        "ends at %.3g of its %.3g and never falls; a tenth of the epochs, --warmup_epochs=%g, is usual",
                        warmup, epochs, lr * epochs / warmup, lr, epochs / 10));
  }
  const int64_t update = optimizer.batch_size() * optimizer.accum_iter() * world_size;
  const int64_t updates = update > 0 ? images / update : 0;
  constexpr int64_t kFew = 10;
  if (updates > 0 && updates < kFew && epochs > 0) {
    int64_t smaller = optimizer.batch_size() * optimizer.accum_iter();
    while (smaller > 1 && images / (smaller * world_size) < kFew) smaller /= 2;
    advice.push_back(
        absl::StrFormat("%d images make only %d update%s an epoch of %d images (--batch_size=%d x --accum_iter=%d x %d "
                        "processes), which "
                        "suits ImageNet's 1,281,167; --batch_size=%d --accum_iter=1 would make %d",
                        images, updates, updates == 1 ? "" : "s", update, optimizer.batch_size(),
                        optimizer.accum_iter(), world_size, smaller, images / (smaller * world_size)));
  }
  return advice;
}

}  // namespace tec
