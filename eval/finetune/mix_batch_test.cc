// What mixup.safetensors does not hold (tools/goldens/check_mixup.cc compares with that): erasing, and mixes of their
// own for each image.

#include "eval/finetune/mix_batch.h"

#include <vector>

#include "ATen/ATen.h"
#include "gtest/gtest.h"
#include "tec/testing/tensor_matchers.h"

namespace tec {
namespace {

using testing::TensorNear;

constexpr double kTolerance = 1e-6;  // Rounding.

TEST(MixBatchTest, EachImageItsOwnMix) {
  const at::Tensor images = at::arange(4 * 3 * 2 * 2, at::kFloat).view({4, 3, 2, 2}), before = images.clone();
  const at::Tensor labels = at::tensor(std::vector<int64_t>{0, 1, 2, 1}, at::kLong);
  const std::vector<Mix> mixes = {MixupOf(0.25), Mix(), CutmixOf(Box{0, 1, 2, 1}, 2, 2), MixupOf(0.5)};
  const at::Tensor mixed = MixImages(images, mixes);
  EXPECT_TRUE(at::equal(images, before));
  EXPECT_TRUE(TensorNear(mixed[0], images[0] * 0.25 + images[3] * 0.75, kTolerance));
  EXPECT_TRUE(at::equal(mixed[1], images[1]));
  EXPECT_TRUE(at::equal(mixed[2].narrow(2, 0, 1), images[2].narrow(2, 0, 1)));
  EXPECT_TRUE(at::equal(mixed[2].narrow(2, 1, 1), images[1].narrow(2, 1, 1)));
  EXPECT_TRUE(TensorNear(mixed[3], (images[3] + images[0]) * 0.5, kTolerance));
  const at::Tensor expected =
      at::tensor(std::vector<float>{0.25F, 0.75F, 0, 0, 1, 0, 0, 0.5F, 0.5F, 0.5F, 0.5F, 0}).view({4, 3});
  EXPECT_TRUE(TensorNear(MixTargets(labels, 3, 0, mixes), expected, kTolerance));
}

TEST(EraseBoxesTest, OverwritesTheBoxesAndNothingElse) {
  const at::Tensor images = at::zeros({2, 3, 4, 5});
  ErasedBox each, whole;
  each.box = Box{1, 2, 2, 1};
  each.values = {1, 2, 3, 4, 5, 6};
  whole.box = Box{2, 2, 1, 3};  // Over a part of the first.
  whole.values = {7, 8, 9};
  EraseBoxes({{}, {each, whole}}, images);
  EXPECT_EQ(images[0].abs().sum().item<float>(), 0);
  const at::Tensor expected = at::zeros({3, 4, 5});
  for (int c = 0; c < 3; ++c) {
    expected[c][1][2] = 1 + 2 * c;
    for (int x = 2; x < 5; ++x) expected[c][2][x] = 7 + c;
  }
  EXPECT_TRUE(at::equal(images[1], expected));
}

TEST(EraseBoxesTest, TakesAnyNumberOfChannels) {
  const at::Tensor images = at::zeros({1, 2, 3, 3});
  ErasedBox each, whole;
  each.box = Box{0, 0, 3, 1};
  each.values = {1, 2, 3, 4, 5, 6};
  whole.box = Box{0, 2, 1, 1};
  whole.values = {7, 8};
  EraseBoxes({{each, whole}}, images);
  EXPECT_TRUE(at::equal(images[0], at::tensor(std::vector<float>{1, 0, 7, 2, 0, 0, 3, 0, 0,  //
                                                                 4, 0, 8, 5, 0, 0, 6, 0, 0})
                                       .view({2, 3, 3})));
}

// Of tiny pictures sides are rounded down to nothing.
TEST(EraseBoxesTest, AnEmptyBoxIsNothing) {
  const at::Tensor images = at::ones({1, 3, 4, 5});
  ErasedBox each, whole;
  each.box = whole.box = Box{4, 0, 0, 2};
  whole.values = {7, 8, 9};
  EraseBoxes({{each, whole}}, images);
  EXPECT_TRUE(at::equal(images, at::ones({1, 3, 4, 5})));
}

}  // namespace
}  // namespace tec
