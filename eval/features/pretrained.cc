#include "eval/features/pretrained.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tec/base/status.h"
#include "tec/checkpoint/families/usual_heads.h"
#include "tec/checkpoint/families/vit_plan.h"
#include "tec/checkpoint/state_dict_file.h"
#include "tec/checkpoint/torch_tensors.h"
#include "tec/checkpoint/training_state.h"
#include "tec/config/run_record.h"
#include "tec/models/encoder_state.h"
#include "tec/models/factory.h"
#include "tec/models/vit.h"
#include "tec/nn/normalize.h"

namespace tec {
namespace {

absl::Status UnknownHeads(int64_t width) {
  return absl::InvalidArgumentError(absl::StrCat("the file does not say how many attention heads its encoder has, and ",
                                                 "width ", width, " is not one of the named sizes'; pass --heads"));
}

// Patches a side of a position table of this many rows: [CLS] and a square grid; 0 if it is none.
int64_t GridOf(int64_t rows) {
  const int64_t grid = std::llround(std::sqrt(static_cast<double>(std::max<int64_t>(0, rows - 1))));
  return grid * grid + 1 == rows ? grid : 0;
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
  options.channels = patches->second.size(1);
  const int64_t grid = GridOf(positions->second.size(1));
  if (grid == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("pos_embed has ", positions->second.size(1), " rows: not one and a square grid"));
  }
  options.image_size = grid * options.patch_size;
  while (state.count(absl::StrCat("blocks.", options.depth, ".norm1.weight")) != 0) ++options.depth;
  options.heads = heads > 0 ? heads : UsualHeads(options.width);
  if (options.heads == 0) return UnknownHeads(options.width);
  return options;
}

// Whether the tensors, as they are, are those of an encoder here or of a model around one.
bool IsPlain(const StateDict& tensors) {
  static const auto* names = new std::vector<NameRule>(PlainNames());
  static const auto* others = new std::vector<std::string>{"cls_token_mlp.*", "head.*", "fc_norm.*"};
  for (const auto& [name, tensor] : tensors) {
    if (!Renamed(name, *names) && !FitsAny(name, *others) && !IsPretrainingOnly(name)) return false;
  }
  // timm has tables without a row for [CLS].
  const TensorView* positions = tensors.Find("pos_embed");
  return positions != nullptr && positions->shape.size() == 3 && GridOf(positions->shape[1]) > 0;
}

// An encoder under other names, or with parts of other projects.
absl::StatusOr<Pretrained> ReadOtherFamily(const std::string& path, int64_t heads) {
  TEC_ASSIGN_OR_RETURN(const VitFile file, ReadVitFile(path));
  const VitTraits& traits = file.plan.traits;
  Pretrained result;
  result.encoder.image_size = traits.grid * traits.patch_size;
  result.encoder.patch_size = traits.patch_size;
  result.encoder.channels = traits.channels;
  result.encoder.width = traits.width;
  result.encoder.depth = traits.depth;
  result.encoder.heads = traits.heads > 0 ? traits.heads : heads > 0 ? heads : UsualHeads(traits.width);
  result.encoder.variant = VariantOf(traits);
  if (result.encoder.heads == 0) return Annotate(UnknownHeads(traits.width), path);
  for (const PlannedTensor& tensor : file.plan.tensors) result.state.emplace(tensor.name, TensorOf(tensor.read()));
  result.description = absl::StrCat(file.container, " of family ", file.plan.family);
  return result;
}

// ", ViT 64 px, patch 8, width 128, depth 6, heads 4".
std::string DescribeShape(const VitOptions& vit) {
  return absl::StrCat(", ViT ", vit.image_size, " px, patch ", vit.patch_size, ", width ", vit.width, ", depth ",
                      vit.depth, ", heads ", vit.heads,
                      vit.channels == 3 ? "" : absl::StrCat(", channels ", vit.channels));
}

void FillStatistics(Pretrained* pretrained) {
  if (pretrained->encoder.channels != 3 || !pretrained->mean.empty()) return;
  pretrained->mean.assign(kImageNetMean.begin(), kImageNetMean.end());
  pretrained->std.assign(kImageNetStd.begin(), kImageNetStd.end());
}

}  // namespace

