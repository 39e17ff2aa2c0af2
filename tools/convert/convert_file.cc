#include "tools/convert/convert_file.h"

#include <map>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tec/base/file.h"
#include "tec/base/status.h"
#include "tec/checkpoint/elements.h"
#include "tec/checkpoint/families/own_encoder.h"
#include "tec/checkpoint/families/vit_export.h"
#include "tec/checkpoint/families/vit_file.h"
#include "tec/checkpoint/pth.h"
#include "tec/checkpoint/safetensors.h"
#include "tec/checkpoint/state_dict_file.h"
#include "tec/checkpoint/training_state.h"
#include "tec/checkpoint/weight_convert.h"
#include "tec/config/encoder_file.h"
#include "tools/convert/model_details.h"
#include "tools/convert/model_folder.h"

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

// Files beside the weights, by name, and what is to be said of them.
struct Beside {
  std::map<std::string, std::string> files;
  std::string notes;
};

// The encoder under the names of `to`, timm or hf, with the classifier behind it if there is one to keep.
absl::Status ExportFolder(const ConvertOptions& options, const VitFile& file, StateDict* tensors, Beside* beside) {
  const bool timm = options.to == "timm";
  const VitTraits& traits = file.plan.traits;
  // timm's tensors do without, its config.json does not.
  const absl::Status heads = CheckHeadsKnown(file);
  if (!heads.ok() && !timm) return heads;
  TEC_ASSIGN_OR_RETURN(ModelDetails details, DetailsOf(options.input, file));
  if (!options.head) details.head.reset();
  const ClassifierHead* head = details.head ? &*details.head : nullptr;
  const bool pooled = head != nullptr && head->global_pool;
  const Naming naming =
      timm ? (pooled ? Naming::kTec : Naming::kTimm) : (pooled ? Naming::kHuggingFaceBeit : Naming::kHuggingFace);
  absl::StatusOr<StateDict> exported = ExportVit(file.plan, naming);
  if (!exported.ok()) return Annotate(exported.status(), options.input);
  if (head == nullptr) {
    *tensors = *std::move(exported);
  } else {
    const std::string prefix = timm ? "" : pooled ? "beit." : "vit.", classifier = timm ? "head." : "classifier.";
    for (const auto& [name, tensor] : *exported) TEC_RETURN_IF_ERROR(tensors->Add(prefix + name, tensor));
    if (pooled) {
      const std::string norm = timm ? "fc_norm." : "beit.pooler.layernorm.";
      TEC_RETURN_IF_ERROR(tensors->Add(norm + "weight", head->norm_weight));
      TEC_RETURN_IF_ERROR(tensors->Add(norm + "bias", head->norm_bias));
    }
    TEC_RETURN_IF_ERROR(tensors->Add(classifier + "weight", head->weight));
    TEC_RETURN_IF_ERROR(tensors->Add(classifier + "bias", head->bias));
    absl::StrAppend(&beside->notes, "\nwith its classifier of ", head->classes(), " classes, by the ",
                    pooled ? "mean of the patches" : "[CLS] token", head->assumed ? " (assumed)" : "",
                    "; --nohead leaves it out");
    if (!timm && pooled) {
      absl::StrAppend(&beside->notes,
                      "\nas BeitForImageClassification, which computes the same: "
                      "ViTForImageClassification has no classifier by the mean (--cls_token)");
    }
  }
  if (!heads.ok()) {
    absl::StrAppend(&beside->notes, "\nno config.json: ", heads.message());
    return absl::OkStatus();
  }
  if (timm) {
    beside->files["config.json"] = TimmConfig(traits, details);
    if (traits.norm_epsilon != 1e-6) {
      absl::StrAppend(&beside->notes, "\nnot exact: the file's norms have epsilon ", traits.norm_epsilon,
                      ", timm's 1e-6");
    }
  } else {
    beside->files["config.json"] = TransformersConfig(traits, details);
    if (pooled && traits.norm_epsilon != 1e-6) {
      absl::StrAppend(&beside->notes, "\nnot exact: the encoder's norms have epsilon ", traits.norm_epsilon,
                      ", the classifier's 1e-6, and there is one for both there");
    }
    if (details.preprocessing.mean.empty()) {
      absl::StrAppend(&beside->notes, "\nno preprocessor_config.json: the file does not say how its ", traits.channels,
                      " channels are normalised");
    } else {
      beside->files["preprocessor_config.json"] = PreprocessorConfig(traits, details.preprocessing);
    }
  }
  if (const std::string normalisation = DescribeNormalisation(details.preprocessing); !normalisation.empty()) {
    absl::StrAppend(&beside->notes, "\n", normalisation);
  }
  beside->files["README.md"] = ModelCard(traits, details, timm ? "timm" : "transformers");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> ConvertFile(const ConvertOptions& options) {
  TEC_ASSIGN_OR_RETURN(const std::optional<DType> dtype, DTypeOf(options.dtype));
  const bool hugging_face = options.to == "hf", mae = options.to == "mae";
  if (options.to != "tec" && options.to != "timm" && !mae && !hugging_face) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--to=", options.to, ": known are tec, timm, mae and hf",
        options.to == "onnx" ? "; ONNX is //tools:export -- --format=onnx --checkpoint=FILE --output=encoder.onnx"
                             : ""));
  }
  const bool safetensors = absl::EndsWith(options.output, ".safetensors");
  StateDict tensors;
  std::string description;
  Beside beside;
  if (options.everything) {
    if (options.to != "tec" && !mae) {
      return absl::InvalidArgumentError("--everything keeps the names of the file: it goes with --to=tec or mae");
    }
    // Its tensors alone would be taken for another model's.
    if (const absl::StatusOr<TrainingState> state = LoadTrainingState(options.input);
        state.ok() && EncoderRecordIn(state->args) != nullptr) {
      return absl::FailedPreconditionError(absl::StrCat(
          options.input,
          " is a checkpoint of an encoder that is no plain ViT; what leaves no tensor of it, and stands in "
          "the checkpoint, would be lost: take it as it is, or //tools:export for ONNX"));
    }
    TEC_ASSIGN_OR_RETURN(StateDictFile file, ReadStateDict(options.input, options.request.entry));
    description = absl::StrCat(options.input, ": ", file.container);
    tensors = std::move(file.tensors);
  } else {
    TEC_ASSIGN_OR_RETURN(const EncoderFile encoder, ReadEncoderFile(options.input, options.request));
    const VitFile& file = encoder.vit;
    TEC_RETURN_IF_ERROR(CheckModel(options.model, file.plan.traits));
    description = file.description;
    if (hugging_face || options.to == "timm") {
      TEC_RETURN_IF_ERROR(ExportFolder(options, file, &tensors, &beside));
    } else {
      absl::StatusOr<StateDict> exported = ExportVit(file.plan, mae ? Naming::kTimm : Naming::kTec);
      if (!exported.ok()) return Annotate(exported.status(), options.input);
      tensors = *std::move(exported);
    }
  }
  // Of the encoder's it is known; a file that is kept whole may have others.
  for (const auto& [name, tensor] : tensors) TEC_RETURN_IF_ERROR(Annotate(CheckFinite(name, tensor), options.input));
  if (dtype.has_value()) {
    TEC_ASSIGN_OR_RETURN(tensors, CastAll(tensors, *dtype));
  }

  const std::string folder = FolderOf(options.output);
  TEC_RETURN_IF_ERROR(MakeDirectories(folder));
  if (safetensors) {
    // transformers wants to know who laid the tensors out.
    std::map<std::string, std::string> metadata;
    if (!beside.files.empty()) metadata["format"] = "pt";
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
  for (const auto& [name, content] : beside.files) {
    TEC_RETURN_IF_ERROR(WriteFile(absl::StrCat(folder, "/", name), content));
    absl::StrAppend(&beside.notes, "\nwrote ", name);
  }
  return absl::StrCat(description, "\nwrote ", tensors.size(), " tensors to ", options.output, beside.notes);
}

}  // namespace tec
