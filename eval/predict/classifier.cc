#include "eval/predict/classifier.h"

#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "eval/features/pretrained.h"
#include "tec/base/status.h"
#include "tec/checkpoint/training_state.h"
#include "tec/config/run_record.h"
#include "tec/models/encoder_state.h"
#include "tec/nn/module_state.h"

namespace tec {

absl::StatusOr<Classifier> ReadClassifier(const std::string& path, const VitRequest& request) {
  TEC_ASSIGN_OR_RETURN(Pretrained pretrained, ReadPretrained(path, request));
  const auto weight = pretrained.state.find("head.weight");
  if (weight == pretrained.state.end() || weight->second.dim() != 2) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, " (", pretrained.description, ") has no classifier (head.weight): give a checkpoint of //eval:finetune"));
  }
  FinetuneOptions options;
  options.encoder = pretrained.encoder;
  options.classes = weight->second.size(0);
  options.global_pool = pretrained.state.count("fc_norm.weight") != 0;
  options.mlp_token = pretrained.mlp_token;
  TEC_RETURN_IF_ERROR(Annotate(Validate(options), path));

  Classifier classifier;
  classifier.model = std::make_shared<FinetuneModel>(options);
  // A file may have the norm of the other way to pool, too.
  TensorMap state;
  for (auto& [name, tensor] : pretrained.state) {
    if (!IsPretrainingOnly(name) && !(options.global_pool && absl::StartsWith(name, "norm."))) {
      state.emplace(name, tensor);
    }
  }
  TEC_RETURN_IF_ERROR(Annotate(LoadState(*classifier.model, state), path));
  classifier.model->eval();
  classifier.mean = pretrained.mean;
  classifier.std = pretrained.std;
  classifier.description = absl::StrCat(pretrained.description, ", ", options.classes, " classes");
  if (pretrained.recorded) {
    TEC_ASSIGN_OR_RETURN(const TrainingState whole, LoadTrainingState(path));
    TEC_ASSIGN_OR_RETURN(const std::optional<RunRecord> record, RecordOf(whole, path));
    if (record && record->finetune) {
      classifier.names.assign(record->finetune->class_names().begin(), record->finetune->class_names().end());
    }
  }
  classifier.named = !classifier.names.empty();
  // The model may have more outputs than its images had classes.
  while (static_cast<int64_t>(classifier.names.size()) < options.classes) {
    classifier.names.push_back(absl::StrCat(classifier.named ? "#" : "", classifier.names.size()));
  }
  return classifier;
}

}  // namespace tec
