#include "tec/config/settings_record.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <google/protobuf/text_format.h>

#include <algorithm>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace tec {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::TextFormat;

enum Rule {
  kShape,       // Decides the shapes or the meaning of the tensors: cannot change.
  kFree,        // Cannot change the weights: not recorded.
  kFreeUnset,   // Not recorded where it is `text`, its default, as in checkpoints from before there was the setting.
  kFreeUnused,  // Not recorded where none of the settings in `text`, which stand above, is: it is not used then.
};

struct Field {
  const char* settings;  // The message it is of; "" for all that have it.
  const char* path;      // Of the field, or of a message with all that is in it.
  Rule rule;
  const char* text = "";
};

// Every setting that is not here may change and then counts from there on.
constexpr Field kFields[] = {
    {"", "name", kFree},
    {"Experiment", "method", kShape},
    {"Experiment", "model.encoder", kShape},
    {"Experiment", "model.decoder", kShape},
    {"Experiment", "model.mlp_token", kShape},
    {"Experiment", "model.pred_att", kShape},
    {"Experiment", "model.adaptor_groups", kShape},
    {"Experiment", "model.mlp_ratio", kShape},
    {"Experiment", "model.init_from_base", kFreeUnset, "false"},
    {"Experiment", "model.label", kFreeUnset, "\"\""},
    {"Experiment", "further_models", kShape},
    {"Experiment", "masking.kind", kFreeUnset, "\"random\""},
    {"Experiment", "masking.mask_ratio_end", kFreeUnset, "-1"},
    {"Experiment", "base_model.path", kFree},
    {"Experiment", "base_model.weight", kFreeUnset, "1"},
    {"Experiment", "base_model.att_tau", kFreeUnset, "0"},
    {"Experiment", "base_model.label", kFree},
    {"Experiment", "base_model.device", kFree},
    {"Experiment", "further_base_models.encoder", kShape},
    {"Experiment", "further_base_models.path", kFree},
    {"Experiment", "further_base_models.label", kFree},
    {"Experiment", "further_base_models.device", kFree},
    {"Experiment", "drop_base_models", kFreeUnset, "0"},
    {"Finetune", "encoder", kShape},
    {"Finetune", "mlp_token", kShape},
    {"Finetune", "global_pool", kShape},
    {"Finetune", "nb_classes", kShape},
    {"Finetune", "class_names", kFree},
    {"Finetune", "finetune", kFree},
    {"Finetune", "eval", kFree},
    {"Finetune", "dist_eval", kFree},
    {"", "data.channels", kShape},
    {"", "data.path", kFree},
    {"", "data.max_bad_fraction", kFree},
    {"", "data.num_workers", kFree},
    {"", "data.pin_mem", kFree},
    {"", "data.sampler", kFreeUnset, "\"own\""},
    {"", "data.train_fraction", kFreeUnset, "1"},
    {"", "data.classes", kFreeUnset, "\"\""},
    {"", "data.exclude", kFreeUnset, "\"\""},
    {"Finetune", "shots", kFreeUnset, "0"},
    {"Finetune", "subset_seed", kFreeUnused, "data.train_fraction shots"},
    {"Finetune", "model_ema", kFreeUnset, "false"},
    {"Finetune", "model_ema_decay", kFreeUnused, "model_ema"},
    {"Finetune", "schedule.start_epoch", kFree},
    {"", "checkpointing", kFree},
    {"", "logging", kFree},
    {"", "runtime.device", kFree},
    {"", "runtime.threads", kFree},
};

bool IsOf(const Field& field, const Message& settings) {
  return *field.settings == 0 || settings.GetDescriptor()->name() == field.settings;
}

// Whether the table's `path` is `name`, or a message that holds it.
bool Covers(absl::string_view path, absl::string_view name) {
  return absl::ConsumePrefix(&name, path) && (name.empty() || name[0] == '.');
}

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

// Calls visit(message that has the field, field) if `settings` has the field of that path; nothing is made.
template <typename Visit>
void VisitField(Message* settings, absl::string_view path, const Visit& visit) {
  const size_t dot = path.find('.');
  const auto* field = settings->GetDescriptor()->FindFieldByName(std::string(path.substr(0, dot)));
  if (field == nullptr) return;
  if (dot == absl::string_view::npos) return visit(settings, field);
  if (field->is_repeated()) {
    for (int i = 0; i < settings->GetReflection()->FieldSize(*settings, field); ++i) {
      VisitField(settings->GetReflection()->MutableRepeatedMessage(settings, field, i), path.substr(dot + 1), visit);
    }
    return;
  }
  if (!settings->GetReflection()->HasField(*settings, field)) return;
  VisitField(settings->GetReflection()->MutableMessage(settings, field), path.substr(dot + 1), visit);
}

