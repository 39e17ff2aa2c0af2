#include "data/augment/resize.h"

#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "data/augment/resize_reference.h"
#include "data/image/decode.h"
#include "data/testing/golden_images.h"
#include "tec/base/logging.h"
#include "tec/base/random.h"

namespace tec {
namespace {

using ::tec::testing::ReadGolden;
using ::tec::testing::ReadGoldenImages;
using ::tec::testing::Sha256;

Image Noise(int height, int width, uint64_t seed, int channels = 3) {
  RandomStream stream(RandomKey{seed, RandomPurpose::kPictures, 0, 0});
  Image image(height, width, channels);
  for (size_t i = 0; i < image.size_bytes(); ++i) image.data()[i] = stream.NextUint32() >> 24;
  return image;
}

bool SamePixels(const Image& a, const Image& b) {
  return a.height() == b.height() && a.width() == b.width() && a.channels() == b.channels() &&
         std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

void DecodeRegion(const std::string& file, absl::FunctionRef<Box(int, int)> choose, ImageRegion* region) {
  TEC_CHECK_OK(DecodeImageRegion(ReadGolden("images/" + file), choose, region));
}

ImageRegion Whole(const Image& image) {
  ImageRegion region;
  region.pixels.Resize(image.height(), image.width(), image.channels());
  std::memcpy(region.pixels.data(), image.data(), image.size_bytes());
  region.height = image.height();
  region.width = image.width();
  return region;
}

// Every test runs with each instruction set that this machine has.
class ResizeTest : public ::testing::TestWithParam<int64_t> {
 protected:
  void SetUp() override { UseResizeTargetForTest(GetParam()); }
  void TearDown() override { UseResizeTargetForTest(0); }
};
INSTANTIATE_TEST_SUITE_P(Targets, ResizeTest, ::testing::ValuesIn(ResizeTargets()));

TEST_P(ResizeTest, EveryGoldenCaseIsBitExact) {
  const auto golden = nlohmann::json::parse(ReadGolden("resize.json"));
  const auto inputs = ReadGoldenImages("images/decoded.safetensors");
  const auto tensors = ReadGoldenImages("resize.safetensors");
  ResizeScratch scratch;  // One for all, as in the loader.
  ImageRegion region;
  int crops = 0, evals = 0;
  for (const auto& c : golden["cases"]) {
    const int size = c["size"];
    const Image& input = inputs.at(c["file"]);
    Image result(size, size), from_file(size, size);
    if (c["op"] == "resized_crop") {
      const auto& b = c["box_ijhw"];
      const Box box{b[0], b[1], b[2], b[3]};
      ResizeBicubic(input, box, size, size, /*flip=*/false, &scratch, result.data());
      DecodeRegion(
          c["file"], [&](int, int) { return box; }, &region);
      ResizeBicubic(region, box, size, size, /*flip=*/false, &scratch, from_file.data());
      if (size <= 64 && GetParam() == ResizeTargets().front()) {  // The reference takes its time.
        EXPECT_TRUE(SamePixels(ResizeReference(ResizeFilter::kBicubic, input, box, size, size, false), result)) << c;
      }
      ++crops;
    } else {
      ASSERT_EQ(c["op"], "eval");
      EvalCrop(input, size, &scratch, result.data());
      DecodeRegion(
          c["file"], [&](int height, int width) { return EvalCropSource(height, width, size); }, &region);
      EvalCrop(region, size, &scratch, from_file.data());
      const EvalGeometry geometry = EvalCropGeometry(input.height(), input.width(), size);
      EXPECT_EQ(geometry.height, c["resized_hw"][0]) << c;
      EXPECT_EQ(geometry.width, c["resized_hw"][1]) << c;
      ++evals;
    }
    EXPECT_EQ(Sha256(result), c["sha256"]) << c;
    EXPECT_TRUE(SamePixels(from_file, result)) << c;
    if (c.contains("tensor")) {
      EXPECT_TRUE(SamePixels(result, tensors.at(c["tensor"]))) << c;
    }
  }
  EXPECT_GT(crops, 0);
  EXPECT_GT(evals, 0);
}

// Sizes around the block of the column pass, one-pixel sides, shrinking and stretching, boxes at the image's end, in
// RGB and in other numbers of channels.
TEST_P(ResizeTest, EqualsTheReference) {
  RandomStream stream(RandomKey{1, RandomPurpose::kCrop, 0, 0});
  ResizeScratch scratch;
  for (int round = 0; round < 120; ++round) {
    const int channels = std::vector<int>{3, 1, 3, 2, 3, 4, 5, 8}[round / 3 % 8];
    const Image image = Noise(1 + stream.UniformInt(90), 1 + stream.UniformInt(90), round, channels);
    Box box;
    box.height = 1 + stream.UniformInt(image.height());
    box.width = 1 + stream.UniformInt(image.width());
    box.top = round % 3 == 0 ? image.height() - box.height : stream.UniformInt(image.height() - box.height + 1);
    box.left = round % 3 == 0 ? image.width() - box.width : stream.UniformInt(image.width() - box.width + 1);
    const int height = round % 5 == 0 ? box.height : 1 + stream.UniformInt(50);
    const int width = round % 7 == 0 ? box.width : 1 + stream.UniformInt(50);
    const bool flip = round % 2 == 1;
    Image result(height, width, channels);
    const ResizeFilter filter = round % 4 == 0 ? ResizeFilter::kBilinear : ResizeFilter::kBicubic;
    Resize(filter, Whole(image), box, height, width, flip, &scratch, result.data());
    EXPECT_TRUE(SamePixels(result, ResizeReference(filter, image, box, height, width, flip)))
        << "box " << box.top << " " << box.left << " " << box.height << " " << box.width << " of " << image.height()
        << " x " << image.width() << " to " << height << " x " << width << ", " << channels << " channels";
  }
}

// Pillow 13:
//   y, x, c = numpy.mgrid[0:61, 0:47, 0:3]
//   image = Image.fromarray((7 * y * y + 13 * x + 50 * c * y + x * y).astype("uint8"))
//   hashlib.sha256(image.crop((left, top, left + width, top + height)).resize((out, out), Image.BILINEAR).tobytes())
TEST_P(ResizeTest, BilinearIsPillows) {
  Image image(61, 47);
  for (int y = 0; y < 61; ++y) {
    for (int x = 0; x < 47; ++x) {
      for (int c = 0; c < 3; ++c)
        image.row(y)[3 * x + c] = static_cast<uint8_t>(7 * y * y + 13 * x + 50 * c * y + x * y);
    }
  }
  struct Case {
    Box box;
    int size;
    const char* sha256;
  };
  ResizeScratch scratch;
  for (const Case& one : {
           Case{Box{0, 0, 61, 47}, 16, "d63cbcdb64fd611cbf13c8cc8295eaa652955f3d160c759fb06abcd38cad120c"},
           Case{Box{0, 0, 61, 47}, 96, "2ed6ac5b1e18792daa82b1d67f348eae17c704cfe666a1c878382a91c5c7f989"},
           Case{Box{5, 3, 50, 20}, 24, "df4530f223d5bc10a6896d591a93c2721e0f38b225d5433a9c0d7e24f2c28ae2"},
           Case{Box{20, 10, 9, 30}, 32, "34a88ba484ce382e9fc84409c4b9e61e6c8debb9adedcb2324f80c1b9ad1d791"},
           Case{Box{60, 46, 1, 1}, 8, "c326b6de6845b8b53cf5e3feb0d6b95a2d31b4ff509c54a0960e0a79032a4430"},
       }) {
    Image result(one.size, one.size);
    Resize(ResizeFilter::kBilinear, Whole(image), one.box, one.size, one.size, /*flip=*/false, &scratch, result.data());
    EXPECT_EQ(Sha256(result), one.sha256) << one.size;
  }
}

TEST_P(ResizeTest, EvalCropOfAStripShowsItsMiddle) {
  Image strip(1, 60001);
  std::memset(strip.data(), 10, strip.size_bytes());
  for (int x = 29990; x < 30011; ++x) std::memset(strip.row(0) + 3 * x, 200, 3);
  ResizeScratch scratch;
  Image result(224, 224);
  EvalCrop(strip, 224, &scratch, result.data());
  for (size_t i = 0; i < result.size_bytes(); ++i) ASSERT_EQ(result.data()[i], 200);
}

TEST_P(ResizeTest, PixelsOutsideTheBoxPlayNoPart) {
  Image image = Noise(40, 50, 3);
  const Box box{10, 12, 17, 19};
  ResizeScratch scratch;
  Image before(24, 24), after(24, 24);
  ResizeBicubic(image, box, 24, 24, false, &scratch, before.data());
  for (int y = 0; y < 40; ++y) {
    for (int x = 0; x < 50; ++x) {
      if (y >= 10 && y < 27 && x >= 12 && x < 31) continue;
      for (int c = 0; c < 3; ++c) image.row(y)[3 * x + c] ^= 0xFF;
    }
  }
  ResizeBicubic(image, box, 24, 24, false, &scratch, after.data());
  EXPECT_TRUE(SamePixels(before, after));
}

TEST_P(ResizeTest, FlippingTwiceIsNothing) {
  const Image image = Noise(9, 8, 4);
  ResizeScratch scratch;
  Image once(9, 8), twice(9, 8);
  ResizeBicubic(image, Box{0, 0, 9, 8}, 9, 8, /*flip=*/true, &scratch, once.data());
  EXPECT_EQ(once.at(2, 0, 1), image.at(2, 7, 1));
  ResizeBicubic(once, Box{0, 0, 9, 8}, 9, 8, /*flip=*/true, &scratch, twice.data());
  EXPECT_TRUE(SamePixels(twice, image));
}

TEST(ResizeDeathTest, BoxOutsideTheImage) {
  const Image image = Noise(9, 8, 5);
  ResizeScratch scratch;
  Image result(4, 4);
  EXPECT_DEATH(ResizeBicubic(image, Box{0, 1, 9, 8}, 4, 4, false, &scratch, result.data()), "box \\[0, 1, 9, 8\\]");
}

}  // namespace
}  // namespace tec
