#include "tec/checkpoint/families/vit_export.h"

#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "nlohmann/json.hpp"
#include "tec/base/json_text.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"

namespace tec {
namespace {

// From a plan's names to those of transformers until version 4, which later versions read too.
const std::vector<NameRule>& HuggingFaceNames() {
  static const auto* rules = new std::vector<NameRule>{
      {"cls_token", "embeddings.cls_token"},
      {"pos_embed", "embeddings.position_embeddings"},
      {"patch_embed.proj.*", "embeddings.patch_embeddings.projection.*"},
      {"blocks.#.norm1.*", "encoder.layer.#.layernorm_before.*"},
      {"blocks.#.attn.proj.*", "encoder.layer.#.attention.output.dense.*"},
      {"blocks.#.norm2.*", "encoder.layer.#.layernorm_after.*"},
      {"blocks.#.mlp.fc1.*", "encoder.layer.#.intermediate.dense.*"},
      {"blocks.#.mlp.fc2.*", "encoder.layer.#.output.dense.*"},
      {"norm.*", "layernorm.*"},
  };
  return *rules;
}

// A third of the rows of qkv, which are dense: a view.
TensorView Third(const TensorView& qkv, int which) {
  TensorView part = qkv;
  part.shape[0] /= 3;
  const size_t size = qkv.bytes.size() / 3;
  part.bytes = qkv.bytes.substr(which * size, size);
  return part;
}

std::vector<std::string> Foreign(const VitTraits& traits) {
  std::vector<std::string> parts;
  if (traits.registers > 0) parts.push_back("register tokens");
  if (traits.pre_norm) parts.push_back("a norm before the blocks");
  if (traits.relative_positions) parts.push_back("relative positions");
  if (traits.rotary.has_value()) parts.push_back("rotary positions");
  if (!traits.class_token) parts.push_back("no [CLS] token");
  if (traits.rms_norm) parts.push_back("norms by the root mean square");
  if (traits.patch_norm) parts.push_back("a norm of the patches");
  if (traits.post_norm) parts.push_back("norms after attention and MLP");
  if (traits.attention_norm || traits.mlp_norm) parts.push_back("norms inside attention or MLP");
  if (traits.no_norm) parts.push_back("no norm after the last block");
  if (traits.activation != Activation::kGelu) parts.push_back("an activation that is not GELU");
  return parts;
}

}  // namespace

absl::StatusOr<StateDict> ExportVit(const VitPlan& plan, Naming naming) {
  const std::vector<std::string> foreign = Foreign(plan.traits);
  if (!foreign.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("the model has ", absl::StrJoin(foreign, ", "), ", for which the target has no place"));
  }
  const bool hugging_face = naming == Naming::kHuggingFace || naming == Naming::kHuggingFaceBeit;
  const bool with_norm = naming == Naming::kTimm || naming == Naming::kHuggingFace;
  if (with_norm && !plan.traits.final_norm) {
    return absl::FailedPreconditionError(
        "the file has no final norm, which the target needs: convert the pretraining checkpoint itself, not what "
        "weight_convert made of it");
  }
  StateDict exported;
  for (const PlannedTensor& planned : plan.tensors) {
    const std::string& name = planned.name;
    if (!with_norm && absl::StartsWith(name, "norm.")) continue;
    if (!hugging_face) {
      TEC_RETURN_IF_ERROR(exported.Add(name, planned.read()));
      continue;
    }
    if (absl::StrContains(name, ".attn.qkv.")) {
      const TensorView qkv = planned.read();
      int which = 0;
      for (const char* part : {"query", "key", "value"}) {
        const NameRule rule = {"blocks.#.attn.qkv.*", absl::StrCat("encoder.layer.#.attention.attention.", part, ".*")};
        const TensorView third = Third(qkv, which++);
        if (naming == Naming::kHuggingFaceBeit && which == 2 && absl::EndsWith(name, ".bias")) continue;
        TEC_RETURN_IF_ERROR(exported.Add(*Renamed(name, {rule}), third));
      }
      continue;
    }
    const std::optional<std::string> renamed = Renamed(name, HuggingFaceNames());
    TEC_CHECK(renamed.has_value()) << name;
    TEC_RETURN_IF_ERROR(exported.Add(*renamed, planned.read()));
  }
  return exported;
}

std::string HuggingFaceConfig(const VitTraits& traits) {
  TEC_CHECK(traits.heads > 0) << "config.json needs the number of heads";
  const nlohmann::ordered_json config = {
      {"architectures", {"ViTModel"}},
      {"model_type", "vit"},
      {"hidden_size", traits.width},
      {"num_hidden_layers", traits.depth},
      {"num_attention_heads", traits.heads},
      {"intermediate_size", traits.hidden},
      {"hidden_act", "gelu"},
      {"hidden_dropout_prob", 0.0},
      {"attention_probs_dropout_prob", 0.0},
      {"layer_norm_eps", traits.norm_epsilon},
      {"image_size", traits.grid * traits.patch_size},
      {"patch_size", traits.patch_size},
      {"num_channels", traits.channels},
      {"qkv_bias", true},
  };
  return DumpJson(config, 2) + "\n";
}

}  // namespace tec
