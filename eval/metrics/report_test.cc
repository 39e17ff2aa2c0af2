#include "eval/metrics/report.h"

#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "data/testing/peak_memory.h"
#include "gtest/gtest.h"
#include "tec/base/file.h"

namespace tec {
namespace {

constexpr double kRounding = 1e-12;

std::vector<double> LogOf(std::vector<double> probabilities) {
  for (double& p : probabilities) p = std::log(p) + 3;  // Logits are free up to a constant.
  return probabilities;
}

TEST(ReportTest, CountsWhatWasTakenForWhat) {
  ReportCounter counter(3);
  counter.Add(LogOf({0.7, 0.2, 0.1}), 0);
  counter.Add(LogOf({0.7, 0.2, 0.1}), 1);
  counter.Add(LogOf({0.1, 0.8, 0.1}), 1);
  counter.Add(LogOf({0.5, 0.3, 0.2}), 1);
  const ClassificationReport report = counter.Report();
  EXPECT_EQ(report.images, 4);
  EXPECT_EQ(report.top1, 50);
  EXPECT_EQ(report.top5, 100);  // Fewer than five classes.
  EXPECT_EQ(report.confusion, (Confusion{{{0, 0}, 1}, {{1, 0}, 2}, {{1, 1}, 1}}));
  EXPECT_EQ(report.images_of_class, (std::vector<int64_t>{1, 3, 0}));
  EXPECT_EQ(report.per_class_top1[0], 100);
  EXPECT_NEAR(report.per_class_top1[1], 100.0 / 3, kRounding);
  EXPECT_TRUE(std::isnan(report.per_class_top1[2]));  // An absent class has no accuracy, and is in no mean.
  EXPECT_NEAR(report.MeanPerClassTop1(), 200.0 / 3, 1e-10);
  EXPECT_NEAR(report.loss, -std::log(0.7 * 0.2 * 0.8 * 0.3) / 4, kRounding);
}

// Confidences 0.7 (twice, one right), 0.8 (right) and 0.5 (wrong) lie in bins of their own: 0.7 in (10/15, 11/15], 0.8
// in (11/15, 12/15], 0.5 in (7/15, 8/15].
TEST(ReportTest, CalibrationErrorByHand) {
  ReportCounter counter(3);
  counter.Add(LogOf({0.7, 0.2, 0.1}), 0);
  counter.Add(LogOf({0.7, 0.2, 0.1}), 1);
  counter.Add(LogOf({0.1, 0.79, 0.11}), 1);
  counter.Add(LogOf({0.5, 0.3, 0.2}), 1);
  const ClassificationReport report = counter.Report();
  EXPECT_NEAR(report.calibration_error, (2 * std::abs(0.5 - 0.7) + std::abs(1 - 0.79) + std::abs(0 - 0.5)) / 4,
              kRounding);
  ASSERT_EQ(report.bins.size(), 15u);
  EXPECT_EQ(report.bins[10].images, 2);
  EXPECT_NEAR(report.bins[10].confidence, 0.7, kRounding);
  EXPECT_EQ(report.bins[10].accuracy, 0.5);
  EXPECT_EQ(report.bins[0].images, 0);
  EXPECT_TRUE(std::isnan(report.bins[0].confidence));
}

// Votes are probabilities but for their sum: the report is that of their logarithms.
TEST(ReportTest, VotesAreProbabilities) {
  const std::vector<std::pair<std::vector<double>, int64_t>> images = {
      {{7, 2, 1}, 0}, {{7, 2, 1}, 1}, {{1, 7.9, 1.1}, 1}, {{5, 3, 2}, 2}};
  ReportCounter votes(3), logits(3);
  for (const auto& [image, label] : images) {
    votes.AddVotes(image, label);
    logits.Add(LogOf(image), label);
  }
  const ClassificationReport got = votes.Report(), expected = logits.Report();
  EXPECT_EQ(got.confusion, expected.confusion);
  EXPECT_EQ(got.top1, expected.top1);
  EXPECT_EQ(got.per_class_top1, expected.per_class_top1);
  EXPECT_NEAR(got.loss, -std::log(0.7 * 0.2 * 0.79 * 0.2) / 4, kRounding);
  EXPECT_NEAR(got.calibration_error, expected.calibration_error, kRounding);

  votes.AddVotes(std::vector<double>{0, 3, 0}, 0);  // No vote for what it is.
  EXPECT_TRUE(std::isinf(votes.Report().loss));
  EXPECT_EQ(votes.Report().bins.back().images, 1);
  EXPECT_TRUE(nlohmann::json::parse(FormatJson(ToJson(votes.Report(), {"a", "b", "c"})))["loss"].is_null());
}

// Five images counted by one, or shared by two: the same report.
TEST(ReportTest, SumsOfSharesAreTheWhole) {
  ReportCounter whole(6), first(6), second(6);
  const int64_t labels[] = {0, 3, 3, 5, 1};
  for (int i = 0; i < 5; ++i) {
    const std::vector<double> logits = {0.1 * i, 1, 2 - 0.3 * i, 0.5 * i, -1, 0.2};
    whole.Add(logits, labels[i]);
    (i % 2 == 0 ? first : second).Add(logits, labels[i]);
  }
  std::vector<double> sums = first.Sums();
  const std::vector<double> others = second.Sums();
  ASSERT_EQ(sums.size(), 6u * 6 + 2 * 6 + 47);
  for (size_t i = 0; i < sums.size(); ++i) sums[i] += others[i];
  const ClassificationReport got = ReportCounter(6, sums).Report(), expected = whole.Report();
  EXPECT_EQ(got.images, 5);
  EXPECT_EQ(got.top1, expected.top1);
  EXPECT_EQ(got.top5, expected.top5);
  EXPECT_NE(expected.top1, expected.top5);
  EXPECT_EQ(got.confusion, expected.confusion);
  EXPECT_EQ(got.images_of_class, expected.images_of_class);
  EXPECT_NEAR(got.loss, expected.loss, kRounding);
  EXPECT_NEAR(got.calibration_error, expected.calibration_error, kRounding);
  for (int bin = 0; bin < ReportCounter::kBins; ++bin) EXPECT_EQ(got.bins[bin].images, expected.bins[bin].images);
  for (int c : {0, 1, 3, 5}) EXPECT_EQ(got.per_class_top1[c], expected.per_class_top1[c]);
}

TEST(ReportTest, TheClassesOfImageNet21kFitInMemory) {
  constexpr int64_t kClasses = 21841;
  std::vector<ReportCounter> counters(4, ReportCounter(kClasses));  // As many as kNN has values of k.
  std::vector<float> logits(kClasses);
  for (int64_t image = 0; image < 100; ++image) {
    logits[image % 7] = 2;
    for (ReportCounter& counter : counters) counter.Add(logits, kClasses - 1 - image % 7);
    logits[image % 7] = 0;
  }
  std::vector<std::string> classes(kClasses);
  for (int64_t c = 0; c < kClasses; ++c) classes[c] = "c" + std::to_string(c);
  const ClassificationReport report = counters[0].Report();
  const auto json = nlohmann::json::parse(FormatJson({{"accuracy", ToJson(report, classes)}}));
  EXPECT_FALSE(json["accuracy"].contains("confusion"));
  EXPECT_EQ(json["accuracy"]["confused"].size(), 7u);
  EXPECT_EQ(json["accuracy"]["confused"][0], nlohmann::json({21839, 1, 15}));  // 100 = 14 * 7 + 2.
  EXPECT_NE(FormatReport(report, classes).find("another: c21839 for c1 (15), c21840 for c0 (15), c21834 for c6 (14)"),
            std::string::npos)
      << FormatReport(report, classes);

  // Added up over ranks, the rest remains, and what does not is said.
  const ClassificationReport shared = ReportCounter(kClasses, counters[0].Sums()).Report();
  EXPECT_EQ(shared.images, 100);
  EXPECT_FALSE(ToJson(shared, classes).contains("confused"));
  EXPECT_NE(FormatReport(shared, classes).find("another: not counted by several ranks for more than 4096 classes"),
            std::string::npos);
  EXPECT_EQ(WriteConfusion(shared, ::testing::TempDir() + "/none.npy").code(), absl::StatusCode::kFailedPrecondition);
  testing::ExpectPeakMemoryAtMost(300);
}

TEST(ReportTest, WritesTheWholeConfusionAsNumPyDoes) {
  ReportCounter counter(600);
  std::vector<double> logits(600);
  logits[258] = 1;
  counter.Add(logits, 3);
  counter.Add(logits, 258);
  counter.Add(logits, 3);
  const std::string path = ::testing::TempDir() + "/confusion.npy";
  ASSERT_TRUE(WriteConfusion(counter.Report(), path).ok());
  // numpy.save of an int64 array [[3, 258, 2], [258, 258, 1]].
  std::string expected("\x93NUMPY\x01\x00\x76\x00", 10);
  expected += "{'descr': '<i8', 'fortran_order': False, 'shape': (2, 3), }";
  expected += std::string(128 - 1 - expected.size(), ' ') + "\n";
  for (const auto& [low, high] : std::vector<std::pair<char, char>>{{3, 0}, {2, 1}, {2, 0}, {2, 1}, {2, 1}, {1, 0}}) {
    expected += std::string{low, high} + std::string(6, '\0');
  }
  EXPECT_EQ(*ReadFile(path), expected);
}

TEST(ReportTest, SurvivesExtremeLogits) {
  ReportCounter counter(2);
  counter.Add(std::vector<float>{1e30f, -1e30f}, 0);  // Certain: the last bin.
  counter.Add(std::vector<float>{std::numeric_limits<float>::quiet_NaN(), 0}, 0);
  const ClassificationReport report = counter.Report();
  EXPECT_EQ(report.bins.back().images, 1);
  EXPECT_EQ(report.confusion.at({0, 1}), 1);  // NaN is never the prediction.
  EXPECT_EQ(report.top1, 50);
  EXPECT_TRUE(std::isnan(ReportCounter(2).Report().top1));
}

TEST(ReportTest, TellsAndWritesThem) {
  ReportCounter counter(3);
  for (int i = 0; i < 3; ++i) counter.Add(std::vector<double>{0, 1, 0}, 0);
  counter.Add(std::vector<double>{0, 1, 0}, 1);
  const std::vector<std::string> classes = {"ant", "bee", "cat"};
  const std::string text = FormatReport(counter.Report(), classes);
  EXPECT_NE(text.find("1 of 3 classes have no held-out images"), std::string::npos) << text;
  EXPECT_NE(text.find("lowest: ant 0.0 %, bee 100.0 %"), std::string::npos) << text;
  EXPECT_NE(text.find("ant for bee (3)"), std::string::npos) << text;

  const std::string json = FormatJson({{"accuracy", ToJson(counter.Report(), classes)}, {"n", 4}});
  const nlohmann::json parsed = nlohmann::json::parse(json);
  EXPECT_EQ(parsed["accuracy"]["confusion"][0][1], 3);
  EXPECT_TRUE(parsed["accuracy"]["per_class_top1"][2].is_null());
  EXPECT_EQ(parsed["accuracy"]["top1"], 25);
  EXPECT_EQ(parsed["n"], 4);
  EXPECT_NE(json.find("\n      [0,3,0],\n"), std::string::npos) << json;  // A row of the matrix is a line.
}

TEST(ReportTest, ClassesMayBeCalledAnything) {
  ReportCounter counter(2);
  counter.Add(std::vector<double>{0, 1}, 0);
  const std::vector<std::string> classes = {"caf\xE9", "a\n\x1b[2J"};
  EXPECT_NE(FormatReport(counter.Report(), classes).find("caf\\xe9 for a\\x0a\\x1b[2J (1)"), std::string::npos);
  const auto json = nlohmann::json::parse(FormatJson({{"accuracy", ToJson(counter.Report(), classes)}}));
  EXPECT_EQ(json["accuracy"]["classes"], nlohmann::json({"caf\\xe9", "a\n\x1b[2J"}));
}

}  // namespace
}  // namespace tec
