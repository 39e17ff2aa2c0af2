// Masks by hand: numbers must come out as they went in, whatever the colours, and what is no mask is refused.

#include "data/image/index_image.h"

#include <png.h>

#include <algorithm>
#include <string>

#include "data/image/encode.h"
#include "data/testing/make_index_png.h"
#include "gtest/gtest.h"

namespace tec {
namespace {

using testing::MakeIndexPng;

TEST(IndexImageTest, NumbersAreKept) {
  for (const int colour_type : {PNG_COLOR_TYPE_PALETTE, PNG_COLOR_TYPE_GRAY}) {
    for (const int bits : {1, 2, 4, 8}) {
      for (const int interlace : {PNG_INTERLACE_NONE, PNG_INTERLACE_ADAM7}) {
        const int modulo = bits == 8 ? 19 : 1 << bits;
        Image image;
        ASSERT_TRUE(DecodeIndexImage(MakeIndexPng(colour_type, bits, modulo, interlace), &image).ok()) << bits;
        ASSERT_EQ(image.height(), 3);
        ASSERT_EQ(image.width(), 5);
        ASSERT_EQ(image.channels(), 1);
        for (int y = 0; y < 3; ++y) {
          for (int x = 0; x < 5; ++x)
            EXPECT_EQ(image.at(y, x, 0), (7 * y + x) % modulo) << bits << " " << y << " " << x;
        }
      }
    }
  }
}

// As for pictures: a mask is there once its last row is.
TEST(IndexImageTest, WhatFollowsTheLastRowNeedNotBeThere) {
  constexpr size_t kTrailer = 12, kChecksum = 4, kZlibChecksum = 4;  // IEND; of IDAT; of the pixels.
  for (const int interlace : {PNG_INTERLACE_NONE, PNG_INTERLACE_ADAM7}) {
    const std::string whole = MakeIndexPng(PNG_COLOR_TYPE_GRAY, 8, 19, interlace);
    Image expected;
    ASSERT_TRUE(DecodeIndexImage(whole, &expected).ok());
    const auto expect_same = [&](const std::string& bytes) {
      Image image;
      const absl::Status status = DecodeIndexImage(bytes, &image);
      ASSERT_TRUE(status.ok()) << status << " " << interlace;
      EXPECT_TRUE(std::equal(expected.data(), expected.data() + expected.size_bytes(), image.data()));
    };
    for (size_t cut = 0; cut <= kTrailer + kChecksum + kZlibChecksum; ++cut) {
      SCOPED_TRACE(cut);
      expect_same(whole.substr(0, whole.size() - cut));
    }
    const size_t data = whole.find("IDAT") + 4;
    std::string other = whole;
    other[data] = 0x08;  // A window of 256 bytes; the next byte makes both a multiple of 31.
    other[data + 1] = 0x1d;
    expect_same(other);
    other = whole;
    other[whole.size() - kTrailer - 1] ^= 1;  // IDAT's checksum.
    expect_same(other);
  }
}

// As Pillow 13.0 takes them: numbers are numbers, whatever is said of colours, and how often.
TEST(IndexImageTest, PalettesDoNotMatter) {
  const std::string whole = MakeIndexPng(PNG_COLOR_TYPE_PALETTE, 8, 19);
  Image expected;
  ASSERT_TRUE(DecodeIndexImage(whole, &expected).ok());
  std::string none = whole;
  none.erase(whole.find("PLTE") - 4, 12 + 3 * 256);
  for (const std::string& bytes : {testing::WithPalette(whole, 2), testing::WithPalette(whole, 256), none}) {
    Image image;
    const absl::Status status = DecodeIndexImage(bytes, &image);
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_TRUE(std::equal(expected.data(), expected.data() + expected.size_bytes(), image.data()));
  }
}

TEST(IndexImageTest, WhatIsNoMaskIsRefused) {
  Image image, rgb(4, 4, 3);
  std::fill_n(rgb.data(), rgb.size_bytes(), 7);
  const absl::Status colours = DecodeIndexImage(*EncodePng(rgb), &image);
  EXPECT_EQ(colours.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(std::string(colours.message()).find("a palette, or grey"), std::string::npos) << colours;
  const absl::Status jpeg = DecodeIndexImage(*EncodeJpeg(rgb), &image);
  EXPECT_EQ(jpeg.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(std::string(jpeg.message()).find("JPEG"), std::string::npos) << jpeg;
  EXPECT_EQ(DecodeIndexImage("", &image).code(), absl::StatusCode::kInvalidArgument);
  const std::string whole = MakeIndexPng(PNG_COLOR_TYPE_GRAY, 8, 19);
  for (size_t length = 8; length < whole.size() - 22; ++length) {
    EXPECT_FALSE(DecodeIndexImage(whole.substr(0, length), &image).ok()) << length;
  }
}

}  // namespace
}  // namespace tec
