// Where a run stands, between the loop and a checkpoint. No tensors.

#ifndef TEC_RUN_RUN_POSITION_H_
#define TEC_RUN_RUN_POSITION_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tec/checkpoint/training_state.h"
#include "tec/run/meter.h"

namespace tec {

// What an epoch consists of, and what decides which images its micro-steps see.
struct EpochPlan {
  int64_t dataset_size = 0;           // Images.
  int64_t images_per_micro_step = 0;  // Over all ranks.
  int64_t steps_per_epoch = 0;        // Micro-steps, those that make up no update at the end included.
  int64_t accum_iter = 1;             // Micro-steps an update.
  int64_t seed = 0;                   // Of the order of the images.
  // Whether micro-steps that make up no update are done for their loss, as the reference does, or left out.
  bool left_over_steps = true;

  int64_t updates_per_epoch() const { return steps_per_epoch / accum_iter; }
  // Micro-steps of an epoch that belong to an update, and that are done.
  int64_t steps_in_updates() const { return updates_per_epoch() * accum_iter; }
  int64_t steps_done() const { return left_over_steps ? steps_per_epoch : steps_in_updates(); }
};

// InvalidArgument, naming data_path and the flags, if not one update comes of an epoch.
absl::Status CheckPlan(const EpochPlan& plan, const std::string& data_path);

struct RunPosition {
  int64_t epoch = 0;            // The one that is being trained, from 0.
  int64_t next_micro_step = 0;  // Of it; the number of those that are done.
  int64_t updates = 0;          // Since epoch 0.
  double lr = 0;                // Of the newest update.
  // Of the micro-steps of this epoch that are done: each of the task's losses, and the learning rate.
  std::vector<Meter> losses;
  Meter lrs;
};

// Writes the position under the names that checkpoints have for it; loss_names: of position.losses.
void SavePosition(const RunPosition& position, const EpochPlan& plan, const std::vector<std::string>& loss_names,
                  TrainingState* state);

// And reads it for a run that may have other ranks or batches. What is different about the images is added to
// `changes`. InvalidArgument (ContinueEpoch) names loaded.path.
absl::StatusOr<RunPosition> LoadPosition(const LoadedState& loaded, const EpochPlan& plan,
                                         const std::vector<std::string>& loss_names, std::vector<std::string>* changes);

// The number of micro-steps of `now` that cover the same images as the first next_micro_step of `before`. 0 stays 0
// whatever changed. InvalidArgument, saying what is in the way, if the images done are not the first ones of the epoch
// any more or do not make up whole updates; a whole epoch of the same micro-steps needs none.
absl::StatusOr<int64_t> ContinueEpoch(int64_t next_micro_step, const EpochPlan& before, const EpochPlan& now);

}  // namespace tec

#endif  // TEC_RUN_RUN_POSITION_H_
