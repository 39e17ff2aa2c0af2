#include "eval/linear/run_linear.h"

#include <limits>
#include <memory>
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

absl::StatusOr<double> EvaluateOnly(const LinearRunOptions& options, const std::string& best, RunContext& context) {
  TEC_ASSIGN_OR_RETURN(const std::unique_ptr<FolderLock> lock, FolderLock::Take(options.frozen.output_dir));
  TEC_ASSIGN_OR_RETURN(LinearInputs inputs, OpenLinearInputs(options, context));
  // An evaluation of a named file leaves no checkpoint behind.
  if (options.resume.empty()) TEC_RETURN_IF_ERROR(RunSaver::Open(options.frozen.output_dir).status());
  TEC_RETURN_IF_ERROR(ReadHeldOut(&inputs));
  return ReportBestHead(options, inputs, options.resume.empty() ? best : options.resume);
}

absl::StatusOr<LinearRunResult> Run(const LinearRunOptions& options) {
  TEC_CHECK(!options.frozen.output_dir.empty() && !options.features.empty() && !options.rates.empty());
  TEC_ASSIGN_OR_RETURN(const std::unique_ptr<RunContext> context, RunContext::Open(ContextOptionsOf(options)));
  const std::string best = absl::StrCat(options.frozen.output_dir, "/", kBestCheckpoint);
  LinearRunResult result;
  result.max_accuracy = std::numeric_limits<double>::quiet_NaN();
  if (options.eval) {
    TEC_ASSIGN_OR_RETURN(result.max_accuracy, EvaluateOnly(options, best, *context));
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
  const absl::StatusOr<double> top1 = ReportBestHead(options, task.inputs(), best, &task.heads(), task.last_epoch());
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
