#include "data/augment/random_resized_crop.h"

#include <gtest/gtest.h>

#include <cmath>
#include <tuple>

namespace tec {
namespace {

RandomStream Stream(uint64_t sample, uint64_t epoch = 0) {
  return RandomStream(RandomKey{5, RandomPurpose::kCrop, epoch, sample});
}

std::tuple<int, int, int, int> Tuple(const Box& box) { return {box.top, box.left, box.height, box.width}; }

TEST(RandomResizedCropTest, LiesInsideWithTheAskedAreaAndAspect) {
  const CropOptions options;
  const int height = 333, width = 500;
  double smallest_area = 1, largest_area = 0, smallest_ratio = 9, largest_ratio = 0;
  bool top_edge = false, bottom_edge = false;
  for (int sample = 0; sample < 4000; ++sample) {
    RandomStream stream = Stream(sample);
    const Box box = RandomResizedCrop(height, width, options, stream);
    ASSERT_GE(box.top, 0);
    ASSERT_GE(box.left, 0);
    ASSERT_GE(box.height, 1);
    ASSERT_GE(box.width, 1);
    ASSERT_LE(box.top + box.height, height);
    ASSERT_LE(box.left + box.width, width);
    const double area = double(box.height) * box.width / (double(height) * width);
    const double ratio = double(box.width) / box.height;
    smallest_area = std::min(smallest_area, area);
    largest_area = std::max(largest_area, area);
    smallest_ratio = std::min(smallest_ratio, ratio);
    largest_ratio = std::max(largest_ratio, ratio);
    top_edge |= box.top == 0;
    bottom_edge |= box.top + box.height == height;
  }
  // Sides are rounded by half a pixel: of the smallest crop's, about 160, that is 0.3 %.
  EXPECT_NEAR(smallest_area, 0.2, 0.003);
  EXPECT_GT(largest_area, 0.85);
  EXPECT_NEAR(smallest_ratio, 0.75, 0.01);
  EXPECT_NEAR(largest_ratio, 4.0 / 3, 0.01);
  // Both ends of the offsets are included.
  EXPECT_TRUE(top_edge && bottom_edge);
}

TEST(RandomResizedCropTest, DependsOnTheKeyAlone) {
  const CropOptions options;
  RandomStream a = Stream(7), again = Stream(7), other_sample = Stream(8), other_epoch = Stream(7, 1);
  const auto box = Tuple(RandomResizedCrop(333, 500, options, a));
  EXPECT_EQ(box, Tuple(RandomResizedCrop(333, 500, options, again)));
  EXPECT_NE(box, Tuple(RandomResizedCrop(333, 500, options, other_sample)));
  EXPECT_NE(box, Tuple(RandomResizedCrop(333, 500, options, other_epoch)));
}

// The draws in their order, written down once more: area, log aspect, top, left.
TEST(RandomResizedCropTest, FollowsTheRecipe) {
  RandomStream stream = Stream(11), same = Stream(11);
  const Box box = RandomResizedCrop(400, 400, CropOptions{0.1, 0.3, 0.75, 4.0 / 3}, stream);
  const double area = 160000 * same.Uniform(0.1, 0.3);
  const double aspect = std::exp(same.Uniform(std::log(0.75), std::log(4.0 / 3)));
  EXPECT_EQ(box.width, std::lround(std::sqrt(area * aspect)));
  EXPECT_EQ(box.height, std::lround(std::sqrt(area / aspect)));
  EXPECT_EQ(box.top, static_cast<int>(same.UniformInt(400 - box.height + 1)));
  EXPECT_EQ(box.left, static_cast<int>(same.UniformInt(400 - box.width + 1)));
}

TEST(RandomResizedCropTest, HalvesRoundToTheEvenNeighbour) {
  // Both sides are sqrt(25 / 4) = 2.5; rounding halves up would give 3.
  RandomStream stream = Stream(0);
  const Box box = RandomResizedCrop(5, 5, CropOptions{0.25, 0.25, 1.0, 1.0}, stream);
  EXPECT_EQ(box.height, 2);
  EXPECT_EQ(box.width, 2);
}

TEST(RandomResizedCropTest, FallsBackToTheCentre) {
  const CropOptions whole{1.0, 1.0, 0.75, 4.0 / 3};  // An area of 1 never fits into a strip.
  RandomStream stream = Stream(0);
  EXPECT_EQ(Tuple(RandomResizedCrop(30, 400, whole, stream)), std::make_tuple(0, 180, 30, 40));
  EXPECT_EQ(Tuple(RandomResizedCrop(400, 30, whole, stream)), std::make_tuple(180, 0, 40, 30));
  EXPECT_EQ(Tuple(RandomResizedCrop(1, 1000, whole, stream)), std::make_tuple(0, 499, 1, 1));
  EXPECT_EQ(Tuple(RandomResizedCrop(1, 1, CropOptions{}, stream)), std::make_tuple(0, 0, 1, 1));
}

}  // namespace
}  // namespace tec
