// Against Pillow 13: Image.fromarray(numpy.arange(n, dtype="uint8")[None]).resize((m, 1), Image.NEAREST).

#include "data/augment/resize_nearest.h"

#include <vector>

#include "gtest/gtest.h"

namespace tec {
namespace {

TEST(ResizeNearestTest, PicksPillowsPixels) {
  const struct {
    int from, to;
    std::vector<int> expected;
  } cases[] = {{7, 3, {1, 3, 5}},
               {3, 7, {0, 0, 1, 1, 1, 2, 2}},
               {10, 4, {1, 3, 6, 8}},
               {4, 10, {0, 0, 1, 1, 1, 2, 2, 2, 3, 3}},
               {13, 9, {0, 2, 3, 5, 6, 7, 9, 10, 12}},
               {9, 13, {0, 1, 1, 2, 3, 3, 4, 5, 5, 6, 7, 7, 8}},
               {5, 5, {0, 1, 2, 3, 4}}};
  for (const auto& c : cases) {
    Image wide(2, c.from, 1), high(c.from, 2, 1);
    for (int i = 0; i < c.from; ++i) {
      wide.row(0)[i] = wide.row(1)[i] = static_cast<uint8_t>(i);
      high.row(i)[0] = high.row(i)[1] = static_cast<uint8_t>(i);
    }
    std::vector<uint8_t> out(c.to);
    ResizeNearest(wide, 1, c.to, out.data());
    EXPECT_EQ(std::vector<int>(out.begin(), out.end()), c.expected) << c.from << " to " << c.to;
    ResizeNearest(high, c.to, 1, out.data());
    EXPECT_EQ(std::vector<int>(out.begin(), out.end()), c.expected) << c.from << " to " << c.to;
  }
}

}  // namespace
}  // namespace tec
