#include "data/augment/random_erasing.h"

#include <algorithm>
#include <cmath>

#include "gtest/gtest.h"

namespace tec {
namespace {

RandomStream Stream(uint64_t sample) { return RandomStream(RandomKey{5, RandomPurpose::kErase, 0, sample}); }

EraseOptions Always(EraseMode mode, int most = 1) {
  EraseOptions options;
  options.probability = 1;
  options.mode = mode;
  options.most = most;
  return options;
}

TEST(DrawErasingTest, FollowsTheRule) {
  EraseOptions options;
  options.probability = 0.25;
  constexpr int kPictures = 4000;
  int touched = 0;
  double least_area = 1, most_area = 0, least_aspect = 9, most_aspect = 0;
  bool at_the_end = false;
  for (int i = 0; i < kPictures; ++i) {
    RandomStream stream = Stream(i);
    const std::vector<ErasedBox> boxes = DrawErasing(options, 224, 192, stream);
    ASSERT_LE(boxes.size(), 1);
    if (boxes.empty()) continue;
    ++touched;
    const Box& box = boxes[0].box;
    ASSERT_GE(box.top, 0);
    ASSERT_GE(box.left, 0);
    ASSERT_LE(box.top + box.height, 224);
    ASSERT_LE(box.left + box.width, 192);
    ASSERT_LT(box.width, 192);
    ASSERT_EQ(boxes[0].values.size(), size_t{3} * box.height * box.width);
    const double area = double(box.height) * box.width / (224.0 * 192), aspect = double(box.height) / box.width;
    least_area = std::min(least_area, area);
    most_area = std::max(most_area, area);
    least_aspect = std::min(least_aspect, aspect);
    most_aspect = std::max(most_aspect, aspect);
    at_the_end |= box.top + box.height == 224;
  }
  EXPECT_NEAR(touched, kPictures * 0.25, 5 * std::sqrt(kPictures * 0.25 * 0.75));
  // Sides are rounded by half a pixel of at least 16 (the square root of the area times the least aspect).
  EXPECT_NEAR(least_area, 0.02, 0.002);
  EXPECT_NEAR(most_area, 1.0 / 3, 0.01);
  EXPECT_NEAR(least_aspect, 0.3, 0.02);
  EXPECT_NEAR(most_aspect, 1 / 0.3, 0.2);
  EXPECT_TRUE(at_the_end);
}

// The draws in their order, written down once more: area, log aspect, corner.
TEST(DrawErasingTest, FollowsTheRecipe) {
  RandomStream stream = Stream(3), same = Stream(3);
  const Box box = DrawErasing(Always(EraseMode::kConst), 400, 400, stream).at(0).box;
  same.Bernoulli(1);
  same.UniformInt(1);
  const double area = 160000 * same.Uniform(0.02, 1.0 / 3);
  const double aspect = std::exp(same.Uniform(std::log(0.3), -std::log(0.3)));
  EXPECT_EQ(box.height, std::lround(std::sqrt(area * aspect)));
  EXPECT_EQ(box.width, std::lround(std::sqrt(area / aspect)));
  EXPECT_EQ(box.top, static_cast<int>(same.UniformInt(401 - box.height)));
  EXPECT_EQ(box.left, static_cast<int>(same.UniformInt(401 - box.width)));
}

TEST(DrawErasingTest, ManyBoxesShareTheArea) {
  const EraseOptions options = Always(EraseMode::kRand, 3);
  int counts[4] = {};
  double most_area = 0;
  for (int i = 0; i < 3000; ++i) {
    RandomStream stream = Stream(i);
    const std::vector<ErasedBox> boxes = DrawErasing(options, 300, 300, stream);
    ASSERT_LE(boxes.size(), 3);
    ++counts[boxes.size()];
    if (boxes.size() == 3) {
      for (const ErasedBox& erased : boxes) {
        most_area = std::max(most_area, erased.box.height * erased.box.width / 90000.0);
        ASSERT_EQ(erased.values.size(), 3);
        EXPECT_NE(erased.values[0], erased.values[1]);
      }
    }
  }
  EXPECT_EQ(counts[0], 0);
  for (int n = 1; n <= 3; ++n) EXPECT_NEAR(counts[n], 1000, 5 * std::sqrt(3000 * 2.0 / 9));
  EXPECT_NEAR(most_area, 1.0 / 9, 0.01);
}

TEST(DrawErasingTest, ConstIsZero) {
  RandomStream stream = Stream(1);
  const std::vector<ErasedBox> boxes = DrawErasing(Always(EraseMode::kConst), 30, 30, stream);
  ASSERT_EQ(boxes.size(), 1);
  EXPECT_EQ(boxes[0].values, std::vector<float>(3, 0));
}

TEST(DrawErasingTest, TinyPicturesMayHaveNoBox) {
  for (int i = 0; i < 200; ++i) {
    RandomStream stream = Stream(i);
    for (const ErasedBox& erased : DrawErasing(Always(EraseMode::kPixel), 1, 1, stream)) {
      EXPECT_EQ(erased.box.height, 0);  // Rounded down, as in the reference: nothing is painted.
    }
  }
}

TEST(DrawErasingTest, DependsOnTheKeyAlone) {
  RandomStream a = Stream(9), b = Stream(9), other = Stream(10);
  const EraseOptions options = Always(EraseMode::kPixel);
  const auto boxes = DrawErasing(options, 64, 64, a);
  EXPECT_EQ(boxes.at(0).values, DrawErasing(options, 64, 64, b).at(0).values);
  EXPECT_NE(boxes.at(0).values, DrawErasing(options, 64, 64, other).at(0).values);
}

TEST(FillNormalTest, IsNormal) {
  constexpr int kCount = 200001;  // Odd: the last pair is cut.
  std::vector<float> values(kCount + 1, 7);
  RandomStream stream = Stream(0);
  FillNormal(kCount, stream, values.data());
  EXPECT_EQ(values.back(), 7);
  double sum = 0, squares = 0, fourth = 0, products = 0;
  int within = 0;
  for (int i = 0; i < kCount; ++i) {
    const double v = values[i];
    sum += v;
    squares += v * v;
    fourth += v * v * v * v;
    within += std::abs(v) < 1;
    if (i > 0) products += v * values[i - 1];
  }
  const double root = std::sqrt(kCount);
  EXPECT_NEAR(sum / kCount, 0, 5 / root);
  EXPECT_NEAR(squares / kCount, 1, 5 * std::sqrt(2.0) / root);
  EXPECT_NEAR(fourth / kCount, 3, 5 * std::sqrt(96.0) / root);
  EXPECT_NEAR(static_cast<double>(within) / kCount, 0.682689, 5 * 0.466 / root);
  EXPECT_NEAR(products / kCount, 0, 5 / root);
}

TEST(ParseEraseModeTest, KnowsTheWords) {
  EXPECT_EQ(*ParseEraseMode("const"), EraseMode::kConst);
  EXPECT_EQ(*ParseEraseMode("rand"), EraseMode::kRand);
  EXPECT_EQ(*ParseEraseMode("pixel"), EraseMode::kPixel);
  EXPECT_FALSE(ParseEraseMode("noise").ok());
}

}  // namespace
}  // namespace tec
