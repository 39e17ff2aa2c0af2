// What is known of a weight file's model beside the encoder's tensors: the classifier behind them, how pictures are
// made for it, what its classes are called, how it was trained. For those who take the model elsewhere.

#ifndef TEC_TOOLS_CONVERT_MODEL_DETAILS_H_
#define TEC_TOOLS_CONVERT_MODEL_DETAILS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tec/checkpoint/families/vit_file.h"
#include "tec/checkpoint/tensor_view.h"

namespace tec {

// How a picture becomes the model's input: the short side resized to `resize` (bicubic, Pillow's), the central
// size x size cut out, values divided by 255, mean taken off, divided by std. (data/loader/transform.h, EvalTransform)
struct Preprocessing {
  int64_t size = 0, resize = 0;
  std::vector<double> mean, std;  // One for each channel; empty where the file does not say and it is not RGB.
  bool assumed = false;           // The file says nothing: ImageNet's, of RGB.
  // Of another project's file: what says them, or why they are assumed.
  std::string source;
};

// A linear classifier on the encoder's output.
struct ClassifierHead {
  TensorView weight, bias;  // [classes, C], [classes].
  // Of the mean of the patch tokens before the final norm, which these two follow: fc_norm.* [C]. Else of the [CLS]
  // token after the final norm.
  bool global_pool = false;
  TensorView norm_weight, norm_bias;
  bool assumed = false;            // Nothing but the absence of fc_norm says that the [CLS] token is meant.
  std::vector<std::string> names;  // One for each class; empty where the file does not say.

  int64_t classes() const { return weight.shape[0]; }
};

// "normalisation: ...", where they come from; "" of a checkpoint that records them.
std::string DescribeNormalisation(const Preprocessing& preprocessing);

struct ModelDetails {
  Preprocessing preprocessing;
  std::optional<ClassifierHead> head;
  // Of a checkpoint of this project; else empty, -1, 0, none.
  std::string method;
  int64_t epoch = -1;
  int64_t training_images = 0;
  std::optional<double> max_accuracy;  // The highest top-1 on held-out images of any epoch till then, percent.
  std::string settings;                // The run's, as text.
};

// `file`: what ReadVitFile(path) gave. A head is taken of families with timm's names alone, and only if it is one
// matrix and one vector of fitting shapes. Errors are those of reading the file again.
absl::StatusOr<ModelDetails> DetailsOf(const std::string& path, const VitFile& file);

}  // namespace tec

#endif  // TEC_TOOLS_CONVERT_MODEL_DETAILS_H_
