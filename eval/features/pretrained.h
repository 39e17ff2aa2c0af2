// A checkpoint as an evaluation needs it: tensors, the encoder's shape, and how its images were normalised.

#ifndef TEC_EVAL_FEATURES_PRETRAINED_H_
#define TEC_EVAL_FEATURES_PRETRAINED_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tec/checkpoint/families/image_statistics.h"
#include "tec/checkpoint/families/vit_file.h"
#include "tec/models/encoder.h"
#include "tec/models/options.h"
#include "tec/models/vit.h"
#include "tec/nn/module_state.h"

namespace tec {

struct Pretrained {
  TensorMap state;
  VitOptions encoder;
  std::string family;      // FamilyNames().
  VitTraits traits;        // What `encoder` is made of.
  bool mlp_token = false;  // The file has cls_token_mlp.*.
  // VitPlan's; null for most.
  std::function<TensorView(int64_t grid)> positions_at;
  // One for each of encoder.channels: a run's of this project, or those by which the model normalises pixels itself.
  // Where nothing says: ImageNet's for RGB; empty for other numbers.
  std::vector<float> mean, std;
  // How its model's images were normalised, where the file, its record, what stands beside it or its family's published
  // models say so.
  ImageStatistics statistics;
  // Whether heads and normalisation are the file's own record, that of a run of this project. If not, heads are as
  // ReadVitFile finds them, and the normalisation is the model's own (RADIO) or ImageNet's.
  bool recorded = false;
  // "TEC checkpoint after epoch 19, ViT 64 px, patch 8, width 128, depth 6, heads 4", and what was assumed.
  std::string description;
};

// Any weight file that holds a ViT's encoder, of this project or of another family (tec/checkpoint/families), whose
// tensors then are brought into the form of an Encoder; as ReadEncoderFile takes it. cls_token_mlp.* are kept.
// InvalidArgument for a file without an encoder, or one whose number of heads cannot be told.
absl::StatusOr<Pretrained> ReadPretrained(const std::string& path, const VitRequest& request = {});

// InvalidArgument, with the flags that would be right, if the encoder's images have not `channels` channels.
absl::Status CheckChannels(const Pretrained& pretrained, const std::string& path, int64_t channels);

// Lets the blocks of a model of that shape, nearly all of it, be the state's own tensors, before the state is loaded
// into it: a second copy would double what a program takes. (Others, such as cls_token, may be changed by loading,
// which must not change the state's.)
void ShareBlocks(const Pretrained& pretrained, Vit* model);

// The encoder with those weights, on the CPU, in evaluation mode.
absl::StatusOr<std::shared_ptr<Encoder>> MakeEncoder(const Pretrained& pretrained);

}  // namespace tec

#endif  // TEC_EVAL_FEATURES_PRETRAINED_H_
