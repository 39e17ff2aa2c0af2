#include "tools/convert/model_details.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"
#include "tec/checkpoint/families/own_encoder.h"
#include "tec/checkpoint/state_dict_file.h"
#include "tec/checkpoint/training_state.h"
#include "tec/config/config.h"
#include "tec/config/finetune.h"
#include "tec/config/run_record.h"

namespace tec {
namespace {

// ImageNet's, as in tec/nn/normalize.h, which sees LibTorch.
const std::vector<double>& ImageNetMean() {
  static const auto* mean = new std::vector<double>{0.485, 0.456, 0.406};
  return *mean;
}
const std::vector<double>& ImageNetStd() {
  static const auto* std = new std::vector<double>{0.229, 0.224, 0.225};
  return *std;
}

// Where EvalTransform's crop begins.
int64_t ResizedShortSide(int64_t size) { return size <= 224 ? static_cast<int64_t>(size / 0.875) : size; }

// own: a checkpoint of this project that says itself what it is.
std::optional<ClassifierHead> HeadIn(const StateDict& tensors, const VitPlan& plan, bool own) {
  if (!own && plan.family != "timm" && plan.family != "tec" && plan.family != "mae") return std::nullopt;
  // "" or the prefix that the family cuts off.
  std::string prefix;
  const TensorView* weight = nullptr;
  for (const std::string& name : plan.left_out) {
    if (name != "head.weight" && !absl::EndsWith(name, ".head.weight")) continue;
    prefix = name.substr(0, name.size() - std::string("head.weight").size());
    weight = tensors.Find(name);
  }
  if (weight == nullptr) return std::nullopt;
  for (const std::string& name : plan.left_out) {
    // Of several layers, or two of them: of another kind.
    if (absl::StartsWith(name, absl::StrCat(prefix, "head")) && name != prefix + "head.weight" &&
        name != prefix + "head.bias") {
      return std::nullopt;
    }
  }
  const int64_t width = plan.traits.width;
  const auto fits = [](const TensorView* tensor, const std::vector<int64_t>& shape) {
    return tensor != nullptr && tensor->shape == shape;
  };
  const TensorView* bias = tensors.Find(prefix + "head.bias");
  if (weight->shape.size() != 2 || weight->shape[0] < 1 || !fits(weight, {weight->shape[0], width}) ||
      !fits(bias, {weight->shape[0]})) {
    return std::nullopt;
  }
  ClassifierHead head;
  head.weight = *weight;
  head.bias = *bias;
  const TensorView *norm_weight = tensors.Find(prefix + "fc_norm.weight"),
                   *norm_bias = tensors.Find(prefix + "fc_norm.bias");
  if (fits(norm_weight, {width}) && fits(norm_bias, {width})) {
    head.global_pool = true;
    head.norm_weight = *norm_weight;
    head.norm_bias = *norm_bias;
  } else if (!plan.traits.final_norm) {
    return std::nullopt;
  }
  head.assumed = !head.global_pool;
  return head;
}

absl::Status TakeRecord(const std::string& path, const TrainingState& state, ModelDetails* details) {
  TEC_ASSIGN_OR_RETURN(const std::optional<RunRecord> record, RecordOf(state, path));
  if (!record) return absl::OkStatus();
  details->method = state.method;
  details->epoch = state.epoch;
  if (const auto images = state.counters.find("dataset_size"); images != state.counters.end()) {
    details->training_images = images->second;
  }
  if (const auto accuracy = state.numbers.find("max_accuracy");
      accuracy != state.numbers.end() && accuracy->second >= 0) {
    details->max_accuracy = accuracy->second;
  }
  const config::Data& data = record->data;
  if (data.mean_size() == data.channels() && data.std_size() == data.channels()) {
    details->preprocessing.mean.assign(data.mean().begin(), data.mean().end());
    details->preprocessing.std.assign(data.std().begin(), data.std().end());
  }
  details->settings = state.experiment;
  if (!record->finetune) return absl::OkStatus();
  config::Finetune settings = *record->finetune;
  if (details->head) {
    details->head->assumed = false;
    if (settings.class_names_size() > 0) {
      details->head->names.assign(settings.class_names().begin(), settings.class_names().end());
      // The model may have more outputs than the images have classes.
      while (static_cast<int64_t>(details->head->names.size()) < details->head->classes()) {
        details->head->names.push_back(absl::StrCat("#", details->head->names.size()));
      }
    }
  }
  settings.clear_class_names();
  details->settings = ToText(settings);
  return absl::OkStatus();
}

// The numbers that were written down, not what their floats are.
std::vector<double> Doubles(const std::vector<float>& floats) {
  std::vector<double> doubles;
  for (float number : floats) {
    double value = number;
    TEC_CHECK(absl::SimpleAtod(absl::StrFormat("%.8g", number), &value));
    doubles.push_back(value);
  }
  return doubles;
}

}  // namespace

std::string DescribeNormalisation(const Preprocessing& preprocessing) {
  if (preprocessing.assumed) return "normalisation: ImageNet's mean and deviation, assumed: the file does not say";
  if (preprocessing.source.empty()) return "";
  return absl::StrCat("normalisation: mean ", absl::StrJoin(preprocessing.mean, ","), ", deviation ",
                      absl::StrJoin(preprocessing.std, ","), " (", preprocessing.source, ")");
}

absl::StatusOr<ModelDetails> DetailsOf(const std::string& path, const VitFile& file) {
  ModelDetails details;
  const VitTraits& traits = file.plan.traits;
  details.preprocessing.size = traits.grid * traits.patch_size;
  details.preprocessing.resize = ResizedShortSide(details.preprocessing.size);
  TEC_ASSIGN_OR_RETURN(const StateDictFile tensors, ReadStateDict(file.path, file.entry));
  // Any other file than a checkpoint of ours is none.
  const absl::StatusOr<TrainingState> state = LoadTrainingState(path);
  details.head = HeadIn(tensors.tensors, file.plan, state.ok() && EncoderRecordIn(state->args) != nullptr);
  if (state.ok()) TEC_RETURN_IF_ERROR(TakeRecord(path, *state, &details));
  if (details.preprocessing.mean.empty() && file.statistics.known()) {
    details.preprocessing.mean = Doubles(file.statistics.mean);
    details.preprocessing.std = Doubles(file.statistics.std);
    details.preprocessing.source = file.statistics.source;
  }
  if (details.preprocessing.mean.empty() && traits.channels == 3) {
    details.preprocessing.mean = ImageNetMean();
    details.preprocessing.std = ImageNetStd();
    details.preprocessing.assumed = true;
  }
  return details;
}

}  // namespace tec
