#include <tuple>

#include "absl/strings/str_cat.h"
#include "tec/checkpoint/elements.h"
#include "tec/checkpoint/families/plan_steps.h"

namespace tec {
namespace {

constexpr char kToken[] = "attn_pool.latent";

// weight [C or more, C] and bias of the same rows: those of the query, times the token, plus the bias.
std::vector<float> Query(const TensorView& token, const TensorView& weight, const TensorView& bias) {
  const std::vector<float> x = FloatsOf(token), w = FloatsOf(weight), b = FloatsOf(bias);
  std::vector<float> query(x.size());
  for (size_t row = 0; row < query.size(); ++row) {
    double sum = b[row];
    for (size_t i = 0; i < x.size(); ++i) sum += static_cast<double>(w[row * x.size() + i]) * x[i];
    query[row] = static_cast<float>(sum);
  }
  return query;
}

// Rows [from, to) of a dense tensor: a view.
TensorView Rows(const TensorView& tensor, int64_t from, int64_t to) {
  TensorView part = tensor;
  const size_t row = tensor.bytes.size() / tensor.shape[0];
  part.shape[0] = to - from;
  part.bytes = tensor.bytes.substr(from * row, (to - from) * row);
  return part;
}

}  // namespace

void PlanPool(PlanBuilder& builder) {
  if (builder.Find(kToken) == nullptr) return;
  VitTraits& traits = builder.traits();
  const int64_t width = traits.width;
  if (traits.activation == Activation::kSwiGlu || traits.rms_norm) {
    builder.AddProblem("an attention pool with a gated MLP or norms by the root mean square is not known");
    return;
  }
  const Shape token_shape = {1, 1, width}, query_shape = token_shape;
  const PlanBuilder::Part* token = builder.Use(kToken, token_shape);
  // Apart, as in timm, or the thirds of one tensor (Hugging Face).
  const bool together = builder.Find("attn_pool.qkv.weight") != nullptr;
  const int64_t rows = together ? 3 * width : width;
  const std::string name = together ? "attn_pool.qkv" : "attn_pool.q";
  const PlanBuilder::Part* weight = builder.Use(name + ".weight", {rows, width});
  const PlanBuilder::Part* bias = builder.Use(name + ".bias", {rows});
  if (token != nullptr && weight != nullptr && bias != nullptr) {
    const TensorView t = token->tensor, w = weight->tensor, b = bias->tensor;
    builder.Add("attn_pool.query", query_shape, {token, weight, bias},
                [t, w, b, query_shape] { return TensorView::FromFloats(query_shape, Query(t, w, b)); });
    if (together) {
      builder.Add("attn_pool.kv.weight", {2 * width, width}, {weight},
                  [w, width] { return Rows(w, width, 3 * width); });
      builder.Add("attn_pool.kv.bias", {2 * width}, {bias}, [b, width] { return Rows(b, width, 3 * width); });
    }
  }
  if (!together) {
    builder.Take("attn_pool.kv.weight", {2 * width, width});
    builder.Take("attn_pool.kv.bias", {2 * width});
  }
  const PlanBuilder::Part* fc1 = builder.Find("attn_pool.mlp.fc1.weight");
  traits.pool_hidden = fc1 != nullptr && !fc1->tensor.shape.empty() ? fc1->tensor.shape[0] : 4 * width;
  const int64_t hidden = traits.pool_hidden;
  builder.TakePair("attn_pool.norm", {width});
  for (const auto& [module, out, in] : {std::tuple("attn_pool.proj", width, width),
                                        {"attn_pool.mlp.fc1", hidden, width},
                                        {"attn_pool.mlp.fc2", width, hidden}}) {
    builder.Take(absl::StrCat(module, ".weight"), {out, in});
    builder.Take(absl::StrCat(module, ".bias"), {out});
  }
}

}  // namespace tec
