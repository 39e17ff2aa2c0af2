#include "eval/linear/run_linear.h"

#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "eval/linear/linear_inputs.h"
#include "eval/linear/linear_report.h"
#include "eval/linear/linear_task.h"
#include "tec/base/exit_code.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"
#include "tec/run/folder_lock.h"
#include "tec/run/run_context.h"
#include "tec/run/run_saver.h"
#include "tec/run/training_loop.h"

namespace tec {
namespace {

// The first rank reports; the others have NaN.
absl::StatusOr<double> Report(const std::function<absl::StatusOr<double>()>& report, RunContext& context) {
  double top1 = std::numeric_limits<double>::quiet_NaN();
  TEC_RETURN_IF_ERROR(context.OnFirstRank(
      [&]() -> absl::Status {
        TEC_ASSIGN_OR_RETURN(top1, report());
        return absl::OkStatus();
      },
      "evaluating the best head"));
  return top1;
}

absl::StatusOr<double> EvaluateOnly(const LinearRunOptions& options, const std::string& best, RunContext& context) {
  FrozenSettings frozen = options.frozen;
  ShareOver(context, &frozen);
  TEC_ASSIGN_OR_RETURN(const std::unique_ptr<FolderLock> lock, LockOutput(frozen));
  TEC_ASSIGN_OR_RETURN(LinearInputs inputs, OpenLinearInputs(options, context));
  TEC_RETURN_IF_ERROR(inputs.CompareRanks());
  // An evaluation of a named file leaves no checkpoint behind.
  TEC_RETURN_IF_ERROR(context.OnFirstRank(
      [&] { return options.resume.empty() ? RunSaver::Open(options.frozen.output_dir).status() : absl::OkStatus(); }));
  TEC_RETURN_IF_ERROR(ReadHeldOut(&inputs));
  return Report([&] { return ReportBestHead(options, inputs, options.resume.empty() ? best : options.resume); },
                context);
}

absl::StatusOr<LinearRunResult> Run(const LinearRunOptions& options) {
  TEC_CHECK(!options.frozen.output_dir.empty() && !options.features.empty() && !options.rates.empty());
  RunContext::Options run = ContextOptionsOf(options);
  run.environment = options.environment;
  TEC_ASSIGN_OR_RETURN(const std::unique_ptr<RunContext> context, RunContext::Open(run));
  const std::string best = absl::StrCat(options.frozen.output_dir, "/", kBestCheckpoint);
  LinearRunResult result;
  result.max_accuracy = std::numeric_limits<double>::quiet_NaN();
  if (options.eval) {
    const absl::StatusOr<double> top1 = EvaluateOnly(options, best, *context);
    // Where the others do not know of it yet, they would wait for this rank.
    if (!top1.ok()) context->group().Fail(top1.status());
    TEC_ASSIGN_OR_RETURN(result.max_accuracy, top1);
    return result;
  }
  const LoopOptions loop = LoopOptionsOf(options, kLinearMethod);
  LinearTask task(options, *context);
  TEC_ASSIGN_OR_RETURN(static_cast<LoopResult&>(result), TrainingLoop(*context, task, loop).Run());
  if (task.best().head >= 0) {
    result.max_accuracy = task.best().max_accuracy;
    result.best_head = task.heads().NameOf(task.best().head);
  }
  if (result.stopped) return result;
  const absl::StatusOr<double> top1 =
      Report([&] { return ReportBestHead(options, task.inputs(), best, &task.heads(), task.last_epoch()); }, *context);
  TEC_RETURN_IF_ERROR(AsFailure(top1.status()));
  result.max_accuracy = *top1;
  return result;
}

}  // namespace

absl::StatusOr<LinearRunResult> RunLinear(const LinearRunOptions& options) {
  LinearRunResult nothing;
  nothing.max_accuracy = std::numeric_limits<double>::quiet_NaN();
  return StoppedIfCancelled(Run(options), std::move(nothing));
}

}  // namespace tec
