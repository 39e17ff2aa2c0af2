// A checkpoint as an evaluation needs it: tensors, the encoder's shape, and how its images were normalised.

#ifndef TEC_EVAL_FEATURES_PRETRAINED_H_
#define TEC_EVAL_FEATURES_PRETRAINED_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tec/models/encoder.h"
#include "tec/models/options.h"
#include "tec/nn/module_state.h"

namespace tec {

struct Pretrained {
  TensorMap state;
  VitOptions encoder;
  bool mlp_token = false;  // The file has cls_token_mlp.*.
  // One for each of encoder.channels. Where the file has no record: ImageNet's for RGB; empty for other numbers.
  std::vector<float> mean, std;
  // Whether the shape and the normalisation are the file's own record, that of a run of this project. If not, the shape
  // is read off the tensors; the number of heads, which leaves no trace in them, is the usual one for the width.
  bool recorded = false;
  // "TEC checkpoint after epoch 19, ViT 64 px, patch 8, width 128, depth 6, heads 4".
  std::string description;
};

// Any weight file (tec/checkpoint/state_dict_file.h) that holds a ViT's encoder: TEC, MAE, finetuned, converted; or
// that of another family (tec/checkpoint/families), whose tensors then are brought into the form of an Encoder. `heads`
// > 0 overrides the number of heads where the file has no record. InvalidArgument for a file without an encoder, or one
// whose number of heads cannot be told.
absl::StatusOr<Pretrained> ReadPretrained(const std::string& path, int64_t heads = 0);

// InvalidArgument if the encoder has parts that a FinetuneModel has not, such as register tokens. `path`: for the
// message.
absl::Status CheckFinetunable(const Pretrained& pretrained, const std::string& path);

// InvalidArgument, with the flags that would be right, if the encoder's images have not `channels` channels.
absl::Status CheckChannels(const Pretrained& pretrained, const std::string& path, int64_t channels);

// The encoder with those weights, on the CPU, in evaluation mode.
absl::StatusOr<std::shared_ptr<Encoder>> MakeEncoder(const Pretrained& pretrained);

}  // namespace tec

#endif  // TEC_EVAL_FEATURES_PRETRAINED_H_
