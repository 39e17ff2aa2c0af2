#include "tec/models/encoder_state.h"

#include <string>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "tec/checkpoint/pretraining_only.h"
#include "tec/checkpoint/token_mlp.h"
#include "tec/checkpoint/torch_tensors.h"

namespace tec {
namespace {

constexpr char kTokenMlp[] = "cls_token_mlp.";

// cls_token_mlp(cls_token), [1, 1, C].
absl::StatusOr<at::Tensor> FoldedToken(const TensorMap& state) {
  TensorMap parts;
  for (const char* name : {"cls_token", "cls_token_mlp.fc1.weight", "cls_token_mlp.fc1.bias",
                           "cls_token_mlp.fc2.weight", "cls_token_mlp.fc2.bias"}) {
    const auto found = state.find(name);
    if (found == state.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat("cls_token_mlp cannot be folded into cls_token: ", name, " is missing"));
    }
    parts[name] = found->second.to(at::kFloat);
  }
  const absl::StatusOr<TensorView> folded = FoldTokenMlp(
      {ViewOf(parts["cls_token"]), ViewOf(parts["cls_token_mlp.fc1.weight"]), ViewOf(parts["cls_token_mlp.fc1.bias"]),
       ViewOf(parts["cls_token_mlp.fc2.weight"]), ViewOf(parts["cls_token_mlp.fc2.bias"])});
  if (!folded.ok()) return folded.status();
  return TensorOf(*folded);
}

}  // namespace

bool IsPretrainingOnly(const std::string& name) { return IsPretrainingOnly(absl::string_view(name)); }

absl::StatusOr<TensorMap> EncoderState(const TensorMap& state) {
  TensorMap encoder;
  bool fold = false;
  for (const auto& [name, tensor] : state) {
    if (absl::StartsWith(name, kTokenMlp)) {
      fold = true;
    } else if (!IsPretrainingOnly(name) && !absl::StartsWith(name, "head.") && !absl::StartsWith(name, "fc_norm.")) {
      encoder.emplace(name, tensor);
    }
  }
  if (fold) {
    absl::StatusOr<at::Tensor> token = FoldedToken(state);
    if (!token.ok()) return token.status();
    encoder["cls_token"] = *std::move(token);
  }
  return encoder;
}

}  // namespace tec
