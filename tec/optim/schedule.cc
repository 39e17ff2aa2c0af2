#include "tec/optim/schedule.h"

#include <cmath>

namespace tec {

double LearningRate(const ScheduleOptions& options, double epoch) {
  constexpr double kPi = 3.14159265358979323846;
  if (epoch < options.warmup_epochs) return options.lr * epoch / options.warmup_epochs;
  return options.min_lr +
         (options.lr - options.min_lr) * 0.5 *
             (1.0 + std::cos(kPi * (epoch - options.warmup_epochs) / (options.epochs - options.warmup_epochs)));
}

double EffectiveLearningRate(double blr, int64_t batch_size, int64_t accum_iter, int64_t world_size) {
  return blr * static_cast<double>(batch_size * accum_iter * world_size) / 256;
}

}  // namespace tec
