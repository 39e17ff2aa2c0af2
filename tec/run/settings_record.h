// What may and what may not differ between a run and the checkpoint that it goes on from. No tensors.

#ifndef TEC_RUN_SETTINGS_RECORD_H_
#define TEC_RUN_SETTINGS_RECORD_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "google/protobuf/message.h"
#include "tec/checkpoint/training_state.h"
#include "tec/checkpoint/value.h"
#include "tec/config/experiment.pb.h"

namespace tec {

// `experiment` without what cannot change the weights: paths, thread counts, the device, logging and saving. This is
// what a checkpoint holds, so that equal runs in different folders write equal bytes.
config::Experiment WeightDeciding(const config::Experiment& experiment);

struct ExperimentChanges {
  std::vector<std::string> refused;  // "model.encoder.width: 64, was 32": the checkpoint's tensors do not fit.
  std::vector<std::string> applied;  // Everything else: the new value counts from here on.
};
// Of two messages of one type. A field whose full name ("model.encoder.width") starts with one of `refused` cannot
// change.
ExperimentChanges CompareSettings(const google::protobuf::Message& before, const google::protobuf::Message& now,
                                  const std::vector<std::string>& refused);
// Compares WeightDeciding() forms.
ExperimentChanges CompareExperiments(const config::Experiment& before, const config::Experiment& now);

// The same for a checkpoint without an experiment, one of the reference's own scripts: of the arguments that both have,
// those that changed. `before`: dict or Namespace. What `now` leaves open (None) is not compared.
std::vector<std::string> CompareArguments(const Value& before, const Value& now);

// And of the optimiser, whose numbers torch.optim.AdamW would restore from the checkpoint; this program does not.
std::vector<std::string> CompareAdamW(const OptimizerState& before, double beta1, double beta2, double epsilon);

// Where in an epoch of `before` a run of `now` goes on.
struct EpochPosition {
  int64_t next_micro_step = 0;
  int64_t images_per_micro_step = 0;  // Over all ranks.
  int64_t dataset_size = 0;
  int64_t accum_iter = 0;
  int64_t seed = 0;
};
// The number of micro-steps of `now` (whose next_micro_step is ignored) that cover the same images. 0 stays 0 whatever
// changed. InvalidArgument, saying what is in the way, if the images done are not the first ones of the epoch any more
// or do not make up whole updates.
absl::StatusOr<int64_t> ContinueEpoch(const EpochPosition& before, const EpochPosition& now);

}  // namespace tec

#endif  // TEC_RUN_SETTINGS_RECORD_H_
