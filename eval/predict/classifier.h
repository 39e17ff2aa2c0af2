// A finetuned model out of a weight file, ready to be asked.

#ifndef TEC_EVAL_PREDICT_CLASSIFIER_H_
#define TEC_EVAL_PREDICT_CLASSIFIER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tec/checkpoint/families/vit_file.h"
#include "tec/models/encoder.h"

namespace tec {

struct Classifier {
  std::shared_ptr<FinetuneModel> model;  // On the CPU, in evaluation mode.
  std::vector<std::string> names;        // One for each class; numbers where the file has no names.
  bool named = false;                    // The file has names.
  std::vector<float> mean, std;          // As Pretrained has them.
  std::string description;
};

// A checkpoint of //eval:finetune, or another plain ViT's weights with head.weight [classes, C] and head.bias (MAE's
// finetuned files). `request` as in ReadPretrained. InvalidArgument: no classifier in the file.
absl::StatusOr<Classifier> ReadClassifier(const std::string& path, const VitRequest& request = {});

}  // namespace tec

#endif  // TEC_EVAL_PREDICT_CLASSIFIER_H_
