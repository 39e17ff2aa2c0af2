#include "tools/convert/convert_file.h"

#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tec/base/file.h"
#include "tec/base/status.h"
#include "tec/checkpoint/families/vit_export.h"
#include "tec/checkpoint/families/vit_plan.h"
#include "tec/checkpoint/pth.h"
#include "tec/checkpoint/safetensors.h"
#include "tec/checkpoint/state_dict_file.h"
#include "tec/checkpoint/weight_convert.h"
#include "tools/convert/encoder_heads.h"

namespace tec {
namespace {

// The reference's names of finetuning models.
struct NamedVit {
  const char* name;
  int64_t patch_size, width, depth;
};
constexpr NamedVit kNamedVits[] = {
    {"vit_tiny_patch16", 16, 192, 12},   {"vit_small_patch16", 16, 384, 12}, {"vit_base_patch16", 16, 768, 12},
    {"vit_large_patch16", 16, 1024, 24}, {"vit_huge_patch14", 14, 1280, 32},
};

absl::StatusOr<std::optional<DType>> DTypeOf(const std::string& name) {
  if (name.empty()) return std::optional<DType>();
  if (name == "float32") return std::optional(DType::kFloat32);
  if (name == "float16") return std::optional(DType::kFloat16);
  if (name == "bfloat16") return std::optional(DType::kBFloat16);
  return absl::InvalidArgumentError(absl::StrCat("--dtype=", name, ": known are float32, float16 and bfloat16"));
}

absl::Status CheckModel(const std::string& name, const VitTraits& traits) {
  if (name.empty()) return absl::OkStatus();
  std::string known;
  for (const NamedVit& vit : kNamedVits) {
    absl::StrAppend(&known, known.empty() ? "" : ", ", vit.name);
    if (name != vit.name) continue;
    if (traits.width == vit.width && traits.depth == vit.depth && traits.patch_size == vit.patch_size) {
      return absl::OkStatus();
    }
    return absl::InvalidArgumentError(
        absl::StrCat("--model=", name, " has width ", vit.width, ", ", vit.depth, " blocks and patches of ",
                     vit.patch_size, " pixels; the file has width ", traits.width, ", ", traits.depth,
                     " blocks and patches of ", traits.patch_size, ". Leave --model out to take what the file has."));
  }
  return absl::InvalidArgumentError(absl::StrCat("--model=", name, " is not known; known are ", known));
}

std::string FolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash + 1);
}

}  // namespace

absl::StatusOr<std::string> ConvertFile(const ConvertOptions& options) {
  TEC_ASSIGN_OR_RETURN(const std::optional<DType> dtype, DTypeOf(options.dtype));
  const bool hugging_face = options.to == "hf", mae = options.to == "mae";
  if (options.to != "tec" && options.to != "timm" && !mae && !hugging_face) {
    return absl::InvalidArgumentError(absl::StrCat("--to=", options.to, ": known are tec, timm, mae and hf"));
  }
  const bool safetensors = absl::EndsWith(options.output, ".safetensors");
  StateDict tensors;
  std::string description, config;
  if (options.everything) {
    if (options.to != "tec" && !mae) {
      return absl::InvalidArgumentError("--everything keeps the names of the file: it goes with --to=tec or mae");
    }
    TEC_ASSIGN_OR_RETURN(StateDictFile file, ReadStateDict(options.input));
    description = absl::StrCat(options.input, ": ", file.container);
    tensors = std::move(file.tensors);
  } else {
    TEC_ASSIGN_OR_RETURN(VitFile file, ReadVitFile(options.input, options.family));
    TEC_RETURN_IF_ERROR(CheckModel(options.model, file.plan.traits));
    const Naming naming = hugging_face ? Naming::kHuggingFace : options.to == "tec" ? Naming::kTec : Naming::kTimm;
    absl::StatusOr<StateDict> exported = ExportVit(file.plan, naming);
    if (!exported.ok()) return Annotate(exported.status(), options.input);
    tensors = *std::move(exported);
    description = file.description;
    if (hugging_face) {
      TEC_ASSIGN_OR_RETURN(file.plan.traits.heads, EncoderHeads(options.input, file.plan.traits, options.heads));
      config = HuggingFaceConfig(file.plan.traits);
    }
  }
  if (dtype.has_value()) tensors = CastAll(tensors, *dtype);

  const std::string folder = FolderOf(options.output);
  TEC_RETURN_IF_ERROR(MakeDirectories(folder));
  if (safetensors) {
    // transformers wants to know who laid the tensors out.
    std::map<std::string, std::string> metadata;
    if (hugging_face) metadata["format"] = "pt";
    TEC_RETURN_IF_ERROR(WriteSafetensors(options.output, tensors, metadata));
  } else {
    Value root = Value::FromStateDict(tensors);
    if (mae) {
      Value whole = Value::Dict();
      whole.Set("model", std::move(root));
      root = std::move(whole);
    }
    TEC_RETURN_IF_ERROR(WritePth(options.output, root));
  }
  if (hugging_face) TEC_RETURN_IF_ERROR(WriteFile(absl::StrCat(folder, "/config.json"), config));
  return absl::StrCat(description, "\nwrote ", tensors.size(), " tensors to ", options.output);
}

}  // namespace tec
