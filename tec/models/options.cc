#include "tec/models/options.h"

#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace tec {
namespace {

using Problems = std::vector<std::string>;

bool Positive(const char* what, int64_t value, Problems& problems) {
  if (value <= 0) problems.push_back(absl::StrCat(what, " must be positive, not ", value));
  return value > 0;
}

void CheckDivides(const char* divisor, int64_t d, const char* what, int64_t n, Problems& problems) {
  if (n % d != 0) problems.push_back(absl::StrCat(what, " ", n, " is not a multiple of ", divisor, " ", d));
}

void CheckWidth(const char* prefix, int64_t width, int64_t heads, Problems& problems) {
  const std::string width_name = absl::StrCat(prefix, "width"), heads_name = absl::StrCat(prefix, "heads");
  const bool has_width = Positive(width_name.c_str(), width, problems);
  const bool has_heads = Positive(heads_name.c_str(), heads, problems);
  if (!has_width || !has_heads) return;
  CheckDivides(heads_name.c_str(), heads, width_name.c_str(), width, problems);
  CheckDivides("(for the position table)", 4, width_name.c_str(), width, problems);
}

void Check(const VitOptions& vit, Problems& problems) {
  const bool has_image = Positive("image_size", vit.image_size, problems);
  const bool has_patch = Positive("patch_size", vit.patch_size, problems);
  if (has_image && has_patch) CheckDivides("patch_size", vit.patch_size, "image_size", vit.image_size, problems);
  Positive("depth", vit.depth, problems);
  Positive("channels", vit.channels, problems);
  CheckWidth("", vit.width, vit.heads, problems);
  const int64_t frequencies = static_cast<int64_t>(vit.variant.rotary.frequencies.size());
  if (problems.empty() && frequencies != 0 && vit.width != vit.heads * 4 * frequencies) {
    problems.push_back(absl::StrCat(vit.heads, " heads of the width ", vit.width, " need ", vit.width, " / (4 * ",
                                    vit.heads, ") rotary frequencies, not ", frequencies));
  }
  if (!vit.variant.class_token && vit.variant.relative_positions) {
    problems.push_back("a relative position bias needs a [CLS] token");
  }
}

void Check(const DecoderOptions& decoder, Problems& problems) {
  Positive("decoder depth", decoder.depth, problems);
  CheckWidth("decoder ", decoder.width, decoder.heads, problems);
}

absl::Status Result(const char* model, const Problems& problems) {
  if (problems.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(model, ": ", absl::StrJoin(problems, "; ")));
}

}  // namespace

bool VitVariant::operator==(const VitVariant& other) const {
  const auto all = [](const VitVariant& v) {
    return std::tie(v.class_token, v.registers, v.hidden, v.activation, v.norm_epsilon, v.rms_norm, v.patch_norm,
                    v.pre_norm, v.post_norm, v.attention_norm, v.mlp_norm, v.relative_positions, v.rotary,
                    v.pool_hidden, v.final_norm);
  };
  return all(*this) == all(other);
}

absl::Status Validate(const BaseModelOptions& options) {
  Problems problems;
  Check(options.encoder, problems);
  if (problems.empty()) {
    const int64_t depth = options.encoder.depth, patches = options.encoder.patches();
    if (options.last_layers < 1 || options.last_layers > depth) {
      problems.push_back(absl::StrCat("last_layers ", options.last_layers, " is not in 1..", depth, ", its blocks"));
    }
    if (options.top_patches < 0 || options.top_patches > patches) {
      problems.push_back(absl::StrCat("topkatt ", options.top_patches, " is not in 0..", patches, ", its patches"));
    }
  }
  return Result("base model", problems);
}

absl::Status Validate(const TecOptions& options) {
  Problems problems;
  Check(options.encoder, problems);
  Check(options.decoder, problems);
  if (options.adaptor_groups < 0) {
    problems.push_back(absl::StrCat("adaptor_groups must not be negative: ", options.adaptor_groups));
  } else if (options.encoder.depth > 0) {
    CheckDivides("adaptor_groups", options.groups(), "depth", options.encoder.depth, problems);
  }
  if (options.target_width < 0) problems.push_back("target_width must not be negative");
  if (options.target_heads < 0) problems.push_back("target_heads must not be negative");
  for (size_t base = 0; base < options.base_models(); ++base) {
    const TecOptions::Target target = options.target(base);
    if (base > 0) {
      Positive("a further base model's width", target.width, problems);
      Positive("a further base model's heads", target.heads, problems);
    }
    if (target.width > 0 && target.heads > 0) {
      CheckDivides("the base model's heads", target.heads, "the base model's width", target.width, problems);
    }
  }
  return Result("new model", problems);
}

absl::Status Validate(const MaeOptions& options) {
  Problems problems;
  Check(options.encoder, problems);
  Check(options.decoder, problems);
  return Result("MAE model", problems);
}

absl::Status Validate(const FinetuneOptions& options) {
  Problems problems;
  Check(options.encoder, problems);
  Positive("number of classes", options.classes, problems);
  if (!(options.drop_path >= 0 && options.drop_path < 1)) {
    problems.push_back(absl::StrCat("drop_path ", options.drop_path, " is not in [0, 1)"));
  }
  if (!options.encoder.variant.class_token && !options.global_pool) {
    problems.push_back("the encoder has no [CLS] token to classify: --global_pool takes the mean of its patches");
  }
  if (!options.encoder.variant.class_token && options.mlp_token) {
    problems.push_back("the encoder has no [CLS] token for --mlp_token");
  }
  return Result("finetuning model", problems);
}

absl::Status ValidatePair(const BaseModelOptions& base_model, const TecOptions& new_model) {
  const VitOptions &base = base_model.encoder, &own = new_model.encoder;
  if (base.grid() == own.grid()) return absl::OkStatus();
  const auto text = [](const VitOptions& vit) {
    return absl::StrCat(vit.grid(), " x ", vit.grid(), " patches of ", vit.patch_size, " pixels (image_size ",
                        vit.image_size, ")");
  };
  return absl::InvalidArgumentError(absl::StrCat("the base model sees ", text(base), " and the new model ", text(own),
                                                 "; both must have the same patches of an image"));
}

}  // namespace tec
