#include "eval/features/pretrained.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tec/base/status.h"
#include "tec/checkpoint/families/vit_plan.h"
#include "tec/checkpoint/state_dict_file.h"
#include "tec/checkpoint/torch_tensors.h"
#include "tec/checkpoint/training_state.h"
#include "tec/config/config.h"
#include "tec/config/finetune.h"
#include "tec/models/factory.h"

namespace tec {
namespace {

// Heads of the named sizes, tiny to huge (tec/config); 0 for a width that none of them has.
int64_t UsualHeads(int64_t width) {
  switch (width) {
    case 192:
      return 3;
    case 384:
      return 6;
    case 768:
      return 12;
    case 1024:
    case 1280:
      return 16;
    default:
      return 0;
  }
}

absl::StatusOr<VitOptions> ShapeOf(const TensorMap& state, int64_t heads) {
  const auto cls = state.find("cls_token"), positions = state.find("pos_embed"),
             patches = state.find("patch_embed.proj.weight");
  if (cls == state.end() || positions == state.end() || patches == state.end()) {
    return absl::InvalidArgumentError(
        "no ViT encoder in the file: cls_token, pos_embed and patch_embed.proj.weight are not all there");
  }
  if (positions->second.dim() != 3 || patches->second.dim() != 4) {
    return absl::InvalidArgumentError("pos_embed or patch_embed.proj.weight has not the shape of a ViT's");
  }
  VitOptions options;
  options.width = positions->second.size(2);
  options.patch_size = patches->second.size(3);
  const int64_t grid = std::llround(std::sqrt(static_cast<double>(positions->second.size(1) - 1)));
  if (grid < 1 || grid * grid + 1 != positions->second.size(1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("pos_embed has ", positions->second.size(1), " rows: not one and a square grid"));
  }
  options.image_size = grid * options.patch_size;
  while (state.count(absl::StrCat("blocks.", options.depth, ".norm1.weight")) != 0) ++options.depth;
  options.heads = heads > 0 ? heads : UsualHeads(options.width);
  if (options.heads == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("the file does not say how many attention heads its encoder has, and width ", options.width,
                     " is not one of the named sizes'; pass --heads"));
  }
  return options;
}

// Takes over what the run that wrote the file recorded about itself.
absl::Status TakeRecord(const TrainingState& record, const std::string& path, Pretrained* result) {
  config::Vit vit;
  config::Data data;
  if (record.method == "finetune") {
    TEC_ASSIGN_OR_RETURN(config::Finetune finetune, ParseFinetune(record.experiment, path));
    finetune = Resolve(finetune);
    vit = finetune.encoder();
    data = finetune.data();
  } else {
    TEC_ASSIGN_OR_RETURN(config::Experiment experiment, ParseExperiment(record.experiment, path));
    experiment = Resolve(experiment);
    vit = experiment.model().encoder();
    data = experiment.data();
  }
  result->encoder = VitOptionsFrom(vit);
  for (int c = 0; c < 3 && data.mean_size() == 3 && data.std_size() == 3; ++c) {
    result->mean[c] = static_cast<float>(data.mean(c));
    result->std[c] = static_cast<float>(data.std(c));
  }
  result->recorded = true;
  return absl::OkStatus();
}

// An encoder under another project's names.
absl::StatusOr<Pretrained> ReadOtherFamily(const std::string& path, int64_t heads) {
  TEC_ASSIGN_OR_RETURN(const VitFile file, ReadVitFile(path));
  const VitTraits& traits = file.plan.traits;
  const char* unknown = traits.registers > 0                     ? "register tokens"
                        : traits.pre_norm                        ? "a norm before its blocks"
                        : traits.relative_positions              ? "relative positions"
                        : traits.activation != Activation::kGelu ? "another activation than GELU"
                        : traits.hidden != 4 * traits.width      ? "an MLP that is not four times as wide"
                        : traits.heads == 0 && UsualHeads(traits.width) == 0 && heads == 0 ? "heads of unknown number"
                                                                                           : nullptr;
  if (unknown != nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(file.description, ": it has ", unknown,
                                                   ", which these evaluations have not; as a base model it is fine"));
  }
  TEC_ASSIGN_OR_RETURN(const StateDict tensors, ReadAll(file.plan));
  Pretrained result;
  result.state = TensorsOf(tensors);
  result.encoder = {traits.grid * traits.patch_size, traits.patch_size, traits.width, traits.depth,
                    traits.heads > 0 ? traits.heads
                    : heads > 0      ? heads
                                     : UsualHeads(traits.width)};
  result.description = absl::StrCat(file.container, " of family ", file.plan.family);
  return result;
}

// ", ViT 64 px, patch 8, width 128, depth 6, heads 4".
std::string DescribeShape(const VitOptions& vit) {
  return absl::StrCat(", ViT ", vit.image_size, " px, patch ", vit.patch_size, ", width ", vit.width, ", depth ",
                      vit.depth, ", heads ", vit.heads);
}

}  // namespace

absl::StatusOr<Pretrained> ReadPretrained(const std::string& path, int64_t heads) {
  absl::StatusOr<StateDictFile> file = ReadStateDict(path);
  if (!file.ok() || file->tensors.Find("patch_embed.proj.weight") == nullptr) {
    absl::StatusOr<Pretrained> other = ReadOtherFamily(path, heads);
    if (!other.ok()) return file.ok() || absl::IsInvalidArgument(file.status()) ? other.status() : file.status();
    other->description += DescribeShape(other->encoder);
    return other;
  }
  Pretrained result;
  result.state = TensorsOf(file->tensors);
  result.mlp_token = result.state.count("cls_token_mlp.fc1.weight") != 0;

  std::string kind = file->container;
  if (file->container != "safetensors" && !file->top_level.empty()) {
    // A file of another program is no training state of ours, or one without a record: the tensors say what they can.
    const absl::StatusOr<TrainingState> record = LoadTrainingState(path);
    // A linear probe's file has no encoder, and its record is none of a model.
    if (record.ok() && !record->experiment.empty() && record->method != "linear") {
      TEC_RETURN_IF_ERROR(
          Annotate(TakeRecord(*record, path, &result), absl::StrCat(path, ": the recorded experiment")));
      kind = absl::StrCat(record->method, " checkpoint after epoch ", record->epoch);
    }
  }
  if (!result.recorded) {
    absl::StatusOr<VitOptions> shape = ShapeOf(result.state, heads);
    if (!shape.ok()) return Annotate(shape.status(), path);
    result.encoder = *shape;
  }
  result.description = kind + DescribeShape(result.encoder);
  return result;
}

absl::StatusOr<std::shared_ptr<Encoder>> MakeEncoder(const Pretrained& pretrained) {
  auto encoder = std::make_shared<Encoder>(pretrained.encoder);
  TEC_RETURN_IF_ERROR(LoadEncoder(*encoder, pretrained.state));
  encoder->eval();
  return encoder;
}

}  // namespace tec
