#include "eval/finetune/held_out_evaluation.h"

#include <utility>
#include <vector>

#include "ATen/ops/tensor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/types/span.h"
#include "eval/finetune/evaluate.h"
#include "nlohmann/json.hpp"
#include "tec/base/file.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"
#include "tec/base/version.h"
#include "tec/config/finetune.h"
#include "tec/run/count_progress.h"
#include "tec/run/precision.h"
#include "tec/run/rank_runtime.h"

namespace tec {

absl::StatusOr<HeldOutEvaluation::Result> HeldOutEvaluation::Evaluate(FinetuneModel& model, const char* name) const {
  const config::Data& data = settings_.data();
  EvaluateOptions options;
  options.batch_size = settings_.optimizer().batch_size();
  options.threads = static_cast<int>(DecodingThreads(data.num_workers()));
  options.pin_mem = data.pin_mem();
  options.mean.assign(data.mean().begin(), data.mean().end());
  options.std.assign(data.std().begin(), data.std().end());
  options.precision = ComputeType(settings_.runtime().precision());
  options.max_bad_fraction = data.max_bad_fraction();
  options.stop = [this] { return context_.stop_requested(); };
  // Without --dist_eval every rank evaluates all images, as in the reference.
  if (settings_.dist_eval() || context_.first_rank()) {
    options.bad_images_path = absl::StrCat(settings_.logging().output_dir(), "/bad_images_val.txt");
  }
  ProcessGroup& group = context_.group();
  if (settings_.dist_eval()) {
    options.world_size = group.world_size();
    options.rank = group.rank();
  }
  absl::StatusOr<ClassifierCounts> counts = absl::UnknownError("not run");
  {
    CountProgress count("evaluation", stdout);
    if (!options_.quiet && context_.first_rank()) {
      options.progress = [&](int64_t done, int64_t total) { count.Update(done, total); };
    }
    counts = EvaluateClassifier(model, data_.held_out, data_.class_of_held_out, options);
  }
  TEC_ASSIGN_OR_RETURN(const bool stopped, group.Any(absl::IsCancelled(counts.status())));
  if (stopped) return absl::CancelledError("stopped on request");
  TEC_RETURN_IF_ERROR(group.Agree(counts.status()));
  if (settings_.dist_eval()) {
    std::vector<double> values = counts->counter.Sums();
    values.push_back(static_cast<double>(counts->unreadable));
    at::Tensor sums = at::tensor(values, at::kDouble).to(context_.device());
    TEC_RETURN_IF_ERROR(Annotate(group.AllReduceSum(sums), "adding up the evaluation"));
    sums = sums.cpu();
    const size_t last = values.size() - 1;
    const double* all = sums.const_data_ptr<double>();
    *counts = {ReportCounter(settings_.nb_classes(), absl::Span<const double>(all, last)),
               static_cast<int64_t>(all[last])};
  }
  Result result = {counts->counter.Report(), counts->unreadable};
  context_.progress().Print(absl::StrCat(name, FormatAccuracy(result.report)));
  if (result.unreadable > 0) {
    context_.progress().Print(
        absl::StrCat(result.unreadable, " held-out images could not be read and were not counted"));
  }
  return result;
}

absl::StatusOr<HeldOutEvaluation::Results> HeldOutEvaluation::Run(const FinetuneModels& models) const {
  Results results;
  TEC_ASSIGN_OR_RETURN(results.model, Evaluate(*models.model, ""));
  if (models.average) {
    TEC_ASSIGN_OR_RETURN(results.average, Evaluate(*models.average, "model_ema: "));
  }
  return results;
}

void HeldOutEvaluation::Print(const Results& results) const {
  Progress& progress = context_.progress();
  progress.Print(absl::StrCat("\n", FormatReport(results.model.report, data_.class_names)));
  if (results.average) {
    progress.Print(absl::StrCat("model_ema: ", FormatReport(results.average->report, data_.class_names)));
  }
}

absl::Status HeldOutEvaluation::Write(const Results& results, const std::string& checkpoint, int64_t epoch,
                                      std::optional<double> max_accuracy) const {
  nlohmann::ordered_json json = {{"checkpoint", checkpoint},
                                 {"epoch", epoch},
                                 {"data_path", settings_.data().path()},
                                 {"test_images", results.model.report.images},
                                 {"unreadable_test_images", results.model.unreadable},
                                 {"version", kVersion},
                                 {"settings", absl::StrSplit(ToText(settings_), '\n')}};
  if (max_accuracy) {
    json["train_images"] = data_.train->size();
    json["max_accuracy"] = *max_accuracy;
  }
  json["accuracy"] = ToJson(results.model.report, data_.class_names);
  if (results.average) json["model_ema"]["accuracy"] = ToJson(results.average->report, data_.class_names);
  TEC_RETURN_IF_ERROR(WriteFile(path(), FormatJson(json)));
  if (!options_.confusion) return absl::OkStatus();
  TEC_RETURN_IF_ERROR(WriteConfusionOf(results.model, "/confusion.npy"));
  return results.average ? WriteConfusionOf(*results.average, "/confusion_ema.npy") : absl::OkStatus();
}

// A run of an epoch is not ended for what several ranks do not count.
absl::Status HeldOutEvaluation::WriteConfusionOf(const Result& result, const char* name) const {
  const absl::Status written = WriteConfusion(result.report, absl::StrCat(settings_.logging().output_dir(), name));
  if (!absl::IsFailedPrecondition(written)) return written;
  TEC_LOG(WARNING) << "--confusion: " << written.message() << "; evaluate with one rank, or without --dist_eval";
  return absl::OkStatus();
}

std::string HeldOutEvaluation::path() const { return absl::StrCat(settings_.logging().output_dir(), "/results.json"); }

}  // namespace tec
