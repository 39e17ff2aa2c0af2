#include "tec/checkpoint/token_mlp.h"

#include <cmath>
#include <vector>

#include "tec/checkpoint/elements.h"

namespace tec {
namespace {

// weight x + bias.
std::vector<double> Linear(const TensorView& weight, const TensorView& bias, const std::vector<double>& x) {
  const std::vector<double> w = DoublesOf(weight);
  std::vector<double> y = DoublesOf(bias);
  for (size_t row = 0; row < y.size(); ++row) {
    for (size_t column = 0; column < x.size(); ++column) y[row] += w[row * x.size() + column] * x[column];
  }
  return y;
}

}  // namespace

absl::StatusOr<TensorView> FoldTokenMlp(const TokenMlp& mlp) {
  using Shape = std::vector<int64_t>;
  const Shape &token = mlp.cls_token.shape, &fc1 = mlp.fc1_weight.shape;
  const bool fits = token.size() == 3 && token[0] == 1 && token[1] == 1 && fc1.size() == 2 && fc1[1] == token[2] &&
                    mlp.fc1_bias.shape == Shape{fc1[0]} && mlp.fc2_weight.shape == Shape{token[2], fc1[0]} &&
                    mlp.fc2_bias.shape == Shape{token[2]};
  if (!fits) return absl::InvalidArgumentError("the shapes of cls_token_mlp.* do not fit cls_token: no folding");
  std::vector<double> hidden = Linear(mlp.fc1_weight, mlp.fc1_bias, DoublesOf(mlp.cls_token));
  for (double& value : hidden) value *= 0.5 * std::erfc(-value / std::sqrt(2.0));
  const std::vector<double> folded = Linear(mlp.fc2_weight, mlp.fc2_bias, hidden);
  return TensorView::FromFloats(token, std::vector<float>(folded.begin(), folded.end()));
}

}  // namespace tec
