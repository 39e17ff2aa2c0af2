#include "tec/run/count_progress.h"

#include "gtest/gtest.h"

namespace tec {
namespace {

TEST(CountProgressTest, SaysRateAndTimeLeft) {
  EXPECT_EQ(FormatCount("features of train", 1000, 51000, 2),
            "features of train: 1000/51000 images, 500.0 images/s, 0:01:40 left");
  EXPECT_EQ(FormatCount("x", 0, 10, 2), "x: 0/10 images");
}

}  // namespace
}  // namespace tec
