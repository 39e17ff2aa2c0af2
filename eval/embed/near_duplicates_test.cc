#include "eval/embed/near_duplicates.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "ATen/ATen.h"
#include "gtest/gtest.h"

namespace tec {
namespace {

TEST(NearDuplicatesTest, FindsPairsAcrossBlocks) {
  // More rows than a block has: 5,000 directions of a space of 16, and two that repeat others at another length.
  const int64_t rows = 5000, width = 16;
  // One sine of squares comes near itself again after some thousand rows; two of incommensurable steps do not.
  const at::Tensor squares = at::arange(rows * width, at::kDouble).square();
  at::Tensor values =
      (at::sin(squares * std::sqrt(2.0)) + at::sin(squares * std::sqrt(3.0))).view({rows, width}).to(at::kFloat);
  values[4990] = values[10] * 3;
  values[20] = values[4800] * 0.5;
  const auto pairs = NearPairs(values, 1 - 1e-6);
  std::vector<std::pair<int64_t, int64_t>> found;
  for (const NearPair& pair : pairs) found.emplace_back(pair.first, pair.second);
  std::sort(found.begin(), found.end());
  EXPECT_EQ(found, (std::vector<std::pair<int64_t, int64_t>>{{10, 4990}, {20, 4800}}));
}

TEST(NearDuplicatesTest, MostSimilarFirstAndZerosAreLikeNothing) {
  const at::Tensor values = at::tensor({1.0f, 0.0f, 0.0f, 0.0f, 1.0f, 0.1f, 1.0f, 0.2f}).view({4, 2});
  const auto pairs = NearPairs(values, 0.9);
  ASSERT_EQ(pairs.size(), 3);
  EXPECT_EQ(pairs[0].first, 2);
  EXPECT_EQ(pairs[0].second, 3);
  EXPECT_NEAR(pairs[1].cosine, 1 / std::sqrt(1.01), 1e-6);
  EXPECT_EQ(pairs[2].second, 3);
}

}  // namespace
}  // namespace tec
