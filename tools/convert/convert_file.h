// A weight file from one spelling to another: what //tools:convert does.

#ifndef TEC_TOOLS_CONVERT_CONVERT_FILE_H_
#define TEC_TOOLS_CONVERT_CONVERT_FILE_H_

#include <string>

#include "absl/status/statusor.h"
#include "tec/checkpoint/families/vit_file.h"

namespace tec {

struct ConvertOptions {
  std::string input;   // Any weight file of a known family (vit_file.h).
  std::string output;  // Its suffix, .safetensors or anything else, chooses between safetensors and .pth.
  // "tec": weight_convert's, a bare state dict without final norm. "timm": the same with norm, a config.json and a
  // README.md beside the output. "mae": timm's under "model". "hf": transformers'; a preprocessor_config.json, too.
  std::string to = "tec";
  bool everything = false;  // Every tensor of the file under its own name, decoders and heads too.
  std::string dtype;        // "": as in the file; "float32", "float16", "bfloat16".
  std::string model;        // "": any; "vit_base_patch16": the file must hold that.
  VitRequest request;       // What the input does not tell.
  bool head = true;         // "timm", "hf": keep the classifier of a finetuned model.
};

// Gives one line on what was written. InvalidArgument, NotFound: options or the input; others: writing.
absl::StatusOr<std::string> ConvertFile(const ConvertOptions& options);

}  // namespace tec

#endif  // TEC_TOOLS_CONVERT_CONVERT_FILE_H_
