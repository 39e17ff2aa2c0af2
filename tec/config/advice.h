// Settings that are sound and yet not what anybody means: the reference's defaults are for ImageNet's million images.

#ifndef TEC_CONFIG_ADVICE_H_
#define TEC_CONFIG_ADVICE_H_

#include <cstdint>
#include <string>
#include <vector>

namespace tec {

struct RunSize {
  int64_t images = 0;                 // For training.
  int64_t images_per_micro_step = 0;  // Over all processes.
  int64_t accum_iter = 1;             // Micro-steps an update.
  int64_t epochs = 0;
  double warmup_epochs = 0;
};

// What to warn of before a run, a sentence each: a warm-up that is as long as the run, so that the rate is never
// reached and never falls; fewer than ten updates an epoch, for which an update's images are too many.
std::vector<std::string> AdviceOnRun(const RunSize& size);

// What to warn of after an epoch of `seconds`, `waited` of them for pictures from `threads` decoding threads, on
// `cores`;
// "" if that is fine: up to 5 %, or 3 seconds, in which the first pictures come.
std::string AdviceOnWaiting(double waited, double seconds, int64_t threads, int64_t cores);

}  // namespace tec

#endif  // TEC_CONFIG_ADVICE_H_
