// The held-out images of a finetuning run: evaluated over all ranks, told to the user, and written to results.json.

#ifndef TEC_EVAL_FINETUNE_HELD_OUT_EVALUATION_H_
#define TEC_EVAL_FINETUNE_HELD_OUT_EVALUATION_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "eval/finetune/finetune_data.h"
#include "eval/finetune/finetune_models.h"
#include "eval/metrics/report.h"
#include "tec/config/finetune.pb.h"
#include "tec/run/run_context.h"

namespace tec {

class HeldOutEvaluation {
 public:
  struct Options {
    bool quiet = false;      // As in RunOptions.
    bool confusion = false;  // Write() also writes confusion.npy, and confusion_ema.npy of the average.
  };
  // All but the options outlive it.
  HeldOutEvaluation(const config::Finetune& settings, const FinetuneData& data, RunContext& context, Options options)
      : settings_(settings), data_(data), context_(context), options_(options) {}

  struct Result {
    ClassificationReport report;
    int64_t unreadable = 0;  // Held-out images that were not counted.
  };
  struct Results {
    Result model;
    std::optional<Result> average;  // Of models.average.
  };
  // The same on every rank. Cancelled on every rank if one was asked to stop.
  absl::StatusOr<Results> Run(const FinetuneModels& models) const;

  // Prints what the classes are taken for.
  void Print(const Results& results) const;

  // results.json: the evaluation of `checkpoint`, the state after `epoch`. max_accuracy: of the run so far; none in an
  // evaluation alone.
  absl::Status Write(const Results& results, const std::string& checkpoint, int64_t epoch,
                     std::optional<double> max_accuracy) const;
  std::string path() const;  // Of results.json.

 private:
  absl::StatusOr<Result> Evaluate(FinetuneModel& model, const char* name) const;
  absl::Status WriteConfusionOf(const Result& result, const char* name) const;

  const config::Finetune& settings_;
  const FinetuneData& data_;
  RunContext& context_;
  Options options_;
};

}  // namespace tec

#endif  // TEC_EVAL_FINETUNE_HELD_OUT_EVALUATION_H_
