#include "eval/finetune/run_finetune.h"

#include <limits>
#include <memory>
#include <optional>

#include "absl/strings/str_cat.h"
#include "eval/finetune/finetune_data.h"
#include "eval/finetune/finetune_models.h"
#include "eval/finetune/finetune_task.h"
#include "eval/finetune/held_out_evaluation.h"
#include "tec/base/exit_code.h"
#include "tec/base/status.h"
#include "tec/checkpoint/load_state.h"
#include "tec/run/folder_lock.h"
#include "tec/run/run_context.h"
#include "tec/run/run_saver.h"
#include "tec/run/shared_run_state.h"
#include "tec/run/torch_runtime.h"
#include "tec/run/training_loop.h"

namespace tec {
namespace {

void TakeAccuracy(const HeldOutEvaluation::Results& results, RunFinetuneResult* result) {
  result->top1 = results.model.report.top1;
  result->top5 = results.model.report.top5;
  result->loss = results.model.report.loss;
}

// --eval: of a checkpoint, once.
absl::Status EvaluateOnly(config::Finetune settings, const LoopOptions& loop, RunContext& context,
                          const RunFinetuneOptions& options, RunFinetuneResult* result) {
  ProcessGroup& group = context.group();
  FinetuneData data;
  std::optional<RunSaver> saver;
  std::unique_ptr<FolderLock> lock;  // First rank only.
  TEC_RETURN_IF_ERROR(group.Agree([&]() -> absl::Status {
    TEC_ASSIGN_OR_RETURN(data, OpenFinetuneData(&settings, context.progress()));
    if (context.first_rank()) {
      TEC_ASSIGN_OR_RETURN(lock, FolderLock::Take(loop.output_dir));
    }
    // An evaluation of a named file leaves its results behind and touches no checkpoint.
    if (!loop.resume.empty()) return absl::OkStatus();
    TEC_ASSIGN_OR_RETURN(saver, RunSaver::Open(loop.output_dir));
    return absl::OkStatus();
  }()));
  TEC_ASSIGN_OR_RETURN(std::optional<LoadedState> found, FindSharedRunState(context, loop, saver ? &*saver : nullptr));
  if (!found) {
    return absl::InvalidArgumentError(
        absl::StrCat("--eval needs a finetuned model: give --resume=CHECKPOINT (", loop.output_dir, " holds none)"));
  }
  FinetuneModels models;
  TEC_RETURN_IF_ERROR(group.Agree([&]() -> absl::Status {
    TEC_ASSIGN_OR_RETURN(models, MakeFinetuneModels(&settings, &*found, context));
    const std::string other = absl::StrCat(found->path, " is a checkpoint of another model");
    TEC_RETURN_IF_ERROR(Annotate(LoadState(*models.model, found->state.model), other));
    if (!models.average) return absl::OkStatus();
    if (found->state.model_ema.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("--model_ema: ", found->path, " has no model_ema; it was trained without"));
    }
    return Annotate(LoadState(*models.average, found->state.model_ema), other);
  }()));
  context.progress().Print(absl::StrCat("evaluating ", found->path, " on ", data.held_out->size(), " images"));
  const int64_t epoch = found->state.epoch;
  found->state = TrainingState();  // Its memory.
  const HeldOutEvaluation evaluation(settings, data, context, {options.quiet, options.confusion});
  const auto evaluate = [&]() -> absl::Status {
    TEC_ASSIGN_OR_RETURN(const HeldOutEvaluation::Results results, evaluation.Run(models));
    TakeAccuracy(results, result);
    evaluation.Print(results);
    return context.OnFirstRank([&] { return evaluation.Write(results, found->path, epoch, std::nullopt); });
  };
  TEC_RETURN_IF_ERROR(AsFailure(evaluate()));
  context.progress().Print(absl::StrCat("written to ", evaluation.path()));
  return absl::OkStatus();
}

absl::StatusOr<RunFinetuneResult> Run(const config::Finetune& settings, const RunFinetuneOptions& options) {
  TEC_ASSIGN_OR_RETURN(const std::unique_ptr<RunContext> context,
                       RunContext::Open(RunContext::OptionsOf(settings, options)));
  LoopOptions loop = LoopOptionsOf(settings, options);
  loop.method = "finetune";
  loop.instead = "to start from its encoder give it as --finetune";
  RunFinetuneResult result;
  result.top1 = result.top5 = result.loss = std::numeric_limits<double>::quiet_NaN();
  if (settings.eval()) {
    TEC_RETURN_IF_ERROR(EvaluateOnly(settings, loop, *context, options, &result));
    return result;
  }
  FinetuneTask task(settings, *context, {options.quiet, options.confusion});
  TEC_ASSIGN_OR_RETURN(static_cast<LoopResult&>(result), TrainingLoop(*context, task, loop).Run());
  if (task.standing().newest) TakeAccuracy(*task.standing().newest, &result);
  result.max_accuracy = task.standing().max_accuracy;
  return result;
}

}  // namespace

absl::StatusOr<RunFinetuneResult> RunFinetune(const config::Finetune& resolved, const RunFinetuneOptions& options) {
  return CatchTorchOr<RunFinetuneResult>([&] { return Run(resolved, options); });
}

}  // namespace tec
