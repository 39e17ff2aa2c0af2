#include "tec/optim/schedule.h"

#include <cmath>
#include <fstream>

#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace tec {
namespace {

constexpr double kRelativeTolerance = 1e-12;

TEST(ScheduleTest, MatchesTheReferenceOnEveryTableRow) {
  std::ifstream file("tec/testing/goldens/schedules.json");
  ASSERT_TRUE(file.good());
  const nlohmann::json json = nlohmann::json::parse(file);
  const double lr_scale = std::pow(0.65, 3);
  ASSERT_GE(json["schedules"].size(), 10u);
  for (const auto& row : json["schedules"]) {
    const double lr = EffectiveLearningRate(row["blr"], row["batch"], row["accum"], row["gpus"]);
    EXPECT_NEAR(lr, row["lr"].get<double>(), kRelativeTolerance * lr) << row["row"];
    const ScheduleOptions options = {lr, row["min_lr"], row["warmup"], row["epochs"]};
    ASSERT_GT(row["values"].size(), 5u);
    for (const auto& value : row["values"]) {
      const double expected = value[1], scaled = value[2];
      const double actual = LearningRate(options, value[0]);
      EXPECT_TRUE(std::abs(actual - expected) <= kRelativeTolerance * expected) << row["row"] << value << actual;
      EXPECT_TRUE(std::abs(actual * lr_scale - scaled) <= kRelativeTolerance * scaled) << row["row"] << value;
    }
  }
}

TEST(ScheduleTest, StartsAtZeroAndEndsAtTheMinimum) {
  const ScheduleOptions options = {1e-3, 1e-5, 5, 50};
  EXPECT_EQ(LearningRate(options, 0), 0);
  EXPECT_DOUBLE_EQ(LearningRate(options, 5), 1e-3);
  EXPECT_DOUBLE_EQ(LearningRate(options, 50), 1e-5);
  // Without warm-up the first update has the full rate.
  EXPECT_EQ(LearningRate({1e-3, 0, 0, 50}, 0), 1e-3);
}

}  // namespace
}  // namespace tec