absl::StatusOr<Pretrained> ReadPretrained(const std::string& path, int64_t heads) {
  absl::StatusOr<StateDictFile> file = ReadStateDict(path);
  if (!file.ok() || !IsPlain(file->tensors)) {
    absl::StatusOr<Pretrained> other = ReadOtherFamily(path, heads);
    if (!other.ok()) return file.ok() || absl::IsInvalidArgument(file.status()) ? other.status() : file.status();
    other->description += DescribeShape(other->encoder);
    FillStatistics(&*other);
    return other;
  }
  Pretrained result;
  result.state = TensorsOf(file->tensors);
  result.mlp_token = result.state.count("cls_token_mlp.fc1.weight") != 0;

  std::string kind = file->container;
  if (file->container != "safetensors" && !file->top_level.empty()) {
    // A file of another program is no training state of ours, or one without a record: the tensors say what they can.
    if (const absl::StatusOr<TrainingState> state = LoadTrainingState(path); state.ok()) {
      TEC_ASSIGN_OR_RETURN(const std::optional<RunRecord> record, RecordOf(*state, path));
      if (record) {
        const config::Data& data = record->data;
        result.encoder = VitOptionsFrom(record->encoder, data);
        if (record->norm_epsilon > 0) result.encoder.variant.norm_epsilon = record->norm_epsilon;
        if (data.mean_size() == data.channels() && data.std_size() == data.channels()) {
          result.mean.assign(data.mean().begin(), data.mean().end());
          result.std.assign(data.std().begin(), data.std().end());
        }
        result.recorded = true;
        kind = absl::StrCat(state->method, " checkpoint after epoch ", state->epoch);
      }
    }
  }
  if (!result.recorded) {
    absl::StatusOr<VitOptions> shape = ShapeOf(result.state, heads);
    if (!shape.ok()) return Annotate(shape.status(), path);
    result.encoder = *shape;
  }
  result.description = kind + DescribeShape(result.encoder);
  FillStatistics(&result);
  return result;
}

absl::Status CheckFinetunable(const Pretrained& pretrained, const std::string& path) {
  const VitVariant& variant = pretrained.encoder.variant;
  const char* part = variant.registers > 0                     ? "register or distillation tokens"
                     : variant.pre_norm                        ? "a norm before its blocks"
                     : variant.relative_positions              ? "relative positions"
                     : variant.activation != Activation::kGelu ? "another activation than GELU"
                     : variant.hidden != 0 && variant.hidden != 4 * pretrained.encoder.width
                         ? "an MLP that is not four times as wide"
                         : nullptr;
  if (part == nullptr) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(path, " (", pretrained.description, ") has ", part,
                                                 ", which finetuning has not; as a base model, and for kNN, linear and "
                                                 "logistic evaluation, it is fine"));
}

absl::Status CheckChannels(const Pretrained& pretrained, const std::string& path, int64_t channels) {
  const int64_t own = pretrained.encoder.channels;
  if (own == channels) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      path, " (", pretrained.description, ") takes images of ", own, " channels, --channels is ", channels,
      own == 3 ? ": RGB, which pictures of any format become with --channels=3, the default"
               : absl::StrCat(": give --channels=", own),
      pretrained.recorded && own != 3
          ? absl::StrCat(" --mean=", absl::StrJoin(pretrained.mean, ","), " --std=", absl::StrJoin(pretrained.std, ","))
          : ""));
}

absl::StatusOr<std::shared_ptr<Encoder>> MakeEncoder(const Pretrained& pretrained) {
  auto encoder = std::make_shared<Encoder>(pretrained.encoder);
  TEC_RETURN_IF_ERROR(LoadEncoder(*encoder, pretrained.state));
  encoder->eval();
  return encoder;
}

}  // namespace tec
