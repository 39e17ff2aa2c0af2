#include "tec/config/advice.h"

#include "absl/strings/str_cat.h"
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

std::string AdviceOnWaiting(double waited, double seconds, int64_t threads, int64_t cores) {
  if (!(waited > 0.05 * seconds) || waited <= 3) return "";
  const std::string what =
      absl::StrFormat("%.0f %% of the epoch went in waiting for pictures, with %d decoding threads on %d cores: ",
                      100 * waited / seconds, threads, cores);
  if (threads < cores) return absl::StrCat(what, "--num_workers=", cores, " would shorten it");
  return absl::StrCat(what,
                      "pictures that are packed small (//tools:shard), --fast_jpeg, a faster disk or more cores a "
                      "rank would shorten it");
}

}  // namespace tec
