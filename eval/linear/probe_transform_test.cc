#include "eval/linear/probe_transform.h"

#include <cmath>

#include "gtest/gtest.h"

namespace tec {
namespace {

constexpr CropOptions kCrop = {0.08, 1.0, 3.0 / 4.0, 4.0 / 3.0};

TEST(SingleDrawCropTest, LiesInsideAndCoversTheRange) {
  int whole_height = 0, top = 0, bottom = 0;
  double smallest = 1, largest = 0;
  constexpr int kDraws = 2000;
  for (int i = 0; i < kDraws; ++i) {
    RandomStream stream(RandomKey{1, RandomPurpose::kCrop, 0, static_cast<uint64_t>(i)});
    const Box box = SingleDrawCrop(100, 200, kCrop, stream);
    ASSERT_GE(box.top, 0);
    ASSERT_GE(box.left, 0);
    ASSERT_GE(box.height, 1);
    ASSERT_GE(box.width, 1);
    ASSERT_LE(box.top + box.height, 100);
    ASSERT_LE(box.left + box.width, 200);
    const double area = box.height * box.width / 20000.0, aspect = static_cast<double>(box.width) / box.height;
    smallest = std::min(smallest, area);
    largest = std::max(largest, area);
    if (box.height == 100) {
      ++whole_height;  // The clamp: the aspect may be anything above.
      EXPECT_GE(aspect, 0.75 - 0.02);
    } else {
      // Rounded sides: at least 34 pixels of the smallest crop's 40 x 40.
      EXPECT_GE(aspect, 0.75 * (1 - 0.5 / 34) / (1 + 0.5 / 34));
      EXPECT_LE(aspect, 4.0 / 3 * (1 + 0.5 / 34) / (1 - 0.5 / 34));
    }
    top += box.top == 0;
    bottom += box.top + box.height == 100;
  }
  // Half and more of the areas need a height above 100: h = sqrt(area / aspect) > 100 for area / aspect > 10^4.
  EXPECT_GT(whole_height, kDraws / 4);
  EXPECT_NEAR(smallest, 0.08, 0.01);
  // The clamp keeps every crop of the wide image well below its area: at most 100 x sqrt(20000 * 4 / 3).
  EXPECT_LE(largest, std::sqrt(20000 * 4.0 / 3) / 200 + 0.01);
  EXPECT_GT(top, whole_height);
  EXPECT_GT(bottom, whole_height);
}

TEST(SingleDrawCropTest, TakesPicturesOfOnePixel) {
  RandomStream stream(RandomKey{1, RandomPurpose::kCrop, 0, 0});
  for (int i = 0; i < 50; ++i) {
    const Box box = SingleDrawCrop(1, 1, kCrop, stream);
    EXPECT_EQ(box.height, 1);
    EXPECT_EQ(box.width, 1);
  }
}

}  // namespace
}  // namespace tec
