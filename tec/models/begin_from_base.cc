#include "tec/models/begin_from_base.h"

#include <string>
#include <vector>

#include "ATen/core/grad_mode.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tec/base/logging.h"
#include "tec/nn/module_state.h"

namespace tec {

absl::Status BeginFromBase(const BaseModel& base, TecModel& model) {
  const VitOptions &from = base.options().encoder, &to = model.options().encoder;
  std::vector<std::string> problems;
  const auto compare = [&problems](const char* what, int64_t its, int64_t own) {
    if (its != own) problems.push_back(absl::StrCat(what, " ", its, " and ", own));
  };
  compare("width", from.width, to.width);
  compare("heads", from.heads, to.heads);
  compare("patch size", from.patch_size, to.patch_size);
  compare("channels", from.channels, to.channels);
  if (from.depth < to.depth) problems.push_back(absl::StrCat(from.depth, " blocks and ", to.depth));
  VitVariant plain;
  // Tokens beside [CLS] and patches, and a constant inside the norms, leave the blocks' weights what they are.
  plain.registers = from.variant.registers;
  plain.norm_epsilon = from.variant.norm_epsilon;
  plain.pool_hidden = from.variant.pool_hidden;
  plain.final_norm = from.variant.final_norm;
  const auto hidden = [](const VitOptions& of) { return of.variant.hidden == 0 ? 4 * of.width : of.variant.hidden; };
  if (from.width == to.width) compare("hidden width of MLPs (--mlp_ratio)", hidden(from), hidden(to));
  plain.hidden = from.variant.hidden;
  if (!(from.variant == plain)) {
    problems.push_back("blocks that compute otherwise (activation, norms or positions)");
  }
  if (!problems.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--init_from_base: base model and new model have ", absl::StrJoin(problems, ", "),
        "; leave --init_from_base out, or choose a new model of the base model's shape (--config=own_images does)"));
  }
  at::NoGradGuard no_gradient;
  const NamedTensors state = NamedState(base);
  const TensorMap weights(state.begin(), state.end());
  for (const auto& [name, tensor] : NamedState(model)) {
    if (name != "cls_token" && !absl::StartsWith(name, "patch_embed.") && !absl::StartsWith(name, "blocks.")) continue;
    const auto found = weights.find(name);
    TEC_CHECK(found != weights.end() && found->second.sizes() == tensor.sizes()) << name;
    at::Tensor(tensor).copy_(found->second);
  }
  return absl::OkStatus();
}

}  // namespace tec
