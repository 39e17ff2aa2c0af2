// Where in a file's names the encoder is: what stands before them (module., _orig_mod., model., backbone.,
// student.backbone., visual.trunk., ...), any stack of it, and what beside the encoder is a head.
//
// One rule for all families: the prefix is whatever stands before the family's first mark. Two places in one file
// (student and teacher, an encoder and its momentum twin) are told apart by a part of the prefix, that of --entry or,
// without it, the first of the family's that is there.

#ifndef TEC_CHECKPOINT_FAMILIES_ENCODER_PLACE_H_
#define TEC_CHECKPOINT_FAMILIES_ENCODER_PLACE_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tec/checkpoint/families/family.h"
#include "tec/checkpoint/families/vit_config.h"
#include "tec/checkpoint/tensor_view.h"

namespace tec {

struct EncoderPlace {
  std::string prefix;               // "" or ends with '.'.
  std::string wrapper;              // The part of it that stands before every name of the file.
  std::vector<std::string> others;  // Prefixes of further encoders of the same family.
};

// Where the file has the family's encoder. `entry`: a part of the prefix that is wanted, "" for none. The place "" if
// there is none, so that a plan's messages are about the names. InvalidArgument: several places that nothing tells
// apart, or none with `entry`.
absl::StatusOr<EncoderPlace> FindEncoder(const Family& family, const StateDict& tensors, absl::string_view entry = "");

// What is known beside the tensors.
struct Clues {
  std::string entry;                  // As above.
  const VitConfig* config = nullptr;  // Beside the file.
};

// The family whose marks are in `tensors`, with --entry's place among them and with a config.json that may stand beside
// its files. The config's activation decides between families that the tensors do not tell apart (CLIP's).
// InvalidArgument: none, with what there is instead; or two that only the user can tell apart.
absl::StatusOr<const Family*> RecogniseFamily(const StateDict& tensors, const Clues& clues = {});

// Whether a config.json is of the kind that stands beside such files: Hugging Face's beside Hugging Face's names,
// timm's beside all others.
bool Concerns(const VitConfig& config, const Family& family);
// Whether the config, if it says any, has the activation of the family's models.
bool AgreeOnActivation(const VitConfig& config, const Family& family);
// InvalidArgument if it concerns the family, but is of another kind of model.
absl::Status CheckKind(const VitConfig& config, const Family& family);

// Whether a tensor of this name, without prefix, belongs to a head: to what is made of the encoder's tokens, or to what
// only training needs (classifiers, decoders, projectors, predictors, poolers, text towers, mask tokens). By the words
// of the name's first part.
bool IsHead(absl::string_view name);

}  // namespace tec

#endif  // TEC_CHECKPOINT_FAMILIES_ENCODER_PLACE_H_
