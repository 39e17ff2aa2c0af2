// The models of a pretraining run as they can be looked at: its base model, and the new model at several epochs.

#ifndef TEC_EVAL_REPORT_RUN_MODELS_H_
#define TEC_EVAL_REPORT_RUN_MODELS_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "c10/core/Device.h"
#include "eval/report/run_folder.h"
#include "tec/config/experiment.pb.h"
#include "tec/models/base_model.h"
#include "tec/models/encoder.h"

namespace tec {

// One encoder, looked at from two sides.
struct LookedAt {
  std::string name;                    // "base model", "epoch 19".
  std::string path;                    // Of its weights.
  std::shared_ptr<Encoder> encoder;    // For features.
  std::shared_ptr<BaseModel> targets;  // The same weights: for patch features and [CLS] logits. J = 1.
};

// The experiment that the folder keeps, resolved. InvalidArgument where it is no pretraining run.
absl::StatusOr<config::Experiment> ExperimentOf(const RunFolder& run);

// Paths of at most three checkpoints: the first, the middle and the newest epoch's. Empty: none yet.
std::vector<std::string> CheckpointsToShow(const RunFolder& run);

// Reads one encoder from any weight file that ReadPretrained reads, to `device`.
absl::StatusOr<LookedAt> LookAt(const std::string& path, const std::string& name, c10::Device device);

}  // namespace tec

#endif  // TEC_EVAL_REPORT_RUN_MODELS_H_
