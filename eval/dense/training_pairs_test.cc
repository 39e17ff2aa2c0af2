// Squares of pictures and of their masks must show the same place.

#include "eval/dense/training_pairs.h"

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "data/image/encode.h"
#include "eval/testing/program.h"
#include "gtest/gtest.h"
#include "tec/base/file.h"

namespace tec {
namespace {

// A picture of height x width whose pixels are bright just where its mask is 3, and dark where it is 1.
std::shared_ptr<const MaskedPictures> OnePair(const std::string& folder, int height, int width, int mask_width = 0) {
  Image picture(height, width, 3), mask(height, mask_width == 0 ? width : mask_width, 1);
  std::fill_n(mask.data(), mask.size_bytes(), 1);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const bool on = x >= width / 2 && y >= height / 3;
      for (int c = 0; c < 3; ++c) picture.row(y)[3 * x + c] = on ? 250 : 50;
      if (on && x < mask.width()) mask.row(y)[x] = 3;
    }
  }
  EXPECT_TRUE(WriteFile(folder + "/picture.png", *EncodePng(picture)).ok());
  EXPECT_TRUE(WriteFile(folder + "/mask.png", *EncodePng(mask)).ok());
  return std::make_shared<const MaskedPictures>(
      std::vector<MaskedPictures::Entry>{{"picture.png", folder + "/picture.png", folder + "/mask.png"}});
}

ClassPlaces Places(int highest, const std::vector<int>& ignored) { return *ClassPlaces::Create(highest, ignored); }

TEST(ClassPlacesTest, LeavesOutIgnoredNumbers) {
  const ClassPlaces places = Places(5, {0, 3, 255});
  EXPECT_EQ(places.count(), 3);
  EXPECT_EQ(places.numbers(), (std::vector<int>{1, 2, 4}));
  Image mask(1, 6, 1);
  const uint8_t numbers[] = {0, 1, 2, 3, 4, 255};
  std::copy_n(numbers, 6, mask.data());
  ASSERT_TRUE(places.Map(&mask).ok());
  EXPECT_EQ(std::vector<int>(mask.data(), mask.data() + 6), (std::vector<int>{255, 0, 1, 255, 2, 255}));
  mask.data()[0] = 77;
  const absl::Status status = places.Map(&mask);
  EXPECT_NE(std::string(status.message()).find("the number 77, which is no class: those are 1 to 4"), std::string::npos)
      << status;
  EXPECT_FALSE(ClassPlaces::Create(1, {0}).ok());
  EXPECT_FALSE(ClassPlaces::Create(256, {}).ok());
}

TEST(PairTransformTest, PictureAndMaskShowTheSamePlace) {
  const std::string folder = testing::FreshFolder("pairs");
  constexpr int kSize = 32;
  int flipped = 0;
  for (const auto& [height, width] : {std::pair<int, int>{40, 64}, {64, 40}, {9, 12}}) {
    const auto pictures = OnePair(folder, height, width);
    EXPECT_EQ(*HighestNumber(*pictures, {255}), 4);
    EXPECT_EQ(*HighestNumber(*pictures, {3, 255}), 2);
    const PairTransform transform(kSize, 3, Places(4, {255}));
    ASSERT_EQ(transform.channels(), 4);
    std::string bytes;
    ASSERT_TRUE(PairedPictures(pictures).Read(0, &bytes).ok());
    TransformScratch scratch;
    int seen_beyond = 0, seen_shape = 0;
    std::vector<std::vector<uint8_t>> squares;
    for (uint64_t epoch = 0; epoch < 40; ++epoch) {
      std::vector<uint8_t> out(kSize * kSize * 4);
      ASSERT_TRUE(transform.Apply(bytes, SampleKey{7, epoch, 0}, &scratch, out.data()).ok());
      int wrong = 0, first = -1, last = -1;
      for (int i = 0; i < kSize * kSize; ++i) {
        const int value = out[4 * i], place = out[4 * i + 3];
        if (place == kNoClass) {
          ++seen_beyond;
          EXPECT_EQ(value, 0);
          continue;
        }
        ASSERT_TRUE(place == 1 || place == 3) << place;
        seen_shape += place == 3;
        if (place == 3) last = std::max(last, i % kSize), first = first < 0 ? i % kSize : std::min(first, i % kSize);
        wrong += (place == 3) != (value > 150);
      }
      flipped += first == 0 && last < kSize - 1;
      // Nearest and bicubic part ways on the edge alone: two lines of pixels.
      EXPECT_LE(wrong, 4 * kSize) << height << " x " << width << ", epoch " << epoch;
      squares.push_back(out);
    }
    EXPECT_NE(squares[0], squares[1]);
    std::vector<uint8_t> again(kSize * kSize * 4);
    ASSERT_TRUE(transform.Apply(bytes, SampleKey{7, 1, 0}, &scratch, again.data()).ok());
    EXPECT_EQ(again, squares[1]);
    EXPECT_GT(seen_beyond, 0);  // Half as large, each is smaller than the square.
    EXPECT_GT(seen_shape, 0);
  }
  EXPECT_GT(flipped, 0);
}

TEST(PairTransformTest, MasksOfAnotherSizeOrClassAreRefused) {
  const std::string folder = testing::FreshFolder("bad_pairs");
  std::string bytes;
  TransformScratch scratch;
  std::vector<uint8_t> out(16 * 16 * 4);
  ASSERT_TRUE(PairedPictures(OnePair(folder, 20, 30, 29)).Read(0, &bytes).ok());
  const absl::Status sizes = PairTransform(16, 3, Places(4, {})).Apply(bytes, SampleKey(), &scratch, out.data());
  EXPECT_NE(std::string(sizes.message()).find("the mask has 20 x 29 pixels, its picture 20 x 30"), std::string::npos);
  ASSERT_TRUE(PairedPictures(OnePair(folder, 20, 30)).Read(0, &bytes).ok());
  const absl::Status number = PairTransform(16, 3, Places(3, {})).Apply(bytes, SampleKey(), &scratch, out.data());
  EXPECT_NE(std::string(number.message()).find("the number 3"), std::string::npos) << number;
  std::filesystem::remove(folder + "/mask.png");
  const auto pictures = std::make_shared<const MaskedPictures>(
      std::vector<MaskedPictures::Entry>{{"p", folder + "/picture.png", folder + "/mask.png"}});
  const absl::Status missing = PairedPictures(pictures).Read(0, &bytes);
  EXPECT_NE(std::string(missing.message()).find("mask.png"), std::string::npos) << missing;
}

}  // namespace
}  // namespace tec
