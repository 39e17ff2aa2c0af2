// What a checkpoint says about the settings of the run that wrote it, and which of them may be others when a run goes
// on from it: one table for the settings of every kind of run.

#ifndef TEC_CONFIG_SETTINGS_RECORD_H_
#define TEC_CONFIG_SETTINGS_RECORD_H_

#include <google/protobuf/message.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "tec/checkpoint/training_state.h"
#include "tec/checkpoint/value.h"

namespace tec {

// Takes out of `settings` (config::Experiment, config::Finetune) what cannot change the weights: paths, thread counts,
// the device, logging and saving. The rest is what a checkpoint holds, so that equal runs in different folders write
// equal bytes.
void KeepWeightDeciding(google::protobuf::Message* settings);
template <typename Settings>
Settings WeightDeciding(Settings settings) {
  KeepWeightDeciding(&settings);
  return settings;
}

// Name ("optimizer.blr") and value of every field of WeightDeciding(settings).
std::vector<std::pair<std::string, std::string>> SettingsByName(const google::protobuf::Message& settings);

struct SettingsChanges {
  std::vector<std::string> refused;  // "model.encoder.width: 64, was 32": the checkpoint's tensors do not fit.
  std::vector<std::string> applied;  // Everything else: the new value counts from here on.
};
// Of the WeightDeciding forms of two settings of one type.
SettingsChanges CompareSettings(const google::protobuf::Message& before, const google::protobuf::Message& now);

// All that makes one run another: both lists, and which files they are of (data.path, base_model.path, finetune).
std::vector<std::string> DifferencesOfRuns(const google::protobuf::Message& before,
                                           const google::protobuf::Message& now);

// The same for a checkpoint without settings, one of the reference's own scripts: of the arguments that both have,
// those that changed. `before`: dict or Namespace. What `now` leaves open (None) is not compared.
std::vector<std::string> CompareArguments(const Value& before, const Value& now);

// And of the optimiser, whose numbers torch.optim.AdamW would restore from the checkpoint; this program does not.
std::vector<std::string> CompareAdamW(const OptimizerState& before, double beta1, double beta2, double epsilon);

// Of a record of "name: value" lines in a fixed order (a probe's), none of which may change: "value (was value)", one
// for each line that did.
std::vector<std::string> CompareLines(const std::string& before, const std::string& now);

// All of it, for a run that goes on from `loaded`. before: what ParseExperiment or ParseFinetune made of its settings,
// null if it has none; arguments: this run's in the reference's form. Returns what changed and counts from here on;
// InvalidArgument, naming the file, for what cannot change.
absl::StatusOr<std::vector<std::string>> ChangedSettings(const LoadedState& loaded,
                                                         const google::protobuf::Message* before,
                                                         const google::protobuf::Message& now, const Value& arguments,
                                                         double beta1, double beta2, double epsilon);

}  // namespace tec

#endif  // TEC_CONFIG_SETTINGS_RECORD_H_
