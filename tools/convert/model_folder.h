// What stands beside the weights in a folder that another library opens by itself: config.json of timm and of Hugging
// Face's transformers, preprocessor_config.json, and a model card for people.

#ifndef TEC_TOOLS_CONVERT_MODEL_FOLDER_H_
#define TEC_TOOLS_CONVERT_MODEL_FOLDER_H_

#include <string>

#include "tec/checkpoint/families/vit_plan.h"
#include "tools/convert/model_details.h"

namespace tec {

// All functions: `traits` with the number of heads.

// For timm.create_model("local-dir:FOLDER"): architecture, model_args, pretrained_cfg. transformers opens the folder
// too, with timm beside it (TimmWrapper).
std::string TimmConfig(const VitTraits& traits, const ModelDetails& details);

// For transformers: ViTModel; with a head ViTForImageClassification or, where it is of the mean of the patches, which
// ViT's class has not, BeitForImageClassification without relative positions, which then computes the same.
std::string TransformersConfig(const VitTraits& traits, const ModelDetails& details);

// For AutoImageProcessor. Its mean and deviation must be known.
std::string PreprocessorConfig(const VitTraits& traits, const Preprocessing& preprocessing);

// README.md, as Hugging Face's model cards are: what the model is, how to open it there, its preprocessing, data,
// accuracy and settings, as far as the file tells. `library`: "timm" or "transformers".
std::string ModelCard(const VitTraits& traits, const ModelDetails& details, const std::string& library);

}  // namespace tec

#endif  // TEC_TOOLS_CONVERT_MODEL_FOLDER_H_
