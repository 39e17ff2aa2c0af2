// Settings that are sound and yet not what anybody means: the reference's defaults are for ImageNet's million images.

#ifndef TEC_CONFIG_ADVICE_H_
#define TEC_CONFIG_ADVICE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "tec/config/experiment.pb.h"

namespace tec {

// What to warn of before a run, a sentence each: a warm-up that is as long as the run, so that the rate is never
// reached and never falls; fewer than ten updates an epoch, for which an update's images are too many. `images`: for
// training.
std::vector<std::string> AdviceOnRun(const config::Optimizer& optimizer, const config::Schedule& schedule,
                                     int64_t images, int64_t world_size);

}  // namespace tec

#endif  // TEC_CONFIG_ADVICE_H_
