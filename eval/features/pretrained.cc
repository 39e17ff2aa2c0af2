#include "eval/features/pretrained.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tec/base/status.h"
#include "tec/checkpoint/elements.h"
#include "tec/checkpoint/torch_tensors.h"
#include "tec/config/encoder_file.h"
#include "tec/models/vit.h"
#include "tec/nn/normalize.h"

namespace tec {
namespace {

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

absl::StatusOr<Pretrained> ReadPretrained(const std::string& path, const VitRequest& given) {
  VitRequest request = given;
  request.keep_token_mlp = true;
  TEC_ASSIGN_OR_RETURN(const EncoderFile file, ReadEncoderFile(path, request));
  TEC_RETURN_IF_ERROR(CheckHeadsKnown(file.vit));
  Pretrained result;
  result.family = file.vit.plan.family;
  result.traits = file.vit.plan.traits;
  const VitTraits& traits = result.traits;
  result.encoder.image_size = traits.grid * traits.patch_size;
  result.encoder.patch_size = traits.patch_size;
  result.encoder.channels = traits.channels;
  result.encoder.width = traits.width;
  result.encoder.depth = traits.depth;
  result.encoder.heads = traits.heads;
  result.encoder.variant = VariantOf(traits);
  for (const PlannedTensor& tensor : file.vit.plan.tensors) {
    result.state.emplace(tensor.name, TensorOf(tensor.read()));
  }
  for (const auto& [name, tensor] : file.vit.plan.classifier) {
    TEC_RETURN_IF_ERROR(Annotate(CheckFinite(name, tensor), file.vit.path));
    result.state.emplace(name, TensorOf(tensor));
  }
  result.mlp_token = result.state.count("cls_token_mlp.fc1.weight") != 0;
  result.description = absl::StrCat(file.vit.container, " of family ", file.vit.plan.family);
  if (file.record.has_value()) {
    const config::Data& data = file.record->data;
    if (data.mean_size() == data.channels() && data.std_size() == data.channels()) {
      result.mean.assign(data.mean().begin(), data.mean().end());
      result.std.assign(data.std().begin(), data.std().end());
    }
    if (!result.mean.empty()) result.statistics = {result.mean, result.std, "as the checkpoint records"};
    result.recorded = true;
    result.description = absl::StrCat(file.method, " checkpoint after epoch ", file.epoch);
  }
  result.description += DescribeShape(result.encoder);
  if (!traits.class_token) {
    result.description += traits.pool_hidden > 0 ? ", an attention pool in the place of [CLS]" : ", no [CLS]";
  }
  if (!result.recorded && !traits.assumed.empty()) {
    absl::StrAppend(&result.description, " (assumed: ", absl::StrJoin(traits.assumed, ", "), ")");
  }
  if (!file.vit.plan.mean.empty()) {
    result.mean = file.vit.plan.mean;
    result.std = file.vit.plan.std;
    absl::StrAppend(&result.description, ", pixels normalised by mean ", absl::StrJoin(result.mean, ","), " and std ",
                    absl::StrJoin(result.std, ","), " as the model itself does");
  }
  if (!result.statistics.known()) result.statistics = file.vit.statistics;
  result.positions_at = file.vit.plan.positions_at;
  FillStatistics(&result);
  return result;
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

void ShareBlocks(const Pretrained& pretrained, Vit* model) {
  for (auto& [name, tensor] : NamedState(*model)) {
    const auto found = pretrained.state.find(name);
    if (!absl::StartsWith(name, "blocks.") || found == pretrained.state.end()) continue;
    const at::Tensor& own = found->second;
    if (own.scalar_type() == tensor.scalar_type() && own.sizes() == tensor.sizes() && own.is_contiguous()) {
      at::Tensor(tensor).set_data(own);
    }
  }
}

absl::StatusOr<std::shared_ptr<Encoder>> MakeEncoder(const Pretrained& pretrained) {
  auto encoder = std::make_shared<Encoder>(pretrained.encoder);
  ShareBlocks(pretrained, encoder.get());
  TEC_RETURN_IF_ERROR(LoadEncoder(*encoder, pretrained.state));
  encoder->eval();
  return encoder;
}

}  // namespace tec
