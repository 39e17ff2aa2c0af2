#include "tec/testing/tensor_matchers.h"

#include <limits>

#include "ATen/TensorOperators.h"
#include "ATen/ops/arange.h"
#include "ATen/ops/empty.h"
#include "ATen/ops/full.h"
#include "ATen/ops/zeros.h"

namespace tec::testing {
namespace {

TEST(TensorNearTest, AcceptsUpToTheToleranceAndNoFurther) {
  const at::Tensor a = at::arange(6, at::kFloat).view({2, 3});
  EXPECT_TRUE(TensorNear(a, a, 0));
  EXPECT_TRUE(TensorNear(a + 0.5, a, 0.5));
  EXPECT_FALSE(TensorNear(a + 0.5, a, 0.499));
  EXPECT_FALSE(TensorNear(a - 0.5, a, 0.499));
}

TEST(TensorNearTest, TellsTheLargestErrorAndItsPlace) {
  const at::Tensor a = at::zeros({2, 3});
  at::Tensor b = a.clone();
  b[1][2] = 4;
  b[0][1] = -1;
  const std::string message = TensorNear(b, a, 0.5).message();
  EXPECT_NE(message.find("2 of 6"), std::string::npos) << message;
  EXPECT_NE(message.find("[1, 2]"), std::string::npos) << message;
}

TEST(TensorNearTest, RefusesNaNOnEitherSideAndOnBoth) {
  const at::Tensor zero = at::zeros({3});
  const at::Tensor nan = at::full({3}, std::numeric_limits<double>::quiet_NaN(), at::kFloat);
  EXPECT_FALSE(TensorNear(nan, zero, 1e9));
  EXPECT_FALSE(TensorNear(zero, nan, 1e9));
  EXPECT_FALSE(TensorNear(nan, nan, 1e9));
}

TEST(TensorNearTest, RefusesAnotherShapeDtypeNothingAndUndefined) {
  const at::Tensor a = at::zeros({2, 3});
  EXPECT_FALSE(TensorNear(a.t(), a, 1));
  EXPECT_FALSE(TensorNear(at::zeros({1}), a, 1));  // No broadcasting.
  EXPECT_FALSE(TensorNear(a.to(at::kDouble), a, 1));
  EXPECT_FALSE(TensorNear(at::empty({0}), at::empty({0}), 1));
  EXPECT_FALSE(TensorNear(at::Tensor(), a, 1));
  EXPECT_TRUE(TensorNear(at::zeros({}), at::zeros({1}), 0));
}

TEST(TensorNearTest, SeesPermutedValues) {
  const at::Tensor a = at::arange(6, at::kFloat).view({2, 3});
  EXPECT_FALSE(TensorNear(a.flip(1), a, 0.5));
}

TEST(BitEqualTest, TellsZeroFromMinusZero) {
  const at::Tensor zero = at::zeros({2});
  EXPECT_TRUE(BitEqual(zero, zero.clone()));
  EXPECT_FALSE(BitEqual(-zero, zero));
}

}  // namespace
}  // namespace tec::testing
