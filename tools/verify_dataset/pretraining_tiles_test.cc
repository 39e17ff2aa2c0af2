// That crops and masks are those of a run.

#include "tools/verify_dataset/pretraining_tiles.h"

#include <cstring>
#include <string>
#include <vector>

#include "ATen/ops/tensor.h"
#include "data/image/encode.h"
#include "data/loader/transform.h"
#include "gtest/gtest.h"
#include "tec/nn/masking.h"

namespace tec {
namespace {

std::string Picture() {
  Image image(90, 160);
  for (int y = 0; y < image.height(); ++y) {
    for (int x = 0; x < image.width(); ++x) {
      image.row(y)[3 * x] = static_cast<uint8_t>(3 * y);
      image.row(y)[3 * x + 1] = static_cast<uint8_t>(x);
      image.row(y)[3 * x + 2] = 255;
    }
  }
  return *EncodePng(image);
}

TEST(PretrainingTilesTest, AreWhatARunSees) {
  PretrainingTilesOptions options;
  options.size = 64;
  options.patch_size = 8;
  options.index = 3;
  const std::string encoded = Picture();
  absl::StatusOr<std::vector<Image>> tiles = PretrainingTiles(encoded, options);
  ASSERT_TRUE(tiles.ok()) << tiles.status();
  ASSERT_EQ(tiles->size(), 3);

  // 160 pixels become 64, so 90 become 36: grey above and below.
  EXPECT_EQ((*tiles)[0].at(0, 32, 2), 128);
  EXPECT_EQ((*tiles)[0].at(32, 32, 2), 255);
  EXPECT_EQ((*tiles)[0].at(13, 0, 2), 128);
  EXPECT_EQ((*tiles)[0].at(14, 0, 2), 255);

  TrainTransform::Options transform;
  transform.size = 64;
  std::vector<uint8_t> crop(64 * 64 * 3);
  TransformScratch scratch;
  ASSERT_TRUE(TrainTransform(transform).Apply(encoded, SampleKey{5, 0, 3}, &scratch, crop.data()).ok());
  EXPECT_EQ(std::memcmp((*tiles)[1].data(), crop.data(), crop.size()), 0);

  const Masking masking = RandomMasking(MaskingNoise(5, 0, {3}, 64), 0.75);
  const float* mask = masking.mask.const_data_ptr<float>();
  int hidden = 0;
  for (int l = 0; l < 64; ++l) {
    const bool grey = (*tiles)[2].at(8 * (l / 8) + 4, 8 * (l % 8) + 4, 2) == 128;
    EXPECT_EQ(grey, mask[l] == 1) << l;
    hidden += grey;
  }
  EXPECT_EQ(hidden, 48);
}

TEST(PretrainingTilesTest, WhatCannotBeDecodedIsAnError) {
  EXPECT_FALSE(PretrainingTiles("no picture", PretrainingTilesOptions()).ok());
}

}  // namespace
}  // namespace tec
