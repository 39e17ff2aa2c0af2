#include "tec/train/trainer.h"

#include <limits>
#include <memory>

#include "tec/base/status.h"
#include "tec/run/run_context.h"
#include "tec/run/torch_runtime.h"
#include "tec/run/training_loop.h"
#include "tec/train/pretrain_task.h"

namespace tec {
namespace {

absl::StatusOr<TrainResult> RunTraining(const config::Experiment& experiment, const TrainOptions& options) {
  TEC_ASSIGN_OR_RETURN(const std::unique_ptr<RunContext> context,
                       RunContext::Open(RunContext::OptionsOf(experiment, options)));
  LoopOptions loop = LoopOptionsOf(experiment, options);
  loop.method = MethodName(experiment);
  loop.instead = "to train against its encoder give it as --base_model";
  loop.scalar_prefix = "train_";
  PretrainTask task(experiment, options.monitor, *context);
  TrainResult result;
  TEC_ASSIGN_OR_RETURN(static_cast<LoopResult&>(result), TrainingLoop(*context, task, loop).Run());
  const auto loss = [&result](size_t i) {
    return i < result.losses.size() ? result.losses[i] : std::numeric_limits<double>::quiet_NaN();
  };
  result.loss = loss(0);
  result.loss_fea = loss(1);
  result.loss_att = loss(2);
  return result;
}

}  // namespace

absl::StatusOr<TrainResult> Train(const config::Experiment& resolved, const TrainOptions& options) {
  return CatchTorchOr<TrainResult>([&] { return RunTraining(resolved, options); });
}

ExitCode ExitCodeOf(const absl::StatusOr<TrainResult>& result) {
  if (result.ok()) return result->stopped ? kExitStopped : kExitDone;
  return ExitCodeOf(result.status());
}

}  // namespace tec
