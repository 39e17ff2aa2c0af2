#include "tec/nn/positions.h"

#include <string>

#include "ATen/TensorOperators.h"
#include "ATen/ops/arange.h"
#include "ATen/ops/zeros.h"
#include "gtest/gtest.h"
#include "tec/testing/golden.h"
#include "tec/testing/tensor_matchers.h"

namespace tec {
namespace {

using testing::BitEqual;
using testing::TensorNear;

// Tolerances of tec/testing/goldens/README.md.
constexpr double kTableTolerance = 1e-6;
constexpr double kDoubleTableTolerance = 1e-12;
constexpr double kInterpolationTolerance = 1e-5;

// Numbers in names such as "d48_g4" and "interp_d48_4to6".
int64_t NumberAfter(const std::string& name, const std::string& marker) {
  return std::stoll(name.substr(name.find(marker) + marker.size()));
}

TEST(SinCosPositionsTest, MatchesTheReference) {
  const testing::Golden golden("pos_embed.safetensors");
  int tables = 0;
  for (const auto& [name, expected] : golden.WithPrefix("d")) {  // "48_g4.f32", ".f64" and ".rows"
    const int64_t width = std::stoll(name), grid = NumberAfter(name, "_g");
    const std::string stem = "d" + name.substr(0, name.find('.'));
    if (name.find(".f64") != std::string::npos) {
      EXPECT_TRUE(TensorNear(SinCosPositionsDouble(width, grid), expected, kDoubleTableTolerance)) << stem;
    } else if (name.find(".f32") != std::string::npos) {
      at::Tensor table = SinCosPositions(width, grid).squeeze(0);
      ASSERT_EQ(table.size(0), 1 + grid * grid);
      if (golden.contains(stem + ".rows")) table = table.index_select(0, golden[stem + ".rows"]);
      EXPECT_TRUE(TensorNear(table, expected, kTableTolerance)) << stem;
    } else {
      continue;
    }
    ++tables;
  }
  EXPECT_GT(tables, 4);
}

TEST(SinCosPositionsTest, LeavesTheClassTokenAlone) {
  EXPECT_TRUE(BitEqual(SinCosPositions(16, 3).select(1, 0), at::zeros({1, 16})));
}

TEST(InterpolatePositionsTest, MatchesTheReference) {
  const testing::Golden golden("pos_embed.safetensors");
  int tables = 0;
  for (const auto& [name, expected] : golden.WithPrefix("interp_")) {  // "d48_4to6.in" and ".out"
    if (name.find(".out") == std::string::npos) continue;
    const at::Tensor& table = golden["interp_" + name.substr(0, name.size() - 4) + ".in"];
    EXPECT_TRUE(TensorNear(InterpolatePositions(table, NumberAfter(name, "to")), expected, kInterpolationTolerance))
        << name;
    ++tables;
  }
  EXPECT_GT(tables, 1);
}

TEST(InterpolatePositionsTest, KeepsATableOfTheSameGrid) {
  const at::Tensor table = at::arange(80, at::kFloat).view({1, 10, 8});
  EXPECT_TRUE(BitEqual(InterpolatePositions(table, 3), table));
}

}  // namespace
}  // namespace tec
