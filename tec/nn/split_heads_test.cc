#include "tec/nn/split_heads.h"

#include <array>
#include <vector>

#include "ATen/ATen.h"
#include "gtest/gtest.h"
#include "tec/testing/fused_comparison.h"
#include "tec/testing/tensor_matchers.h"

namespace tec {
namespace {

using testing::BitEqual;

at::Tensor Wave(at::IntArrayRef sizes, double frequency, at::ScalarType type) {
  return (at::arange(c10::multiply_integers(sizes), at::kDouble) * frequency).cos().to(type).view(sizes);
}

// The form that it replaces: three selects, whose gradients are filled and added.
TEST(SplitHeadsTest, HasTheBitsOfThreeSelects) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    for (const int64_t used : {3, 2}) {
      at::Tensor gradients[2];
      for (const bool split : {false, true}) {
        at::Tensor x = Wave({2, 7, 3 * 12}, 0.37, type).requires_grad_(true);
        std::array<at::Tensor, 3> parts;
        if (split) {
          parts = SplitHeads(x, {}, 3);
        } else {
          const at::Tensor all = x.reshape({2, 7, 3, 3, 4}).permute({2, 0, 3, 1, 4});
          parts = {all[0], all[1], all[2]};
        }
        at::Tensor sum = at::zeros({}, type);
        for (int64_t i = 0; i < used; ++i) {
          EXPECT_EQ(parts[i].sizes(), at::IntArrayRef({2, 3, 7, 4}));
          sum = sum + (parts[i] * Wave({2, 3, 7, 4}, 0.5 + 0.1 * static_cast<double>(i), type)).sum();
        }
        sum.backward();
        gradients[split ? 1 : 0] = x.grad();
      }
      EXPECT_TRUE(BitEqual(gradients[1], gradients[0])) << type << used;
    }
  }
}

TEST(SplitHeadsTest, GivesTheBiassGradient) {
  for (const auto& [tokens, heads, width] : std::vector<std::array<int64_t, 3>>{{7, 3, 4}, {1, 1, 1}, {90, 2, 5}}) {
    for (const int64_t used : {3, 1}) {
      testing::CompareFused(
          {testing::WaveOf({2, tokens, 3 * heads * width}, 0.37).requires_grad_(true),
           testing::WaveOf({3 * heads * width}, 0.5).requires_grad_(true)},
          testing::kDoubleAndFloat,
          [&, heads = heads](const testing::Tensors& in) {
            const std::array<at::Tensor, 3> parts = SplitHeads(in[0], in[1], heads);
            return testing::Tensors(parts.begin(), parts.begin() + used);
          },
          [&, tokens = tokens, heads = heads, width = width](const testing::Tensors& in) {
            const testing::Tensors parts =
                (in[0] + in[1] - in[1].detach()).view({2, tokens, 3, heads, width}).permute({2, 0, 3, 1, 4}).unbind(0);
            return testing::Tensors(parts.begin(), parts.begin() + used);
          });
    }
  }
}

}  // namespace
}  // namespace tec
