// What a checkpoint of this project says about the run that wrote it. No tensors.

#ifndef TEC_CONFIG_RUN_RECORD_H_
#define TEC_CONFIG_RUN_RECORD_H_

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "tec/checkpoint/training_state.h"
#include "tec/config/experiment.pb.h"
#include "tec/config/finetune.pb.h"

namespace tec {

struct RunRecord {
  config::Vit encoder;
  double norm_epsilon = 0;  // Of the encoder; 0: the usual one.
  config::Data data;
  std::optional<config::Finetune> finetune;  // All of a finetuning run's.
};

// nullopt where there is none: files of other programs, a linear probe's. `path` is for messages. InvalidArgument for a
// record that does not parse.
absl::StatusOr<std::optional<RunRecord>> RecordOf(const TrainingState& state, const std::string& path);

}  // namespace tec

#endif  // TEC_CONFIG_RUN_RECORD_H_
