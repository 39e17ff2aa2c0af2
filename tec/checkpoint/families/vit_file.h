// Any weight file with a vision transformer in it, as every program opens it: the flags --family, --entry, --heads and
// --grid (tec/config/vit_flags.h), a config.json beside the file, and what the file itself says, put together.

#ifndef TEC_CHECKPOINT_FAMILIES_VIT_FILE_H_
#define TEC_CHECKPOINT_FAMILIES_VIT_FILE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tec/checkpoint/families/image_statistics.h"
#include "tec/checkpoint/families/vit_plan.h"

namespace tec {

// What the user says of a file. It is never overridden in silence: what contradicts it is an error that names both.
struct VitRequest {
  std::string family;  // FamilyNames(); "": recognised.
  // Which encoder of a file with several: an entry of its top level (teacher, model_ema), or a part of what stands
  // before the names (target_encoder, momentum_encoder); "": the family's choice.
  std::string entry;
  int64_t heads = 0;                        // 0: as the file, its config.json or the family's published models say.
  int64_t grid_rows = 0, grid_columns = 0;  // Patches that the position table is for; 0: as its rows say.
  bool keep_token_mlp = false;              // VitHints.
};

// "14x16" or "14". InvalidArgument: neither.
absl::Status ParseGrid(const std::string& text, VitRequest* request);

struct VitFile {
  VitPlan plan;
  std::string path;       // Of the file that was read, in the folder that was given.
  std::string container;  // "zip .pth", "legacy .pth", "safetensors", "safetensors in 3 shards".
  std::string entry;      // Of the top level; "": the file itself.
  // Of the model's images, as a file beside it says, or the family's published models.
  ImageStatistics statistics;
  // "PATH: zip .pth, entry student, " and the plan's report.
  std::string description;
};

// Reads any weight file that holds a vision transformer: a file, an index of sharded files, or a folder with the names
// of Hugging Face or OpenCLIP (WeightFileIn). traits.heads is 0 where nothing tells them.
//
// InvalidArgument: no such file; a model of which something has to be told; a request or a config.json that contradicts
// the tensors; a tensor that is taken has a value that is not finite.
absl::StatusOr<VitFile> ReadVitFile(const std::string& path, const VitRequest& request = {});

// InvalidArgument, naming --heads, if nothing told them.
absl::Status CheckHeadsKnown(const VitFile& file);

}  // namespace tec

#endif  // TEC_CHECKPOINT_FAMILIES_VIT_FILE_H_
