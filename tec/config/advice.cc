#include "tec/config/advice.h"

#include "absl/strings/str_format.h"

namespace tec {

std::vector<std::string> AdviceOnRun(const RunSize& size) {
  std::vector<std::string> advice;
  const double warmup = size.warmup_epochs, epochs = static_cast<double>(size.epochs);
  if (warmup > 0 && epochs > 0 && warmup >= epochs) {
    advice.push_back(absl::StrFormat(
        "the warm-up of %g epochs (--warmup_epochs) is as long as the run of %g (--epochs) or longer: the learning "
        "rate "
        "ends at %.0f %% of what was asked for and never falls; a tenth of the epochs, --warmup_epochs=%g, is usual",
        warmup, epochs, 100 * epochs / warmup, epochs / 10));
  }
  const int64_t update = size.images_per_micro_step * size.accum_iter;
  const int64_t updates = update > 0 ? size.images / update : 0;
  constexpr int64_t kFew = 10;
  if (updates > 0 && updates < kFew && size.epochs > 0) {
    int64_t smaller = update;
    while (smaller > 1 && size.images / smaller < kFew) smaller /= 2;
    advice.push_back(absl::StrFormat(
        "%d images make only %d update%s an epoch of %d images: a size that suits ImageNet's 1,281,167. With a smaller "
        "--batch_size or --accum_iter, %d images an update, there would be %d",
        size.images, updates, updates == 1 ? "" : "s", update, smaller, size.images / smaller));
  }
  return advice;
}

}  // namespace tec
