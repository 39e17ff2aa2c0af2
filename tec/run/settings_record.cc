#include "tec/run/settings_record.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <google/protobuf/text_format.h>

#include <iterator>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace tec {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::TextFormat;

// What decides the shapes and the meaning of the tensors in a checkpoint.
constexpr const char* kShapeFields[] = {"method",         "model.encoder.",       "model.decoder.", "model.mlp_token",
                                        "model.pred_att", "model.adaptor_groups", "data.channels"};

std::string FieldText(const Message& message, const FieldDescriptor* field) {
  const auto* reflection = message.GetReflection();
  std::string text;
  if (field->is_repeated()) {
    for (int i = 0; i < reflection->FieldSize(message, field); ++i) {
      std::string element;
      TextFormat::PrintFieldValueToString(message, field, i, &element);
      absl::StrAppend(&text, i == 0 ? "" : ", ", element);
    }
    return absl::StrCat("[", text, "]");
  }
  if (!reflection->HasField(message, field)) return "unset";
  TextFormat::PrintFieldValueToString(message, field, -1, &text);
  return text;
}

// An int and a double of one value are the same.
std::string ArgumentText(const Value& value) {
  switch (value.kind()) {
    case Value::Kind::kBool:
      return value.bool_value() ? "True" : "False";
    case Value::Kind::kInt:
      return absl::StrCat(value.int_value());
    case Value::Kind::kDouble:
      return absl::StrCat(value.double_value());
    case Value::Kind::kString:
      return value.text();
    default:
      return value.Describe();
  }
}

void CompareMessages(const Message& before, const Message& now, const std::string& prefix,
                     const std::vector<std::string>& refused, ExperimentChanges* changes) {
  const auto* descriptor = before.GetDescriptor();
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const FieldDescriptor* field = descriptor->field(i);
    const std::string name = absl::StrCat(prefix, std::string(field->name()));
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      CompareMessages(before.GetReflection()->GetMessage(before, field), now.GetReflection()->GetMessage(now, field),
                      name + ".", refused, changes);
      continue;
    }
    const std::string was = FieldText(before, field), is = FieldText(now, field);
    if (was == is) continue;
    bool shape = false;
    for (const std::string& start : refused) shape |= absl::StartsWith(name, start);
    (shape ? changes->refused : changes->applied).push_back(absl::StrCat(name, ": ", is, ", was ", was));
  }
}

}  // namespace

config::Experiment WeightDeciding(const config::Experiment& experiment) {
  config::Experiment result = experiment;
  result.clear_name();
  result.clear_checkpointing();
  result.clear_logging();
  result.mutable_base_model()->clear_path();
  result.mutable_data()->clear_path();
  result.mutable_data()->clear_max_bad_fraction();
  result.mutable_data()->clear_num_workers();
  result.mutable_data()->clear_pin_mem();
  // Settings of checkpoints that were written before these existed lack them.
  if (result.data().sampler() == "own") result.mutable_data()->clear_sampler();
  if (result.data().train_fraction() == 1) result.mutable_data()->clear_train_fraction();
  if (result.data().classes().empty()) result.mutable_data()->clear_classes();
  result.mutable_runtime()->clear_device();
  result.mutable_runtime()->clear_threads();
  return result;
}

ExperimentChanges CompareSettings(const Message& before, const Message& now, const std::vector<std::string>& refused) {
  ExperimentChanges changes;
  CompareMessages(before, now, "", refused, &changes);
  return changes;
}

ExperimentChanges CompareExperiments(const config::Experiment& before, const config::Experiment& now) {
  return CompareSettings(WeightDeciding(before), WeightDeciding(now),
                         {std::begin(kShapeFields), std::end(kShapeFields)});
}

std::vector<std::string> CompareArguments(const Value& before, const Value& now) {
  std::vector<std::string> changes;
  if (!before.is_dict() && before.kind() != Value::Kind::kObject) return changes;
  for (const auto& [key, value] : now.entries()) {
    const Value* old = before.Find(key.text());
    if (old == nullptr || value.kind() == Value::Kind::kNone) continue;
    const std::string was = ArgumentText(*old), is = ArgumentText(value);
    if (was != is) changes.push_back(absl::StrCat(key.text(), ": ", is, ", was ", was));
  }
  return changes;
}

std::vector<std::string> CompareAdamW(const OptimizerState& before, double beta1, double beta2, double epsilon) {
  std::vector<std::string> changes;
  if (before.groups.empty()) return changes;
  const auto compare = [&changes](const char* name, double now, double was) {
    if (now != was) changes.push_back(absl::StrCat(name, ": ", now, ", was ", was));
  };
  compare("optimizer.beta1", beta1, before.groups[0].beta1);
  compare("optimizer.beta2", beta2, before.groups[0].beta2);
  compare("optimizer.epsilon", epsilon, before.groups[0].eps);
  return changes;
}

absl::StatusOr<int64_t> ContinueEpoch(const EpochPosition& before, const EpochPosition& now) {
  if (before.next_micro_step == 0) return 0;
  if (before.seed != now.seed || before.dataset_size != now.dataset_size) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "the checkpoint is from the middle of an epoch over %d images with seed %d; over %d images with seed %d the "
        "images that are left are others. Resume with the same, or from a checkpoint of an epoch's end",
        before.dataset_size, before.seed, now.dataset_size, now.seed));
  }
  const int64_t images = before.next_micro_step * before.images_per_micro_step;
  if (images % (now.images_per_micro_step * now.accum_iter) != 0) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "the checkpoint is from the middle of an epoch, after %d images, which are no whole number of updates of %d "
        "images (batch_size x ranks x accum_iter). Resume with the same, or from a checkpoint of an epoch's end",
        images, now.images_per_micro_step * now.accum_iter));
  }
  return images / now.images_per_micro_step;
}

}  // namespace tec
