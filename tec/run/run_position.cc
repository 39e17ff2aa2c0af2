#include "tec/run/run_position.h"

#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tec/base/status.h"

namespace tec {
namespace {

// Names of what a checkpoint holds beside the reference's entries. Written into files: never rename.
constexpr char kUpdates[] = "updates";
constexpr char kDatasetSize[] = "dataset_size";
constexpr char kImagesPerMicroStep[] = "images_per_micro_step";
constexpr char kMeterCount[] = "epoch_micro_steps_logged";
constexpr char kMeterTotal[] = "epoch_sum_";  // + the loss's name or kLr.
constexpr char kLr[] = "lr";

template <typename T>
T ValueOr(const std::map<std::string, T>& values, const std::string& name, T otherwise) {
  const auto found = values.find(name);
  return found == values.end() ? otherwise : found->second;
}

}  // namespace

absl::Status CheckPlan(const EpochPlan& plan, const std::string& data_path) {
  if (plan.updates_per_epoch() > 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrFormat(
      "%s: %d images make %d micro-steps of %d images an epoch, fewer than --accum_iter=%d: not one update. Use a "
      "smaller --batch_size or --accum_iter",
      data_path, plan.dataset_size, plan.steps_per_epoch, plan.images_per_micro_step, plan.accum_iter));
}

void SavePosition(const RunPosition& position, const EpochPlan& plan, const std::vector<std::string>& loss_names,
                  TrainingState* state) {
  state->epoch = position.epoch - 1;
  state->next_micro_step = position.next_micro_step;
  state->counters[kUpdates] = position.updates;
  state->counters[kDatasetSize] = plan.dataset_size;
  state->counters[kImagesPerMicroStep] = plan.images_per_micro_step;
  if (position.next_micro_step == 0) return;
  state->counters[kMeterCount] = position.lrs.count();
  for (size_t i = 0; i < loss_names.size(); ++i) {
    state->numbers[kMeterTotal + loss_names[i]] = position.losses[i].total();
  }
  state->numbers[absl::StrCat(kMeterTotal, kLr)] = position.lrs.total();
}

absl::StatusOr<RunPosition> LoadPosition(const LoadedState& loaded, const EpochPlan& plan,
                                         const std::vector<std::string>& loss_names,
                                         std::vector<std::string>* changes) {
  const TrainingState& state = loaded.state;
  EpochPlan before = plan;
  before.images_per_micro_step = ValueOr(state.counters, kImagesPerMicroStep, plan.images_per_micro_step);
  before.dataset_size = ValueOr(state.counters, kDatasetSize, plan.dataset_size);
  if (state.args.is_dict()) before.seed = state.args.GetInt("seed").value_or(plan.seed);
  RunPosition position;
  const absl::StatusOr<int64_t> next = ContinueEpoch(state.next_micro_step, before, plan);
  TEC_RETURN_IF_ERROR(Annotate(next.status(), loaded.path));
  position.epoch = state.epoch + 1;
  position.next_micro_step = *next;
  position.updates = ValueOr(state.counters, kUpdates, position.epoch * plan.updates_per_epoch());
  // What the next save writes as the optimiser's rate if nothing is trained before it.
  for (const OptimizerGroup& group : state.optimizer.groups) {
    if (group.lr_scale.value_or(1) == 1) position.lr = group.lr;
  }
  position.losses.resize(loss_names.size());
  if (position.next_micro_step > 0) {
    const int64_t count = ValueOr(state.counters, kMeterCount, int64_t{0});
    for (size_t i = 0; i < loss_names.size(); ++i) {
      position.losses[i].Restore(ValueOr(state.numbers, kMeterTotal + loss_names[i], 0.0), count);
    }
    position.lrs.Restore(ValueOr(state.numbers, absl::StrCat(kMeterTotal, kLr), 0.0), count);
  }
  const auto compare = [changes](const char* what, int64_t now, int64_t was) {
    if (now != was) changes->push_back(absl::StrCat(what, ": ", now, ", was ", was));
  };
  compare("images in the data set", plan.dataset_size, before.dataset_size);
  compare("images a micro-step over all ranks", plan.images_per_micro_step, before.images_per_micro_step);
  return position;
}

absl::StatusOr<int64_t> ContinueEpoch(int64_t next_micro_step, const EpochPlan& before, const EpochPlan& now) {
  if (next_micro_step == 0) return 0;
  // All micro-steps are done, only the end of the epoch is not: none of its images is left to be chosen again.
  if (next_micro_step == now.steps_done() && before.images_per_micro_step == now.images_per_micro_step &&
      before.dataset_size == now.dataset_size) {
    return next_micro_step;
  }
  if (before.seed != now.seed || before.dataset_size != now.dataset_size) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "the checkpoint is from the middle of an epoch over %d images with seed %d; over %d images with seed %d the "
        "images that are left are others. Resume with the same, or from a checkpoint of an epoch's end",
        before.dataset_size, before.seed, now.dataset_size, now.seed));
  }
  const int64_t images = next_micro_step * before.images_per_micro_step;
  if (images % (now.images_per_micro_step * now.accum_iter) != 0) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "the checkpoint is from the middle of an epoch, after %d images, which are no whole number of updates of %d "
        "images (batch_size x ranks x accum_iter). Resume with the same, or from a checkpoint of an epoch's end",
        images, now.images_per_micro_step * now.accum_iter));
  }
  return images / now.images_per_micro_step;
}

}  // namespace tec
