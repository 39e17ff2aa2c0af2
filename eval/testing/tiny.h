// What the evaluators' end-to-end tests run on: a few pictures whose classes a tiny model can tell, and checkpoints of
// tiny models as pretraining writes them.

#ifndef TEC_EVAL_TESTING_TINY_H_
#define TEC_EVAL_TESTING_TINY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "eval/testing/program.h"

namespace tec::testing {

// An experiment of pretraining: MAE of WriteMaeCheckpoint()'s size, batches of 4.
inline constexpr char kTinyMae[] = R"(
  method: MAE
  model {
    name: "custom"
    encoder { image_size: 16 patch_size: 4 width: 16 depth: 3 heads: 2 }
    decoder { width: 8 depth: 1 heads: 2 }
  }
  optimizer { batch_size: 4 lr: 1e-3 }
  schedule { epochs: 3 warmup_epochs: 0 }
)";

// 16 x 16 PNG pictures <directory>/<class>/<number>.png: each class is a stripe direction or a colour of its own under
// noise. `channels`: 1 to 4, as EncodePng has them. The same arguments give the same files. Ends the test if they
// cannot be written.
void WritePictures(const std::string& directory, const std::vector<std::string>& classes, int images_a_class,
                   uint64_t seed, int channels = 3);

// A checkpoint of an untrained TEC model (width 16, 3 blocks, 2 heads, 16 pixels, patch 4), with its experiment.
void WriteTecCheckpoint(const std::string& path, bool mlp_token);
// The encoder of that model as conversion leaves it: a bare state dict, cls_token_mlp folded in, without the final
// norm.
void WriteConvertedEncoder(const std::string& path);
// A checkpoint of an MAE model of that size.
void WriteMaeCheckpoint(const std::string& path);

}  // namespace tec::testing

#endif  // TEC_EVAL_TESTING_TINY_H_
