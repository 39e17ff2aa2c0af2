// Accuracy against the reference's (metrics.json), and where it has none: ties, NaN, few classes.

#include "eval/metrics/accuracy.h"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tec/base/file.h"

namespace tec {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// The reference sums float32 indicators and divides in float32.
constexpr double kFloat32Percent = 100 * 1.2e-7;

TEST(AccuracyTest, AgreesWithTheReference) {
  absl::StatusOr<std::string> text = ReadFile("tec/testing/goldens/metrics.json");
  ASSERT_TRUE(text.ok()) << text.status();
  const nlohmann::json golden = nlohmann::json::parse(*text);
  int compared_exactly = 0;
  for (const nlohmann::json& one : golden.at("cases")) {
    SCOPED_TRACE(one.at("name").get<std::string>());
    AccuracyCounter counter(one.at("classes").get<int64_t>());
    const auto targets = one.at("target").get<std::vector<int64_t>>();
    for (size_t i = 0; i < targets.size(); ++i) {
      counter.Add(one.at("logits")[i].get<std::vector<float>>(), targets[i]);
    }
    ASSERT_EQ(counter.images(), static_cast<int64_t>(targets.size()));
    const double got[2] = {counter.top1(), counter.top5()};
    for (int k = 0; k < 2; ++k) {
      const double low = one.at("ties_against_target")[k], high = one.at("ties_for_target")[k];
      EXPECT_GE(got[k], low - kFloat32Percent);
      EXPECT_LE(got[k], high + kFloat32Percent);
      if (low == high && one.at("reference").is_array()) {
        EXPECT_NEAR(got[k], one.at("reference")[k].get<double>(), kFloat32Percent);
        ++compared_exactly;
      }
    }
  }
  EXPECT_GT(compared_exactly, 0);
}

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
