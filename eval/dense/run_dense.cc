#include "eval/dense/run_dense.h"

#include <cstdio>
#include <limits>
#include <memory>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "eval/dense/dense_task.h"
#include "eval/dense/overlays.h"
#include "eval/metrics/report.h"
#include "eval/program/told_encoder.h"
#include "nlohmann/json.hpp"
#include "tec/base/exit_code.h"
#include "tec/base/file.h"
#include "tec/base/printable.h"
#include "tec/base/status.h"
#include "tec/checkpoint/load_state.h"
#include "tec/checkpoint/training_state.h"
#include "tec/run/run_context.h"
#include "tec/run/run_saver.h"
#include "tec/run/training_loop.h"

namespace tec {
namespace {

// Evaluates the head in `path` and writes results.json and pictures. -> its mean IoU.
absl::StatusOr<double> ReportHead(const DenseRunOptions& options, const DenseInputs& inputs, const std::string& path,
                                  RunContext& context) {
  absl::StatusOr<TrainingState> state = LoadTrainingState(path);
  if (!state.ok()) return Annotate(state.status(), "no head to evaluate");
  if (state->method != kDenseMethod) {
    return absl::InvalidArgumentError(path + " is no checkpoint of a head of //eval:dense");
  }
  if (!absl::StrContains(state->experiment, inputs.encoder_record())) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " was trained on another encoder than ", inputs.settings.checkpoint));
  }
  DenseHead head(DenseWidth(inputs.frozen.encoder->options()), inputs.places->count(), /*seed=*/0);
  TEC_RETURN_IF_ERROR(Annotate(LoadState(head, state->model),
                               absl::StrCat(path, ": its head is for another encoder or other classes")));
  head.to(inputs.frozen.device);
  OverlayWriter overlays(inputs.settings.output_dir, inputs.data.held_out->size(), options.pictures,
                         {"picture", "mask", "linear head"}, inputs.data.ignored);
  TEC_ASSIGN_OR_RETURN(const DenseEvaluation evaluation,
                       EvaluateDense(inputs, head, context, options.quiet, &overlays));
  const double miou = MeanIouOfAll(inputs, evaluation.score);
  nlohmann::ordered_json json = {{"segmentation", "pixio"},
                                 {"checkpoint", inputs.settings.checkpoint},
                                 {"encoder", inputs.frozen.description},
                                 {"data_path", inputs.settings.data_path},
                                 {"layout", inputs.data.layout},
                                 {"ignored", inputs.data.ignored},
                                 {"image_size", inputs.frozen.encoder->options().image_size},
                                 {"train_images", inputs.data.train->size()},
                                 {"test_images", inputs.data.held_out->size()},
                                 {"unreadable_test_images", evaluation.unreadable},
                                 {"settings", absl::StrSplit(state->experiment, '\n')},
                                 {"epoch", state->epoch},
                                 {"chosen_on", "the held-out pictures, over epochs"},
                                 {"linear", evaluation.score.ToJson(inputs.data)}};
  RecordTold(inputs.settings.encoder, &json);
  json["linear"]["miou"] = miou;
  json["pictures"] = overlays.ToJson();
  const std::string results = inputs.settings.output_dir + "/results.json";
  TEC_RETURN_IF_ERROR(WriteFile(results, FormatJson(json)));
  if (!options.quiet) {
    std::printf(
        "linear head of epoch %d (chosen on the held-out pictures): mean IoU %.2f, accuracy %.2f\nwritten to %s\n",
        static_cast<int>(state->epoch), miou, evaluation.score.Accuracy(), Printable(results).c_str());
  }
  return miou;
}

absl::StatusOr<DenseRunResult> Run(const DenseRunOptions& options) {
  TEC_ASSIGN_OR_RETURN(const std::unique_ptr<RunContext> context, RunContext::Open(ContextOptionsOf(options)));
  const std::string best = options.frozen.output_dir + "/best_checkpoint.pth";
  DenseRunResult result;
  if (options.eval) {
    TEC_ASSIGN_OR_RETURN(const DenseInputs inputs, OpenDenseInputs(options));
    // An evaluation of a named file leaves no checkpoint behind.
    if (options.resume.empty()) TEC_RETURN_IF_ERROR(RunSaver::Open(options.frozen.output_dir).status());
    TEC_RETURN_IF_ERROR(MakeDirectories(options.frozen.output_dir));
    TEC_ASSIGN_OR_RETURN(result.max_miou,
                         ReportHead(options, inputs, options.resume.empty() ? best : options.resume, *context));
    return result;
  }
  const LoopOptions loop = LoopOptionsOf(options, kDenseMethod);
  DenseTask task(options, *context);
  TEC_ASSIGN_OR_RETURN(static_cast<LoopResult&>(result), TrainingLoop(*context, task, loop).Run());
  result.max_miou = task.max_miou() >= 0 ? task.max_miou() : std::numeric_limits<double>::quiet_NaN();
  if (result.stopped) return result;
  const absl::StatusOr<double> miou = ReportHead(options, task.inputs(), best, *context);
  if (absl::IsCancelled(miou.status())) return miou.status();
  TEC_RETURN_IF_ERROR(AsFailure(miou.status()));
  result.max_miou = *miou;
  return result;
}

}  // namespace

absl::StatusOr<DenseRunResult> RunDense(const DenseRunOptions& options) {
  DenseRunResult nothing;
  nothing.max_miou = std::numeric_limits<double>::quiet_NaN();
  return StoppedIfCancelled(Run(options), std::move(nothing));
}

}  // namespace tec
