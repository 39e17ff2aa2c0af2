// Learning rate as a function of the fractional epoch. No tensors. (recipe.md section 6)

#ifndef TEC_OPTIM_SCHEDULE_H_
#define TEC_OPTIM_SCHEDULE_H_

#include <cstdint>

namespace tec {

struct ScheduleOptions {
  double lr = 0;      // At the end of the warm-up.
  double min_lr = 0;  // At the end.
  double warmup_epochs = 0;
  double epochs = 0;
};

// Linear from 0 during the warm-up (so the very first update uses 0), then half a cosine down to min_lr.
// epoch = micro_step / micro_steps_per_epoch + epoch index, set at the first micro-step of each update. A parameter
// group multiplies the result by its lr_scale.
double LearningRate(const ScheduleOptions& options, double epoch);

// blr is per 256 images: blr * batch_size * accum_iter * world_size / 256.
double EffectiveLearningRate(double blr, int64_t batch_size, int64_t accum_iter, int64_t world_size);

}  // namespace tec

#endif  // TEC_OPTIM_SCHEDULE_H_
