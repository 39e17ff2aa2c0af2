// Every format, on small files that data/testing/formats/make_formats.py wrote with what PIL makes
// of them.

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/match.h"
#include "data/image/decode.h"
#include "data/testing/golden_images.h"
#include "tec/base/file.h"
#include "tec/base/logging.h"

namespace tec {
namespace {

std::string ReadFormat(const std::string& name) {
  auto bytes = ReadFile("data/testing/formats/" + name);
  TEC_CHECK_OK(bytes);
  return *std::move(bytes);
}

nlohmann::json Files() { return nlohmann::json::parse(ReadFormat("index.json"))["files"]; }

TEST(DecodeFormatsTest, EveryFileGivesPilsPixelsOrItsError) {
  Image image;  // One for all, as in the loader: nothing may remain of the file before.
  int decoded = 0;
  for (const auto& file : Files()) {
    const std::string name = file["file"];
    const absl::Status status = DecodeImage(ReadFormat(name), &image);
    if (file.contains("error")) {
      EXPECT_FALSE(status.ok()) << name;
      continue;
    }
    EXPECT_TRUE(status.ok()) << name << ": " << status;
    if (!status.ok()) continue;
    EXPECT_EQ(image.height(), file["height"]) << name;
    EXPECT_EQ(image.width(), file["width"]) << name;
    EXPECT_EQ(testing::Sha256(image), file["sha256"]) << name;
    ++decoded;
  }
  EXPECT_GT(decoded, 80);
}

TEST(DecodeFormatsTest, GreyIsPilsConvertL) {
  Image image;
  int decoded = 0;
  for (const auto& file : Files()) {
    if (!file.contains("grey")) continue;
    const std::string name = file["file"];
    const absl::Status status = DecodeImage(ReadFormat(name), &image, 1);
    ASSERT_TRUE(status.ok()) << name << ": " << status;
    EXPECT_EQ(image.channels(), 1);
    EXPECT_EQ(testing::Sha256(image), file["grey"]) << name;
    ++decoded;
  }
  EXPECT_GT(decoded, 80);
}

TEST(DecodeFormatsTest, OtherChannelsAreTheFilesOwn) {
  Image image;
  int decoded = 0, refused = 0;
  for (const auto& file : Files()) {
    const std::string name = file["file"], bytes = ReadFormat(name);
    for (const int channels : {2, 4, 5, 6, 7, 12}) {
      const absl::Status status = DecodeImage(bytes, &image, channels);
      if (file.value("channels", 0) != channels) {
        EXPECT_FALSE(status.ok()) << name << " as " << channels;
        ++refused;
        continue;
      }
      ASSERT_TRUE(status.ok()) << name << ": " << status;
      EXPECT_EQ(image.channels(), channels);
      EXPECT_EQ(image.height(), file["stored_height"]) << name;
      EXPECT_EQ(image.width(), file["stored_width"]) << name;
      EXPECT_EQ(testing::Sha256(image), file["stored"]) << name;
      ++decoded;
    }
  }
  EXPECT_GT(decoded, 20);
  EXPECT_GT(refused, 500);
  const auto message = [&](const char* name, int channels) {
    return std::string(DecodeImage(ReadFormat(name), &image, channels).message());
  };
  EXPECT_EQ(message("rgb.png", 4), "the PNG has 3 channels, not the 4 asked for");
  EXPECT_EQ(message("rgba.png", 2), "the PNG has 4 channels, not the 2 asked for");
  EXPECT_EQ(message("bands5.tif", 4), "the TIFF has 5 channels, not the 4 asked for");
  EXPECT_EQ(message("palette.tif", 4), "the TIFF has 3 channels, not the 4 asked for");
  EXPECT_EQ(message("lossy_alpha.webp", 4),
            "a WebP image gives 1 channel or 3, not 4; other numbers are those of PNG and TIFF files");
  EXPECT_EQ(message("bands4_float.tif", 4),
            "TIFF images of photometric interpretation 1, 4 samples of 32 bits and format 3 are not supported");
}

TEST(DecodeFormatsTest, RegionsOfOtherChannelsAreTheWholeImage) {
  const Box box{2, 3, 6, 7};
  for (const auto& [file, channels] :
       {std::pair("bands5.tif", 5), std::pair("rgba.png", 4), std::pair("palette.gif", 1), std::pair("rgb.png", 3)}) {
    const auto whole = DecodeImage(ReadFormat(file), channels);
    ASSERT_TRUE(whole.ok()) << whole.status();
    ImageRegion region;
    ASSERT_TRUE(DecodeImageRegion(
                    ReadFormat(file), [&](int, int) { return box; }, &region, channels)
                    .ok());
    const Box there = region.InPixels(box);
    for (int y = 0; y < box.height; ++y) {
      for (int x = 0; x < box.width; ++x) {
        for (int c = 0; c < channels; ++c) {
          ASSERT_EQ(region.pixels.at(there.top + y, there.left + x, c), whole->at(box.top + y, box.left + x, c));
        }
      }
    }
  }
}

// A box of any format is cut out of the whole.
TEST(DecodeFormatsTest, RegionsAreTheWholeImage) {
  for (const char* name : {"lossy.webp", "palette.gif", "rgb.bmp", "colours.ppm", "strips.tif"}) {
    ImageRegion region;
    const absl::Status status = DecodeImageRegion(
        ReadFormat(name),
        [](int height, int width) {
          return Box{1, 2, height - 1, width - 2};
        },
        &region);
    ASSERT_TRUE(status.ok()) << name << ": " << status;
    EXPECT_EQ(region.pixels.height(), region.height) << name;
    EXPECT_EQ(region.pixels.width(), region.width) << name;
  }
}

// Prefixes, at any byte, give a status or, where only what comes after the pixels is missing, the same image.
TEST(DecodeFormatsTest, EveryPrefixIsRefusedOrWhole) {
  for (const auto& file : Files()) {
    if (file.contains("error")) continue;
    const std::string name = file["file"];
    const std::string whole = ReadFormat(name);
    Image image;
    int accepted = 0;
    for (size_t size = 0; size < whole.size(); ++size) {
      // In a heap block of its own, so that the address sanitizer sees reads beyond the end.
      const std::string prefix(whole, 0, size);
      if (!DecodeImage(prefix, &image).ok()) continue;
      // The last number of a plain file may have lost digits.
      if (absl::StartsWith(name, "plain") && size + 3 > whole.size()) continue;
      ++accepted;
      EXPECT_EQ(testing::Sha256(image), file["sha256"]) << name << " cut to " << size << " of " << whole.size();
    }
    // A colour profile, a second page or frame; of two files, whole pictures.
    const bool pictures = absl::StartsWith(name, "two_pictures") || absl::StartsWith(name, "animated_beside");
    EXPECT_LT(accepted, pictures ? 1400 : 700) << name;
  }
}

TEST(DecodeFormatsTest, RareKindsAreNamed) {
  EXPECT_EQ(DecodeImage(ReadFormat("five_bits.tif")).status().message(),
            "TIFF images of photometric interpretation 1, 1 samples of 5 bits and format 1 are not supported");
  for (const auto& [name, message] :
       {std::pair("twelve_bits.jpg", "JPEG images of this kind are not supported: Unsupported JPEG data precision 12"),
        std::pair("lossless.jpg",
                  "JPEG images of this kind are not supported: Unsupported color conversion request")}) {
    const absl::Status status = DecodeImage(ReadFormat(name)).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented) << name;
    EXPECT_EQ(status.message(), message) << name;
  }
  EXPECT_EQ(DecodeImage("P7\n2 2\n255\n............").status().code(), absl::StatusCode::kUnimplemented);
  EXPECT_EQ(DecodeImage(absl::string_view("\0\0\0\x0CjP  \r\n\x87\n", 12)).status().message(),
            "JPEG 2000 images are not supported");
}

}  // namespace
}  // namespace tec
