#include "tools/goldens/model_items.h"

#include "ATen/ops/equal.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tec/base/status.h"
#include "tools/goldens/torch_item.h"

namespace tec {
namespace {

// Of the stored numbers' README.
constexpr double kGradientTolerance = 3e-6;

// int(width * mlp_ratio), as the reference has it; 0 for four times the width.
int64_t HiddenOf(const nlohmann::json& config, int64_t width) {
  const double ratio = config.value("mlp_ratio", 4.0);
  return ratio == 4 ? 0 : static_cast<int64_t>(static_cast<double>(width) * ratio);
}

VitOptions VitOptionsOf(const nlohmann::json& config, const std::string& depth_key) {
  VitOptions options = {config.at("img_size"), config.at("patch_size"), config.at("embed_dim"), config.at(depth_key),
                        config.at("num_heads")};
  options.variant.hidden = HiddenOf(config, options.width);
  return options;
}

}  // namespace

absl::StatusOr<BaseModelOptions> BaseModelOptionsOf(const nlohmann::json& config, const std::string& depth_key,
                                                    int64_t last_layers, int64_t top_patches) {
  const BaseModelOptions options = {VitOptionsOf(config, depth_key), last_layers, top_patches};
  TEC_RETURN_IF_ERROR(Validate(options));
  return options;
}

absl::StatusOr<TecOptions> TecOptionsOf(const nlohmann::json& config) {
  TecOptions options;
  options.encoder = VitOptionsOf(config, "depth");
  options.decoder = {config.at("decoder_embed_dim"), config.at("decoder_depth"), config.at("decoder_num_heads")};
  options.decoder.hidden = HiddenOf(config, options.decoder.width);
  options.mlp_token = config.at("mlp_token");
  options.pred_att = config.at("pred_att");
  options.adaptor_groups = config.value("num_adap", int64_t{0});
  TEC_RETURN_IF_ERROR(Validate(options));
  return options;
}

absl::StatusOr<FinetuneOptions> FinetuneOptionsOf(const nlohmann::json& config) {
  FinetuneOptions options;
  options.encoder = VitOptionsOf(config, "depth");
  options.classes = config.at("num_classes");
  options.global_pool = config.at("global_pool");
  options.mlp_token = config.at("mlp_token");
  options.drop_path = config.value("drop_path", 0.0);
  TEC_RETURN_IF_ERROR(Validate(options));
  return options;
}

void CompareGradients(GoldenItem& item, GoldenTensors& file, const std::string& prefix, const torch::nn::Module& model,
                      bool all) {
  item.Group(absl::StrCat(prefix, "*"));
  for (const auto& [name, parameter] : NamedTrainable(model)) {
    const std::string stored = absl::StrCat(prefix, name);
    if (all || file.Has(stored)) Compare(item, file, stored, parameter.grad(), item.Model(kGradientTolerance));
  }
  item.Group("");
}

std::pair<int64_t, int64_t> KeyBias(const std::string& name, int64_t size) {
  if (absl::EndsWith(name, "attn.qkv.bias")) return {size / 3, 2 * size / 3};
  if (name == "forward_att_decoder.decoder_qk.bias") return {size / 2, size};
  return {0, 0};
}

GoldenSkip SkipKeyBias(const std::string& name, int64_t size) {
  const auto [begin, end] = KeyBias(name, size);
  if (begin == end) return nullptr;
  return [begin = begin, end = end](int64_t flat) { return begin <= flat && flat < end; };
}

void CompareFinalValues(GoldenItem& item, GoldenTensors& file, const std::string& prefix, const NamedTensors& trainable,
                        const TensorMap& initial, double tolerance, double sum_of_lr) {
  item.Group(absl::StrCat(prefix, "*"));
  for (const auto& [name, value] : trainable) {
    Compare(item, file, prefix + name, value, item.Model(tolerance), SkipKeyBias(name, value.size(0)));
  }
  item.Group("(key biases)");
  for (const auto& [name, value] : trainable) {
    const auto [begin, end] = KeyBias(name, value.size(0));
    if (begin == end) continue;
    const at::Tensor moved = value.detach().slice(0, begin, end) - initial.at(name).slice(0, begin, end);
    const double largest = moved.abs().max().item<double>();
    item.Expect(
        prefix + name, largest <= sum_of_lr,
        absl::StrFormat("a key bias moved by %.3g, more than all learning rates together, %.3g", largest, sum_of_lr));
  }
  item.Group("");
}

GoldenSkip SkipOtherRanks(const at::Tensor& idx, const at::Tensor& expected_idx, int64_t heads, int64_t patches) {
  if (at::equal(idx, expected_idx)) return nullptr;
  const at::Tensor ours = idx.contiguous(), theirs = expected_idx.contiguous();
  const int64_t k = idx.size(2);
  std::vector<bool> other(ours.numel());
  for (int64_t i = 0; i < ours.numel(); ++i) other[i] = ours.data_ptr<int64_t>()[i] != theirs.data_ptr<int64_t>()[i];
  return [other, k, row = heads * patches](int64_t flat) {
    const int64_t image = flat / ((1 + k) * row), query = flat / row % (1 + k);
    return query > 0 && other[image * k + query - 1];
  };
}

}  // namespace tec
