#include "tools/augment_preview/preview.h"

#include <cstring>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tec/base/random.h"

namespace tec {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;

Image Noise(int height, int width) {
  RandomStream stream(RandomKey{1, RandomPurpose::kPictures, 0, 0});
  Image image(height, width);
  for (size_t i = 0; i < image.size_bytes(); ++i) image.data()[i] = stream.NextUint32() >> 24;
  return image;
}

FinetuneTransform Transform() {
  FinetuneTransform::Options options;
  options.crop.size = 32;
  options.rand_augment = *ParseRandAugment("rand-m9-mstd0.5-inc1");
  return FinetuneTransform(options);
}

TEST(PreviewTest, ShowsTheEpochsOfARun) {
  const Image image = Noise(50, 60);
  const FinetuneTransform transform = Transform();
  PreviewOptions options;
  options.samples = 5;
  options.seed = 7;
  options.index = 11;
  const Preview preview = MakePreview(image, transform, options);
  ASSERT_EQ(preview.tiles.size(), 5);
  ASSERT_EQ(preview.descriptions.size(), 5);
  const SampleKey key{7, 3, 11};
  const SampleAugmentation drawn = transform.Draw(50, 60, key);
  EXPECT_EQ(preview.descriptions[3], SampleAugmentationToText(drawn));
  TransformScratch scratch;
  Image expected(32, 32);
  transform.Paint(image, drawn, &scratch, expected.data());
  EXPECT_EQ(std::memcmp(preview.tiles[3].data(), expected.data(), expected.size_bytes()), 0);
}

TEST(PreviewTest, PinnedStepsAndErasedBoxes) {
  const Image image = Noise(50, 60);
  PreviewOptions options;
  options.samples = 1;
  options.pinned = std::vector<AugmentStep>{{AugmentOp::kInvert, 0}};
  const Preview plain = MakePreview(image, Transform(), options);
  EXPECT_THAT(plain.descriptions[0], EndsWith("Invert"));
  options.erasing.probability = 1;
  options.erasing.mode = EraseMode::kConst;
  const Preview erased = MakePreview(image, Transform(), options);
  EXPECT_THAT(erased.descriptions[0], HasSubstr("Invert, erased rows "));
  int mean_colour = 0, other = 0;
  for (int i = 0; i < 32 * 32; ++i) {
    const uint8_t* pixel = erased.tiles[0].data() + 3 * i;
    // 255 * mean.
    if (pixel[0] == 124 && pixel[1] == 116 && pixel[2] == 104) {
      ++mean_colour;
    } else {
      other += std::memcmp(pixel, plain.tiles[0].data() + 3 * i, 3) != 0;
    }
  }
  EXPECT_EQ(other, 0);
  EXPECT_GE(mean_colour, 32 * 32 / 50 - 10);
}

}  // namespace
}  // namespace tec
