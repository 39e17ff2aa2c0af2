#include "eval/linear/linear_report.h"

#include <algorithm>
#include <cstdio>
#include <memory>
#include <utility>
#include <vector>

#include "ATen/ATen.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/types/span.h"
#include "eval/linear/linear_probe.h"
#include "eval/metrics/confusion_file.h"
#include "eval/metrics/report.h"
#include "eval/program/told_encoder.h"
#include "nlohmann/json.hpp"
#include "tec/base/file.h"
#include "tec/base/printable.h"
#include "tec/base/status.h"
#include "tec/base/version.h"
#include "tec/checkpoint/torch_tensors.h"
#include "tec/checkpoint/training_state.h"

namespace tec {
namespace {

// A head as best_checkpoint.pth has it.
struct BestHead {
  FeatureSpec features;
  std::unique_ptr<LinearProbe> probe;
  TrainingState state;
};

absl::StatusOr<BestHead> ReadBestHead(const LinearInputs& inputs, const std::string& path) {
  absl::StatusOr<TrainingState> state = LoadTrainingState(path);
  if (!state.ok()) return Annotate(state.status(), "no head to evaluate");
  const absl::StatusOr<std::string> features = state->args.GetString(kHeadFeatures);
  const TensorView* weight = state->model.Find("head.1.weight");
  const bool batch_norm = weight != nullptr;
  if (!batch_norm) weight = state->model.Find("head.weight");
  const TensorView* bias = state->model.Find(batch_norm ? "head.1.bias" : "head.bias");
  if (state->method != kLinearMethod || !features.ok() || weight == nullptr || bias == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is not the ", kBestCheckpoint, " of a linear probe"));
  }
  BestHead head;
  TEC_ASSIGN_OR_RETURN(head.features, ParseFeatureSpec(*features));
  const at::Tensor weights = TensorOf(*weight);
  LinearProbeOptions options;
  options.width = head.features.Width(inputs.width());
  options.classes = inputs.classes;
  options.batch_norm = batch_norm;
  if (weights.sizes() != at::IntArrayRef({inputs.classes, options.width})) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": its head is for another encoder or other classes"));
  }
  if (state->experiment.find(inputs.encoder_record()) == std::string::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " was trained on the features of another encoder than ", inputs.settings.checkpoint));
  }
  head.probe = std::make_unique<LinearProbe>(options, /*seed=*/0, /*first_head=*/0, inputs.frozen.device);
  head.probe->weight()[0].copy_(weights);
  TEC_RETURN_IF_ERROR(CopyInto(*bias, head.probe->bias()[0]));
  if (batch_norm) {
    TEC_RETURN_IF_ERROR(CopyNamed(state->model, "head.0.running_mean", path, head.probe->running_mean()));
    TEC_RETURN_IF_ERROR(CopyNamed(state->model, "head.0.running_var", path, head.probe->running_var()));
  }
  // What the held-out features hold may be less than this head reads: another --features than the run had.
  absl::StatusOr<FeatureSpec> with = UnionOf({inputs.whole, head.features});
  if (!with.ok() || !(*with == inputs.whole)) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " is a head for features ", *features, "; give --features=", *features));
  }
  head.state = *std::move(state);
  return head;
}

ClassificationReport Evaluate(const BestHead& head, const LinearInputs& inputs) {
  ReportCounter counter(inputs.classes);
  constexpr int64_t kRows = 256;  // All at once, the logits of 21,841 classes would take gigabytes.
  const at::Tensor& values = inputs.held_out.values;
  const int64_t* labels = inputs.held_out.labels.const_data_ptr<int64_t>();
  for (int64_t begin = 0; begin < values.size(0); begin += kRows) {
    const int64_t rows = std::min(kRows, values.size(0) - begin);
    const at::Tensor part = SelectFeatures(values.narrow(0, begin, rows), head.features, inputs.whole, inputs.width());
    const at::Tensor logits = head.probe->Logits(part).cpu().contiguous();
    for (int64_t i = 0; i < rows; ++i) {
      counter.Add(absl::Span<const float>(logits.const_data_ptr<float>() + i * inputs.classes, inputs.classes),
                  labels[begin + i]);
    }
  }
  return counter.Report();
}

// The table of all heads, also in *json.
std::string TableOf(const LinearHeads& heads, const std::vector<LinearHeads::Accuracy>& accuracies,
                    nlohmann::ordered_json* json) {
  std::string table = absl::StrFormat("\n%-28s %8s %8s %8s\n", "after the last epoch", "top-1", "top-5", "loss");
  for (int64_t h = 0; h < heads.count(); ++h) {
    const LinearHeads::Accuracy& accuracy = accuracies[h];
    absl::StrAppendFormat(&table, "%-28s %8.2f %8.2f %8.4f\n", heads.NameOf(h), accuracy.top1, accuracy.top5,
                          accuracy.loss);
    json->push_back({{"features", NameOf(heads.FeaturesOf(h))},
                     {"rate", heads.RateOf(h)},
                     {"top1", accuracy.top1},
                     {"top5", accuracy.top5},
                     {"loss", accuracy.loss}});
  }
  return table;
}

}  // namespace

absl::StatusOr<double> ReportBestHead(const LinearRunOptions& options, const LinearInputs& inputs,
                                      const std::string& best_path, const LinearHeads* heads,
                                      std::vector<LinearHeads::Accuracy> last_epoch) {
  TEC_ASSIGN_OR_RETURN(const BestHead head, ReadBestHead(inputs, best_path));
  const TrainingState& state = head.state;
  const ClassificationReport report = Evaluate(head, inputs);
  const std::string features = NameOf(head.features);
  nlohmann::ordered_json json = {{"checkpoint", inputs.settings.checkpoint},
                                 {"encoder", inputs.frozen.description},
                                 {"data_path", inputs.settings.data_path},
                                 {"protocol", options.protocol},
                                 {"train_images", inputs.frozen.data.train->size()},
                                 {"test_images", inputs.held_out.values.size(0)},
                                 {"unreadable_test_images", inputs.held_out.unreadable},
                                 {"version", kVersion},
                                 {"settings", absl::StrSplit(state.experiment, '\n')},
                                 {"best",
                                  {{"features", features},
                                   {"rate", state.args.GetDouble(kHeadRate).value_or(1)},
                                   {"epoch", state.epoch},
                                   {"chosen_on", "the held-out images, over heads and epochs"},
                                   {"accuracy", ToJson(report, inputs.class_names)}}}};
  RecordTold(inputs.settings.encoder, &json);
  if (heads != nullptr) {
    if (last_epoch.empty()) last_epoch = heads->Evaluate(inputs.held_out);
    const std::string table = TableOf(*heads, last_epoch, &json["last_epoch"]);
    if (!options.quiet) std::fputs(table.c_str(), stdout);
  }
  if (!options.quiet) {
    std::printf("\nbest: %s, epoch %d (chosen on the held-out images)\n%s", features.c_str(),
                static_cast<int>(state.epoch), FormatReport(report, inputs.class_names).c_str());
  }
  const std::string path = absl::StrCat(inputs.settings.output_dir, "/results.json");
  TEC_RETURN_IF_ERROR(WriteFile(path, FormatJson(json)));
  if (!options.quiet) std::printf("written to %s\n", Printable(path).c_str());
  TEC_RETURN_IF_ERROR(WriteConfusionFile(inputs.settings.output_dir, report));
  return report.top1;
}

}  // namespace tec
