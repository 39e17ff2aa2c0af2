// Scores counted by hand.

#include "eval/dense/segmentation_score.h"

#include <cmath>
#include <vector>

#include "gtest/gtest.h"

namespace tec {
namespace {

TEST(SegmentationScoreTest, CountsByHand) {
  SegmentationScore score({255});
  // 0: 3 true, 4 said, 2 right; 1: 3 true, 1 said, 1 right; 2: never true, 1 said.
  score.Add(std::vector<uint8_t>{0, 0, 0, 1}, std::vector<uint8_t>{0, 0, 2, 1});
  score.Add(std::vector<uint8_t>{1, 1, 255, 255}, std::vector<uint8_t>{0, 0, 1, 255});
  EXPECT_EQ(score.pixels(), 6);
  EXPECT_DOUBLE_EQ(score.Accuracy(), 50);
  EXPECT_DOUBLE_EQ(score.Iou(0), 40);
  EXPECT_DOUBLE_EQ(score.Iou(1), 100.0 / 3);
  EXPECT_DOUBLE_EQ(score.Iou(2), 0);
  EXPECT_TRUE(std::isnan(score.Iou(3)));
  EXPECT_EQ(score.Occurring(), (std::vector<int>{0, 1, 2}));
  EXPECT_DOUBLE_EQ(score.MeanIou(), (40 + 100.0 / 3) / 3);
  EXPECT_DOUBLE_EQ(score.MeanIouOf({0, 1, 2, 3}), (40 + 100.0 / 3) / 4);
  SegmentationData data;
  data.class_names = {"ground", "cat"};
  const auto json = score.ToJson(data);
  EXPECT_EQ(json.at("classes"), (std::vector<int>{0, 1, 2}));
  EXPECT_EQ(json.at("confusion").at(1), (std::vector<int>{2, 1, 0}));
  EXPECT_EQ(json.at("iou").at("0 ground"), 40);
  EXPECT_EQ(json.at("iou").at("2"), 0);
}

// As scikit-learn's jaccard_score over labels that are true or predicted.
TEST(SegmentationScoreTest, PredictingAnIgnoredNumberCostsAClass) {
  SegmentationScore score({255});
  score.Add(std::vector<uint8_t>{1, 1}, std::vector<uint8_t>{1, 255});
  EXPECT_DOUBLE_EQ(score.MeanIou(), 25);
}

TEST(SegmentationScoreTest, NothingIsNoNumber) {
  SegmentationScore score({0});
  score.Add(std::vector<uint8_t>{0}, std::vector<uint8_t>{1});
  EXPECT_TRUE(std::isnan(score.MeanIou()));
  EXPECT_TRUE(std::isnan(score.Accuracy()));
  EXPECT_TRUE(score.ToJson(SegmentationData()).at("miou").is_null());
}

}  // namespace
}  // namespace tec
