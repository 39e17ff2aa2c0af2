// What a run trains. The loop (training_loop.h) knows epochs, micro-steps, updates, ranks, logs and checkpoints; a task
// knows models, images, losses and optimisers. Pretraining, finetuning and the linear probe are tasks.
//
// The order of calls, the same on every rank:
//
//   OpenData, Open, Load (when going on), Describe
//   for each epoch: StartEpoch; for each micro-step: MicroStep, and Update after the last one of an update; FinishEpoch
//   Save whenever a checkpoint is due: between two updates, or between two epochs
//
// An error ends the run on all ranks. Cancelled is no error: the task was asked to stop and has left nothing half done.

#ifndef TEC_RUN_TASK_H_
#define TEC_RUN_TASK_H_

#include <cstdint>
#include <string>
#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "data/loader/loader.h"
#include "tec/checkpoint/background_saver.h"
#include "tec/checkpoint/training_state.h"
#include "tec/dist/replicas.h"
#include "tec/run/run_log.h"
#include "tec/run/run_position.h"
#include "tec/run/weight_update.h"

namespace tec {

struct MicroStepPlace {
  int64_t epoch = 0, step = 0;  // From 0.
  bool in_update = true;        // False: left over at the end of an epoch; only its loss counts.
  bool ends_update = false;     // The last one before Update.
};

// What the end of an epoch leaves behind. The loop writes the log's line and saves the run's state when the task has
// filled this in.
struct EpochReport {
  JsonFields fields;  // Of log.txt, before "epoch". Given: train_lr and train_<loss>, means of the epoch.
  JsonFields more;    // After "epoch".
  Scalars scalars;    // TensorBoard, at step scalars_step.
  int64_t scalars_step = 0;
  std::vector<std::string> names;  // Further files for the run's own state, such as best_checkpoint.pth.
  std::vector<StateFiles> states;  // Other states, written before the run's own.
};

// What training on one image asks for: FLOPs of matrix products, and the type that they are made in.
struct ImageCost {
  double flops = 0;
  at::ScalarType type = at::kFloat;
};

class Task {
 public:
  virtual ~Task() = default;

  // Opens what is trained on; nothing is written yet.
  virtual absl::Status OpenData() = 0;
  // Makes models and optimisers, with the shapes of `resume`, a checkpoint of this kind of run, if there is one; it is
  // not loaded yet.
  virtual absl::StatusOr<EpochPlan> Open(const LoadedState* resume) = 0;
  // Goes on from a checkpoint: loads what Save wrote, and says where it stands. What has changed since and counts from
  // here on is added to `changes`; InvalidArgument for what cannot change.
  virtual absl::StatusOr<RunPosition> Load(const LoadedState& resume, std::vector<std::string>* changes) = 0;
  // Lines that tell the user what is about to run.
  virtual std::vector<std::string> Describe() const = 0;
  // For experiment.textproto: all settings as they are used; empty: no such file.
  virtual std::string SettingsText() const { return ""; }
  // Before anything is opened: what of `recorded`, the experiment.textproto of a run, is otherwise in this one, but for
  // where and how fast it runs. Empty also where it cannot be told.
  virtual std::vector<std::string> DiffersFrom(const std::string& /*recorded*/) const { return {}; }

  // Of what MicroStep returns; the first one decides whether a run goes on.
  virtual const std::vector<std::string>& loss_names() const = 0;
  // For a comparison with the device's rate; no FLOPs: not known.
  virtual ImageCost Cost() const { return {}; }
  // Where images come from; null if from no loader.
  virtual Loader* loader() = 0;
  // Of an update that begins `epoch` epochs, with a fraction, after the start.
  virtual double LearningRate(double epoch) const = 0;

  virtual void StartEpoch(int64_t epoch, int64_t first_step) = 0;
  // Computes the losses, and adds their gradient if place.in_update. -> [loss_names().size()], on the device and
  // detached. It need not wait for the device. An error that it returns is of the pictures, and has changed nothing;
  // what goes wrong later is thrown.
  virtual absl::StatusOr<at::Tensor> MicroStep(const MicroStepPlace& place) = 0;
  // True: MicroStep changes some of what Save writes, as batch normalisation does its averages. Then an update that is
  // begun cannot be gone back from: a run that is asked to stop ends it, and one that fails in it, but for the first
  // micro-step's pictures, is not saved.
  virtual bool micro_steps_change_state() const { return false; }
  // One step of the optimiser, by the gradients of all ranks. An error leaves weights and optimiser as they were.
  virtual absl::StatusOr<UpdateResult> Update(double lr) = 0;
  // True: FinishEpoch takes long enough that the state is saved before it, and that a run asked to stop leaves it to
  // the next one.
  virtual bool long_epoch_end() const { return false; }
  // `position`: at the end of the epoch.
  virtual absl::Status FinishEpoch(const RunPosition& position, EpochReport* report) = 0;

  // Of several ranks, after Open: what must be the same on all beside the data set; and the tensors that every rank has
  // a copy of, which rank 0's are at the start and all of which an update changes in the same way.
  virtual RankFacts Facts() const { return {}; }
  virtual ReplicatedTensors Replicated() const { return {}; }

  // Views of everything that Load needs.
  virtual TrainingState Save(const RunPosition& position) const = 0;
};

}  // namespace tec

#endif  // TEC_RUN_TASK_H_
