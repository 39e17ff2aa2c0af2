// The models of a run as they can be looked at: what it starts from or is compared with, and its own at several epochs.

#ifndef TEC_EVAL_REPORT_RUN_MODELS_H_
#define TEC_EVAL_REPORT_RUN_MODELS_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "c10/core/Device.h"
#include "eval/report/run_folder.h"
#include "tec/checkpoint/families/image_statistics.h"
#include "tec/checkpoint/families/vit_file.h"
#include "tec/config/experiment.pb.h"
#include "tec/config/finetune.pb.h"
#include "tec/models/base_model.h"
#include "tec/models/encoder.h"

namespace tec {

// One encoder, looked at from two sides.
struct LookedAt {
  std::string name;                    // "base model", "epoch 19".
  std::string path;                    // Of its weights.
  int64_t epoch = 0;                   // Of a checkpoint's name; otherwise 0.
  std::shared_ptr<Encoder> encoder;    // For features.
  std::shared_ptr<BaseModel> targets;  // The same weights: for patch features and [CLS] logits. J = 1.
  std::vector<float> mean, std;        // Of the pictures that evaluators show it.
  // By which a base model is trained against (tec/train/base_statistics.h); empty: the run's.
  ImageStatistics own;
};

// What of a run is drawn.
struct RunSubject {
  // Of a pretraining run, of a finetuning one, resolved; neither: of an evaluation of a frozen encoder.
  std::optional<config::Experiment> pretraining;
  std::optional<config::Finetune> finetuning;
  config::Data data;  // Path of its pictures; mean, std and channels unless the encoder's file says them.
  int64_t seed = 0;
  std::string before, before_name;       // What it is compared with; empty: nothing.
  VitRequest before_request;             // What the run was told of that file.
  VitRequest request;                    // What it was told of its checkpoints.
  std::vector<std::string> checkpoints;  // Its own, at most three: the first, the middle and the newest.
};

// From the settings or results in the folder. InvalidArgument where no encoder is named there, or none is written yet.
absl::StatusOr<RunSubject> SubjectOf(const RunFolder& run);

// Paths of at most three checkpoints: the first, the middle and the newest epoch's. Empty: none yet.
std::vector<std::string> CheckpointsToShow(const RunFolder& run);

// Reads one encoder from any weight file that ReadPretrained reads, to `device`.
absl::StatusOr<LookedAt> LookAt(const std::string& path, const std::string& name, c10::Device device,
                                const VitRequest& request = {});

}  // namespace tec

#endif  // TEC_EVAL_REPORT_RUN_MODELS_H_
