#include "tec/nn/split_heads.h"

#include "ATen/ATen.h"
#include "gtest/gtest.h"
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
          parts = SplitHeads(x, 3);
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

}  // namespace
}  // namespace tec
