// What a model of ours makes of a weight file, for comparison with the program the file comes from (consumers_test.py).
//
//   vit_outputs FILE FAMILY HEADS SIZE INTERPOLATE IMAGES OUTPUT
//   vit_outputs training_state OUTPUT
//
// IMAGES: safetensors with "images" [N, 3, S, S]. OUTPUT: safetensors with blocks.<i> [N, T, C] (each block's output),
// cls and patch_mean (the encoder's), features, relations and idx (the base model's targets).

#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tec/base/status.h"
#include "tec/checkpoint/safetensors.h"
#include "tec/checkpoint/torch_tensors.h"
#include "tec/checkpoint/training_state.h"
#include "tec/models/base_model.h"
#include "tec/models/encoder.h"

namespace tec {
namespace {

absl::Status WriteOutputs(char** argv) {
  TEC_ASSIGN_OR_RETURN(const VitFile file, ReadVitFile(argv[1], argv[2]));
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
  outputs.emplace_back("cls", features.cls);
  outputs.emplace_back("patch_mean", features.patch_mean);
  return WriteSafetensors(argv[7], ViewsOf(outputs));
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
  if (argc == 8) status = tec::WriteOutputs(argv);
  if (argc == 3) status = tec::WriteTrainingState(argv[2]);
  if (!status.ok()) std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
  return status.ok() ? 0 : 1;
}
