// Accuracy where the reference has none (else: tools/goldens/check_evaluation.cc): ties, NaN, no images.

#include "eval/metrics/accuracy.h"

#include <cmath>
#include <limits>
#include <vector>

#include "gtest/gtest.h"

namespace tec {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

TEST(AccuracyTest, EqualValuesRankByClassNumber) {
  const std::vector<float> values = {1, 2, 2, 0, -0.0f};
  EXPECT_EQ(RankOfLabel(values, 1), 0);
  EXPECT_EQ(RankOfLabel(values, 2), 1);
  EXPECT_EQ(RankOfLabel(values, 0), 2);
  EXPECT_EQ(RankOfLabel(values, 3), 3);
  EXPECT_EQ(RankOfLabel(values, 4), 4);  // -0 equals 0.
}

TEST(AccuracyTest, NanNeverHelps) {
  EXPECT_EQ(RankOfLabel(std::vector<float>{kNan, 1, 0}, 1), 1);
  EXPECT_EQ(RankOfLabel(std::vector<float>{kNan, 1, 0}, 0), 2);
  EXPECT_EQ(RankOfLabel(std::vector<double>{std::nan(""), std::nan("")}, 0), 1);
}

TEST(AccuracyTest, CountsEachClassApart) {
  AccuracyCounter counter(3);
  counter.Add(std::vector<float>{2, 1, 0}, 0);
  counter.Add(std::vector<float>{2, 1, 0}, 0);
  counter.Add(std::vector<float>{2, 1, 0}, 1);
  EXPECT_NEAR(counter.top1(), 200.0 / 3, 1e-12);
  EXPECT_EQ(counter.top5(), 100);
  const std::vector<double> per_class = counter.PerClassTop1();
  EXPECT_EQ(per_class[0], 100);
  EXPECT_EQ(per_class[1], 0);
  EXPECT_TRUE(std::isnan(per_class[2]));
}

TEST(AccuracyTest, NoImagesIsNoAccuracy) {
  AccuracyCounter counter(6);
  EXPECT_TRUE(std::isnan(counter.top1()));
  EXPECT_TRUE(std::isnan(counter.top5()));
}

TEST(AccuracyDeathTest, RefusesALabelThatIsNoClass) {
  AccuracyCounter counter(2);
  EXPECT_DEATH(counter.Add(std::vector<float>{1, 2}, 2), "label 2 of 2");
  EXPECT_DEATH(counter.Add(std::vector<float>{1}, 0), "values.size");
}

}  // namespace
}  // namespace tec