bool IsRecorded(Message* settings, absl::string_view path) {
  bool recorded = false;
  VisitField(settings, path, [&recorded](Message* message, const FieldDescriptor* field) {
    recorded = message->GetReflection()->HasField(*message, field);
  });
  return recorded;
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

void CompareMessages(const Message& before, const Message& now, const Message& settings, const std::string& prefix,
                     SettingsChanges* changes) {
  const auto* descriptor = before.GetDescriptor();
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const FieldDescriptor* field = descriptor->field(i);
    const std::string name = absl::StrCat(prefix, std::string(field->name()));
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE && field->is_repeated()) {
      const auto *was = before.GetReflection(), *is = now.GetReflection();
      const int old_size = was->FieldSize(before, field), size = is->FieldSize(now, field);
      // What is trained has a part for each of them.
      if (old_size != size) changes->refused.push_back(absl::StrCat(name, ": ", size, ", was ", old_size));
      for (int k = 0; k < std::min(old_size, size); ++k) {
        CompareMessages(was->GetRepeatedMessage(before, field, k), is->GetRepeatedMessage(now, field, k), settings,
                        name + ".", changes);
      }
      continue;
    }
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      CompareMessages(before.GetReflection()->GetMessage(before, field), now.GetReflection()->GetMessage(now, field),
                      settings, name + ".", changes);
      continue;
    }
    const std::string was = FieldText(before, field), is = FieldText(now, field);
    if (was == is) continue;
    bool shape = false;
    for (const Field& rule : kFields) {
      shape |= rule.rule == kShape && IsOf(rule, settings) && Covers(rule.path, name);
    }
    (shape ? changes->refused : changes->applied).push_back(absl::StrCat(name, ": ", is, ", was ", was));
  }
}

void ListFields(const Message& message, const std::string& prefix,
                std::vector<std::pair<std::string, std::string>>* values) {
  const auto* descriptor = message.GetDescriptor();
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const FieldDescriptor* field = descriptor->field(i);
    const std::string name = absl::StrCat(prefix, std::string(field->name()));
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE && !field->is_repeated()) {
      ListFields(message.GetReflection()->GetMessage(message, field), name + ".", values);
    } else {
      values->emplace_back(name, FieldText(message, field));
    }
  }
}

}  // namespace

void KeepWeightDeciding(Message* settings) {
  for (const Field& rule : kFields) {
    if (rule.rule == kShape || !IsOf(rule, *settings)) continue;
    bool used = false;
    if (rule.rule == kFreeUnused) {
      for (const absl::string_view other : absl::StrSplit(rule.text, ' ')) used |= IsRecorded(settings, other);
    }
    if (used) continue;
    VisitField(settings, rule.path, [&rule](Message* message, const FieldDescriptor* field) {
      if (rule.rule == kFreeUnset && FieldText(*message, field) != rule.text) return;
      message->GetReflection()->ClearField(message, field);
    });
  }
}

std::vector<std::pair<std::string, std::string>> SettingsByName(const Message& settings) {
  const std::unique_ptr<Message> kept(settings.New());
  kept->CopyFrom(settings);
  KeepWeightDeciding(kept.get());
  std::vector<std::pair<std::string, std::string>> values;
  ListFields(*kept, "", &values);
  return values;
}

SettingsChanges CompareSettings(const Message& before, const Message& now) {
  const std::unique_ptr<Message> was(before.New()), is(now.New());
  was->CopyFrom(before);
  is->CopyFrom(now);
  KeepWeightDeciding(was.get());
  KeepWeightDeciding(is.get());
  SettingsChanges changes;
  CompareMessages(*was, *is, now, "", &changes);
  return changes;
}

std::vector<std::string> DifferencesOfRuns(const Message& before, const Message& now) {
  SettingsChanges changes = CompareSettings(before, now);
  std::vector<std::string> differences = std::move(changes.refused);
  for (std::string& change : changes.applied) differences.push_back(std::move(change));
  const std::unique_ptr<Message> was(before.New()), is(now.New());
  was->CopyFrom(before);
  is->CopyFrom(now);
  for (const char* path : {"data.path", "base_model.path", "further_base_models.path", "finetune"}) {
    std::string old_text, text;
    const auto take = [](std::string* into) {
      return [into](Message* message, const FieldDescriptor* field) {
        absl::StrAppend(into, into->empty() ? "" : ", ", FieldText(*message, field));
      };
    };
    VisitField(was.get(), path, take(&old_text));
    VisitField(is.get(), path, take(&text));
    if (old_text != text) differences.push_back(absl::StrCat(path, ": ", text, ", was ", old_text));
  }
  return differences;
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

std::vector<std::string> CompareLines(const std::string& before, const std::string& now) {
  const std::vector<std::string> old_lines = absl::StrSplit(before, '\n'), lines = absl::StrSplit(now, '\n');
  std::vector<std::string> changes;
  for (size_t i = 0; i < std::max(old_lines.size(), lines.size()); ++i) {
    const std::string was = i < old_lines.size() ? old_lines[i] : "nothing",
                      is = i < lines.size() ? lines[i] : "nothing";
    if (was == is) continue;
    const size_t colon = was.find(": ");
    changes.push_back(absl::StrCat(is, " (was ", was.substr(colon == std::string::npos ? 0 : colon + 2), ")"));
  }
  return changes;
}

absl::StatusOr<std::vector<std::string>> ChangedSettings(const LoadedState& loaded, const Message* before,
                                                         const Message& now, const Value& arguments, double beta1,
                                                         double beta2, double epsilon) {
  if (before == nullptr) {
    std::vector<std::string> changes = CompareArguments(loaded.state.args, arguments);
    for (std::string& change : CompareAdamW(loaded.state.optimizer, beta1, beta2, epsilon)) {
      changes.push_back(std::move(change));
    }
    return changes;
  }
  SettingsChanges changes = CompareSettings(*before, now);
  if (changes.refused.empty()) return std::move(changes.applied);
  return absl::InvalidArgumentError(
      absl::StrCat(loaded.path, " is a checkpoint of another model: ", absl::StrJoin(changes.refused, "; "),
                   ". Choose another --output_dir or --resume, or the same model"));
}

}  // namespace tec
