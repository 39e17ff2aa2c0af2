// What a model of ours makes of a weight file, for comparison with the program the file comes from (consumers_test.py).
//
//   vit_outputs FILE FAMILY HEADS SIZE INTERPOLATE IMAGES OUTPUT
//   vit_outputs sweep LIST
//   vit_outputs training_state OUTPUT
//
// IMAGES: safetensors with "images" [N, 3, S, S]. OUTPUT: safetensors with blocks.<i> [N, T, C] (each block's output),
// cls and patch_mean (the encoder's), features, relations and idx (the base model's targets).
// LIST: a line for each of many files, FILE, FAMILY, HEADS, IMAGES, OUTPUT and, where they are told, ENTRY and GRID,
// with tabs between; OUTPUT gets cls, patch_mean, patches and prefix (the numbers of patches, and of tokens before
// them). A line is printed for each, "taken" and the file's description or "refused" and why, a tab between.

#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "ATen/ops/full.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tec/base/file.h"
#include "tec/base/status.h"
#include "tec/checkpoint/families/vit_file.h"
#include "tec/checkpoint/safetensors.h"
#include "tec/checkpoint/torch_tensors.h"
#include "tec/checkpoint/training_state.h"
#include "tec/models/base_model.h"
#include "tec/models/encoder.h"

namespace tec {
namespace {

absl::Status WriteOutputs(int argc, char** argv) {
  VitRequest request;
  request.family = argv[2];
  request.heads = std::atoi(argv[3]);
  if (argc > 8) TEC_RETURN_IF_ERROR(ParseGrid(argv[8], &request));
  TEC_ASSIGN_OR_RETURN(const VitFile file, ReadVitFile(argv[1], request));
  std::printf("%s\n", file.description.c_str());
  const VitTraits& traits = file.plan.traits;
  const VitOptions options = {std::atoi(argv[4]), traits.patch_size,  traits.width,
                              traits.depth,       std::atoi(argv[3]), VariantOf(traits)};
  const bool interpolate = std::string(argv[5]) == "1";
  TEC_ASSIGN_OR_RETURN(const Safetensors input, ReadSafetensors(argv[6]));
  const at::Tensor images = TensorOf(*input.tensors.Find("images"));
  at::NoGradGuard no_grad;

  BaseModel base_model({options, /*last_layers=*/1, /*top_patches=*/3});
  TEC_RETURN_IF_ERROR(LoadBaseModel(base_model, file.plan, interpolate));
  Encoder encoder(options);
  TEC_RETURN_IF_ERROR(LoadEncoder(encoder, file.plan, interpolate));

  std::vector<std::pair<std::string, at::Tensor>> outputs;
  const std::vector<at::Tensor> blocks = base_model.BlockOutputs(images);
  for (size_t i = 0; i < blocks.size(); ++i) outputs.emplace_back(absl::StrCat("blocks.", i), blocks[i]);
  const Targets targets = base_model.forward(images);
  outputs.emplace_back("features", targets.features);
  outputs.emplace_back("relations", targets.relations);
  outputs.emplace_back("idx", targets.idx);
  const EncoderFeatures features = encoder.forward(images);
  if (features.cls.defined()) outputs.emplace_back("cls", features.cls);
  outputs.emplace_back("patch_mean", features.patch_mean);
  return WriteSafetensors(argv[7], ViewsOf(outputs));
}

// One of a list: what ReadVitFile says of it.
absl::StatusOr<std::string> WriteFeatures(const std::vector<std::string>& line) {
  VitRequest request;
  request.family = line[1];
  request.heads = std::atoi(line[2].c_str());
  if (line.size() > 5) request.entry = line[5];
  if (line.size() > 6) TEC_RETURN_IF_ERROR(ParseGrid(line[6], &request));
  TEC_ASSIGN_OR_RETURN(const VitFile file, ReadVitFile(line[0], request));
  TEC_RETURN_IF_ERROR(CheckHeadsKnown(file));
  const VitTraits& traits = file.plan.traits;
  TEC_ASSIGN_OR_RETURN(const Safetensors input, ReadSafetensors(line[3]));
  const at::Tensor images = TensorOf(*input.tensors.Find("images"));
  if (traits.grid * traits.patch_size != images.size(2) && !traits.interpolates_positions) {
    return absl::InvalidArgumentError(absl::StrCat("it is for images of ", traits.grid * traits.patch_size, " pixels"));
  }
  const VitOptions options = {images.size(2), traits.patch_size, traits.width,
                              traits.depth,   traits.heads,      VariantOf(traits)};
  at::NoGradGuard no_grad;
  Encoder encoder(options);
  TEC_RETURN_IF_ERROR(LoadEncoder(encoder, file.plan, /*interpolate_positions=*/false));
  const EncoderFeatures features = encoder.forward(images);
  const int64_t patches = options.patches(), tokens = encoder.LastBlocks(images, 1)[0].size(1);
  std::vector<std::pair<std::string, at::Tensor>> outputs = {{"patch_mean", features.patch_mean},
                                                             {"patches", at::full({1}, patches, at::kLong)},
                                                             {"prefix", at::full({1}, tokens - patches, at::kLong)}};
  if (features.cls.defined()) outputs.emplace_back("cls", features.cls);
  TEC_RETURN_IF_ERROR(WriteSafetensors(line[4], ViewsOf(outputs)));
  return file.description;
}

absl::Status WriteListed(const std::string& path) {
  TEC_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  for (absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    const std::vector<std::string> parts = absl::StrSplit(line, '\t');
    if (parts.size() < 5 || parts.size() > 7) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": \"", line, "\" has not five to seven parts"));
    }
    const absl::StatusOr<std::string> taken = WriteFeatures(parts);
    std::printf("%s\t%s\n", taken.ok() ? "taken" : "refused",
                taken.ok() ? taken->c_str() : std::string(taken.status().message()).c_str());
  }
  return absl::OkStatus();
}

absl::Status WriteTrainingState(const std::string& path) {
  TrainingState state;
  TEC_RETURN_IF_ERROR(state.model.Add("weight", TensorView::FromFloats({2, 3}, {1, 2, 3, 4, 5, 6})));
  OptimizerGroup group;
  group.lr = 0.25;
  group.num_parameters = 1;
  state.optimizer.groups = {group};
  state.optimizer.moments[0] = {7, TensorView::FromFloats({2, 3}, {0, 1, 0, 1, 0, 1}),
                                TensorView::FromFloats({2, 3}, {2, 2, 2, 2, 2, 2})};
  state.epoch = 4;
  state.scaler = ScalerState();
  state.args.Set("lr", Value::Double(0.25));
  return SaveTrainingState(path, state);
}

}  // namespace
}  // namespace tec

int main(int argc, char** argv) {
  absl::Status status = absl::InvalidArgumentError("vit_outputs: see its source");
  if (argc == 8 || argc == 9) status = tec::WriteOutputs(argc, argv);
  if (argc == 3 && std::string(argv[1]) == "sweep") {
    status = tec::WriteListed(argv[2]);
  } else if (argc == 3) {
    status = tec::WriteTrainingState(argv[2]);
  }
  if (!status.ok()) std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
  return status.ok() ? 0 : 1;
}
