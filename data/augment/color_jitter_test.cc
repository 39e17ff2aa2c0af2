#include "data/augment/color_jitter.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "gtest/gtest.h"

namespace tec {
namespace {

std::vector<AugmentStep> Draw(double strength, uint64_t sample) {
  RandomStream stream(RandomKey{5, RandomPurpose::kRandAugment, 0, sample});
  return DrawColorJitter(strength, stream);
}

TEST(DrawColorJitterTest, EveryOrderAndTheWholeRange) {
  constexpr int kPictures = 6000;
  std::map<std::vector<AugmentOp>, int> orders;
  std::map<AugmentOp, std::pair<double, double>> ranges;
  for (int i = 0; i < kPictures; ++i) {
    std::vector<AugmentOp> order;
    for (const AugmentStep& step : Draw(0.4, i)) {
      order.push_back(step.op);
      auto& range = ranges.try_emplace(step.op, 9.0, 0.0).first->second;
      range.first = std::min(range.first, step.argument);
      range.second = std::max(range.second, step.argument);
    }
    ++orders[order];
  }
  EXPECT_EQ(orders.size(), 6);
  for (const auto& [order, count] : orders) EXPECT_NEAR(count, 1000, 5 * std::sqrt(kPictures * 5 / 36.0));
  ASSERT_EQ(ranges.size(), 3);
  for (const auto& [op, range] : ranges) {
    EXPECT_TRUE(op == AugmentOp::kBrightness || op == AugmentOp::kContrast || op == AugmentOp::kColor);
    EXPECT_GE(range.first, 0.6);
    EXPECT_LT(range.first, 0.602);
    EXPECT_LT(range.second, 1.4);
    EXPECT_GT(range.second, 1.398);
  }
}

TEST(DrawColorJitterTest, NothingBelowZero) {
  double least = 9;
  for (int i = 0; i < 1000; ++i) {
    for (const AugmentStep& step : Draw(3, i)) least = std::min(least, step.argument);
  }
  EXPECT_GE(least, 0);
  EXPECT_LT(least, 0.1);
  EXPECT_TRUE(Draw(0, 1).empty());
}

}  // namespace
}  // namespace tec
