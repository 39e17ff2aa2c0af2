#include "tools/convert/model_folder.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "nlohmann/json.hpp"
#include "tec/base/logging.h"
#include "tec/base/version.h"
#include "tec/checkpoint/families/vit_export.h"

namespace tec {
namespace {

using Json = nlohmann::ordered_json;

// Names of folders are bytes, JSON is UTF-8.
std::string Dump(const Json& json) { return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"; }

int64_t ImageSize(const VitTraits& traits) { return traits.grid * traits.patch_size; }

// timm's name of these sizes at 224 pixels, or "".
std::string TimmName(const VitTraits& traits) {
  struct Named {
    const char* name;
    int64_t patch_size, width, depth, heads;
  };
  for (const Named& named :
       {Named{"vit_tiny_patch16_224", 16, 192, 12, 3}, Named{"vit_small_patch16_224", 16, 384, 12, 6},
        Named{"vit_base_patch16_224", 16, 768, 12, 12}, Named{"vit_large_patch16_224", 16, 1024, 24, 16},
        Named{"vit_huge_patch14_224", 14, 1280, 32, 16}}) {
    if (traits.patch_size == named.patch_size && traits.width == named.width && traits.depth == named.depth &&
        traits.heads == named.heads && ImageSize(traits) == 224) {
      return named.name;
    }
  }
  return "";
}

std::string Shape(const VitTraits& traits) {
  return absl::StrFormat("ViT, %d x %d pixels, patches of %d, width %d, %d blocks, %d heads", ImageSize(traits),
                         ImageSize(traits), traits.patch_size, traits.width, traits.depth, traits.heads);
}

}  // namespace

std::string TimmConfig(const VitTraits& traits, const ModelDetails& details) {
  TEC_CHECK(traits.heads > 0) << "config.json needs the number of heads";
  const std::string named = TimmName(traits);
  const std::string architecture = named.empty() ? "vit_base_patch16_224" : named;
  const std::string pool = details.head && details.head->global_pool ? "avg" : "token";
  const int64_t classes = details.head ? details.head->classes() : 0, size = ImageSize(traits);
  Json arguments = {{"img_size", size},
                    {"patch_size", traits.patch_size},
                    {"embed_dim", traits.width},
                    {"depth", traits.depth},
                    {"num_heads", traits.heads},
                    {"mlp_ratio", static_cast<double>(traits.hidden) / static_cast<double>(traits.width)},
                    {"global_pool", pool}};
  if (traits.channels != 3) arguments["in_chans"] = traits.channels;
  const Preprocessing& preprocessing = details.preprocessing;
  Json pretrained = {{"architecture", architecture},
                     {"num_classes", classes},
                     {"input_size", {traits.channels, size, size}},
                     {"fixed_input_size", true},
                     {"interpolation", "bicubic"},
                     {"crop_pct", preprocessing.resize > size ? 0.875 : 1.0},
                     {"crop_mode", "center"}};
  if (!preprocessing.mean.empty()) {
    pretrained["mean"] = preprocessing.mean;
    pretrained["std"] = preprocessing.std;
  }
  pretrained["first_conv"] = "patch_embed.proj";
  pretrained["classifier"] = "head";
  Json config = {{"architecture", architecture},
                 {"num_classes", classes},
                 {"num_features", traits.width},
                 {"global_pool", pool},
                 {"model_args", arguments}};
  if (details.head && !details.head->names.empty()) {
    config["label_names"] = details.head->names;
    pretrained["label_names"] = details.head->names;
  }
  config["pretrained_cfg"] = pretrained;
  return Dump(config);
}

std::string TransformersConfig(const VitTraits& traits, const ModelDetails& details) {
  if (!details.head) return HuggingFaceConfig(traits);
  const ClassifierHead& head = *details.head;
  Json config = Json::parse(HuggingFaceConfig(traits));
  config["architectures"] = {head.global_pool ? "BeitForImageClassification" : "ViTForImageClassification"};
  if (head.global_pool) {
    config["model_type"] = "beit";
    config["use_mean_pooling"] = true;
    config["use_absolute_position_embeddings"] = true;
    config["use_relative_position_bias"] = false;
    config["use_shared_relative_position_bias"] = false;
    config["use_mask_token"] = false;
    config["layer_scale_init_value"] = 0.0;
    config["drop_path_rate"] = 0.0;
  }
  Json labels = Json::object(), ids = Json::object();
  for (int64_t i = 0; i < head.classes(); ++i) {
    const std::string name = head.names.empty() ? absl::StrCat("LABEL_", i) : head.names[i];
    labels[absl::StrCat(i)] = name;
    ids[name] = i;
  }
  config["id2label"] = labels;
  config["label2id"] = ids;
  config["problem_type"] = "single_label_classification";
  return Dump(config);
}

std::string PreprocessorConfig(const VitTraits& traits, const Preprocessing& preprocessing) {
  TEC_CHECK(!preprocessing.mean.empty()) << "preprocessor_config.json needs the mean";
  // ViT's own processor squeezes the whole picture into a square; this one resizes the short side and cuts.
  const Json config = {{"image_processor_type", "BitImageProcessor"},
                       {"do_convert_rgb", traits.channels == 3},
                       {"do_resize", true},
                       {"size", {{"shortest_edge", preprocessing.resize}}},
                       {"resample", 3},  // Bicubic.
                       {"do_center_crop", true},
                       {"crop_size", {{"height", preprocessing.size}, {"width", preprocessing.size}}},
                       {"do_rescale", true},
                       {"rescale_factor", 1.0 / 255},
                       {"do_normalize", true},
                       {"image_mean", preprocessing.mean},
                       {"image_std", preprocessing.std}};
  return Dump(config);
}

std::string ModelCard(const VitTraits& traits, const ModelDetails& details, const std::string& library) {
  const bool timm = library == "timm";
  const std::string task = details.head ? "image-classification" : "image-feature-extraction";
  std::string card = absl::StrCat("---\nlibrary_name: ", library, "\npipeline_tag: ", task, "\ntags:\n- ", task,
                                  "\n- vision-transformer\n---\n\n# ", Shape(traits), "\n\n");
  if (details.method == "finetune") {
    absl::StrAppend(&card, "Finetuned with labels for ", details.epoch + 1, " epochs.");
  } else if (details.method == "tec") {
    absl::StrAppend(&card, "Pretrained without labels by target-enhanced conditional pretraining (TEC, ",
                    "[arXiv 2210.11016](https://arxiv.org/abs/2210.11016)) for ", details.epoch + 1, " epochs.");
  } else if (details.method == "mae") {
    absl::StrAppend(&card, "Pretrained without labels as a masked autoencoder for ", details.epoch + 1, " epochs.");
  } else {
    absl::StrAppend(&card, "Converted from a file that does not say how it was trained.");
  }
  absl::StrAppend(&card, " Written by TEC ", kVersion, ".");
  absl::StrAppend(&card, "\n\n## Use\n\n```python\n");
  if (timm) {
    absl::StrAppend(&card, "import timm\n\nmodel = timm.create_model(\"local-dir:FOLDER\", pretrained=True).eval()\n",
                    "transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))\n");
  } else if (details.head) {
    absl::StrAppend(&card, "from transformers import pipeline\n\n",
                    "print(pipeline(\"image-classification\", model=\"FOLDER\")(\"picture.jpg\"))\n");
  } else {
    absl::StrAppend(&card, "from transformers import AutoImageProcessor, ViTModel\n\n",
                    "model = ViTModel.from_pretrained(\"FOLDER\", add_pooling_layer=False).eval()\n",
                    "processor = AutoImageProcessor.from_pretrained(\"FOLDER\")\n");
  }
  const Preprocessing& preprocessing = details.preprocessing;
  absl::StrAppend(&card, "```\n\n## Input\n\nThe short side resized to ", preprocessing.resize,
                  " pixels (bicubic), the central ", preprocessing.size, " x ", preprocessing.size,
                  " cut out, values in [0, 1]");
  if (!preprocessing.mean.empty()) {
    absl::StrAppend(&card, " less (", absl::StrJoin(preprocessing.mean, ", "), "), divided by (",
                    absl::StrJoin(preprocessing.std, ", "), ")",
                    preprocessing.assumed          ? ": ImageNet's, assumed, for the file does not say"
                    : preprocessing.source.empty() ? ""
                                                   : absl::StrCat(" (", preprocessing.source, ")"));
  }
  absl::StrAppend(&card, ".\n\n## Data\n\n");
  absl::StrAppend(&card, details.training_images > 0 ? absl::StrCat(details.training_images, " training images")
                                                     : std::string("Training images: not recorded"));
  if (details.head) absl::StrAppend(&card, ", ", details.head->classes(), " classes");
  if (details.head && !details.head->names.empty()) {
    constexpr size_t kShown = 20;
    const std::vector<std::string>& names = details.head->names;
    const std::vector<std::string> some(names.begin(), names.begin() + std::min(kShown, names.size()));
    absl::StrAppend(&card, ": ", absl::StrJoin(some, ", "), names.size() > kShown ? ", ... (config.json)" : "");
  }
  absl::StrAppend(&card, ".\n\n## Accuracy\n\n");
  if (details.max_accuracy) {
    absl::StrAppend(&card, absl::StrFormat("Highest top-1 on the held-out images till this epoch: %.2f %%.\n",
                                           *details.max_accuracy));
  } else {
    absl::StrAppend(&card, "Not recorded in the checkpoint.\n");
  }
  if (!details.settings.empty()) absl::StrAppend(&card, "\n## Settings\n\n```textproto\n", details.settings, "```\n");
  return card;
}

}  // namespace tec
