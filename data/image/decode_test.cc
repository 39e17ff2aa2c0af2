#include "data/image/decode.h"

#include <gtest/gtest.h>
#include <png.h>

#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"
#include "data/image/encode.h"
#include "data/image/fast_jpeg_flag.h"
#include "data/testing/golden_images.h"
#include "data/testing/make_jpeg.h"
#include "tec/base/random.h"

namespace tec {
namespace {

using ::tec::testing::ReadGolden;
using ::tec::testing::ReadGoldenImages;

// Largest difference of any channel; 256 if the sizes differ.
int LargestDifference(const Image& a, const Image& b) {
  if (a.height() != b.height() || a.width() != b.width()) return 256;
  int largest = 0;
  for (size_t i = 0; i < a.size_bytes(); ++i) largest = std::max(largest, std::abs(a.data()[i] - b.data()[i]));
  return largest;
}

TEST(DecodeImageTest, EveryGoldenFileGivesPilsPixelsOrItsError) {
  const auto index = nlohmann::json::parse(ReadGolden("images/index.json"));
  const auto expected = ReadGoldenImages("images/decoded.safetensors");
  int decoded = 0, refused = 0;
  Image image;  // One for all, as in the loader: nothing may remain of the file before.
  for (const auto& file : index["files"]) {
    const std::string name = file["file"];
    const absl::Status status = DecodeImage(ReadGolden("images/" + name), &image);
    if (file.contains("error")) {
      EXPECT_FALSE(status.ok()) << name;
      ++refused;
      continue;
    }
    ASSERT_TRUE(status.ok()) << name << ": " << status;
    EXPECT_EQ(LargestDifference(image, expected.at(name)), 0) << name;
    EXPECT_EQ(testing::Sha256(image), file["sha256"]) << name;
    ++decoded;
  }
  EXPECT_GT(decoded, 0);
  EXPECT_GT(refused, 0);
}

TEST(DecodeImageTest, ReasonsOfRefusal) {
  const auto code = [](const std::string& name) { return DecodeImage(ReadGolden("images/" + name)).status().code(); };
  EXPECT_EQ(code("empty.jpg"), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code("not_an_image.jpg"), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code("truncated.jpg"), absl::StatusCode::kDataLoss);
  EXPECT_EQ(code("no_end_marker.jpg"), absl::StatusCode::kDataLoss);
  EXPECT_EQ(code("truncated.png"), absl::StatusCode::kDataLoss);
  EXPECT_EQ(DecodeImage("<!DOCTYPE html><html>404</html>").status().code(), absl::StatusCode::kInvalidArgument);
}

// Every prefix of a file that lacks a row is refused with a status: never a crash, never an image of stale pixels.
TEST(DecodeImageTest, EveryPrefixWithoutItsLastRowIsRefused) {
  for (const char* name :
       {"narrow420.jpg", "progressive444.jpg", "odd420_restart.jpg", "rgb_jpeg.jpg", "bilevel.png"}) {
    const std::string whole = ReadGolden(std::string("images/") + name);
    // What may be missing: of a PNG its chunk IEND of 12 bytes and two checksums of 4; of a JPEG of one scan its end
    // marker, and what is before that has already been read for the last block.
    const bool one_scan = std::string(name) != "progressive444.jpg";
    const size_t needed = whole.size() - (whole[1] == 'P' ? 20 : one_scan ? 2 : 0);
    const absl::StatusOr<Image> expected = DecodeImage(whole);
    ASSERT_TRUE(expected.ok()) << name;
    Image image;
    int accepted = 0;
    for (size_t size = 0; size < whole.size(); ++size) {
      const bool decoded = DecodeImage(absl::string_view(whole).substr(0, size), &image).ok();
      EXPECT_FALSE(decoded && size < needed) << name << " cut to " << size;
      if (!decoded) continue;
      ++accepted;
      ASSERT_EQ(image.size_bytes(), expected->size_bytes());
      EXPECT_EQ(std::memcmp(image.data(), expected->data(), image.size_bytes()), 0) << name << " cut to " << size;
    }
    EXPECT_EQ(accepted > 0, whole[1] == 'P') << name;  // libjpeg wants a byte more than the last block has.
  }
}

// Changed bytes give a status or an image of the size in the header, never a crash (run it under --config=asan).
TEST(DecodeImageTest, DamageNeverCrashes) {
  int accepted = 0;
  for (const char* name :
       {"narrow420.jpg", "progressive444.jpg", "cmyk.jpg", "gray_alpha.png", "palette.png", "bilevel.png"}) {
    const std::string whole = ReadGolden(std::string("images/") + name);
    Image image;
    const size_t step = whole.size() / 150 + 1;
    for (size_t position = 0; position < whole.size(); position += step) {
      for (const int flip : {0x01, 0x80, 0xFF}) {
        std::string damaged = whole;
        damaged[position] ^= flip;
        // The size is part of what is damaged: a large one costs time, not memory safety.
        if (DecodeImage(damaged, &image).ok()) ++accepted;
      }
    }
  }
  // Complete but corrupt JPEG data are accepted, as PIL does.
  EXPECT_GT(accepted, 0);
}

// Pixels of `box` in the whole image equal those of the region, which is at least the box.
void ExpectRegionEqualsWhole(const std::string& what, const Image& whole, const Box& box, const ImageRegion& region) {
  ASSERT_EQ(region.height, whole.height()) << what;
  ASSERT_EQ(region.width, whole.width()) << what;
  const Box inside = region.InPixels(box);
  ASSERT_TRUE(inside.FitsInto(region.pixels.height(), region.pixels.width())) << what;
  for (int y = 0; y < box.height; ++y) {
    ASSERT_EQ(std::memcmp(region.pixels.row(inside.top + y) + 3 * inside.left, whole.row(box.top + y) + 3 * box.left,
                          3 * box.width),
              0)
        << what << ": box " << box.top << " " << box.left << " " << box.height << " " << box.width << ", row " << y;
  }
}

Box RandomBox(int height, int width, RandomStream& stream) {
  Box box;
  box.height = 1 + stream.UniformInt(height);
  box.width = 1 + stream.UniformInt(width);
  box.top = stream.UniformInt(height - box.height + 1);
  box.left = stream.UniformInt(width - box.width + 1);
  return box;
}

void ExpectRandomRegionsEqualWhole(const std::string& what, absl::string_view bytes, int boxes, RandomStream& stream) {
  const auto whole = DecodeImage(bytes);
  ASSERT_TRUE(whole.ok()) << what << ": " << whole.status();
  absl::SetFlag(&FLAGS_fast_jpeg, false);
  const auto by_libjpeg = DecodeImage(bytes);
  absl::SetFlag(&FLAGS_fast_jpeg, true);
  ASSERT_TRUE(by_libjpeg.ok()) << what << ": " << by_libjpeg.status();
  ASSERT_EQ(LargestDifference(*whole, *by_libjpeg), 0) << what;
  ImageRegion region;
  for (int i = 0; i < boxes; ++i) {
    Box box;
    const absl::Status status = DecodeImageRegion(
        bytes, [&](int height, int width) { return box = RandomBox(height, width, stream); }, &region);
    ASSERT_TRUE(status.ok()) << what << ": " << status;
    ExpectRegionEqualsWhole(what, *whole, box, region);
    if (::testing::Test::HasFatalFailure()) return;
  }
}

TEST(DecodeImageRegionTest, EqualsTheWholeImageForEveryGoldenFile) {
  RandomStream stream(RandomKey{1, RandomPurpose::kCrop, 0, 0});
  const auto index = nlohmann::json::parse(ReadGolden("images/index.json"));
  for (const auto& file : index["files"]) {
    const std::string name = file["file"];
    const std::string bytes = ReadGolden("images/" + name);
    if (!file.contains("error")) {
      ExpectRandomRegionsEqualWhole(name, bytes, 25, stream);
      continue;
    }
    // The first row alone: a file that is refused as a whole is refused.
    ImageRegion region;
    EXPECT_FALSE(DecodeImageRegion(
                     bytes,
                     [](int, int width) {
                       return Box{0, 0, 1, width};
                     },
                     &region)
                     .ok())
        << name;
  }
}

// All that JPEG files differ in: sizes around the blocks' edges, subsampling, restarts, scans, optimised tables, grey.
TEST(DecodeImageRegionTest, EqualsTheWholeImageForEveryKindOfJpeg) {
  RandomStream stream(RandomKey{2, RandomPurpose::kCrop, 0, 0});
  const int samplings[][2] = {{1, 1}, {2, 1}, {2, 2}, {1, 2}, {4, 1}, {4, 2}, {1, 4}};
  for (const auto& sampling : samplings) {
    for (int round = 0; round < 12; ++round) {
      testing::JpegKind kind;
      kind.horizontal = sampling[0];
      kind.vertical = sampling[1];
      kind.progressive = round % 3 == 1;
      kind.scan_per_component = round % 3 == 2;
      kind.restart_rows = round % 4 == 3 ? 1 : 0;
      kind.grey = round == 9;
      kind.quality = 30 + 6 * round;
      const int height = 1 + stream.UniformInt(150), width = 1 + stream.UniformInt(200);
      const std::string what =
          absl::StrCat(sampling[0], "x", sampling[1], " round ", round, ", ", height, " x ", width);
      ExpectRandomRegionsEqualWhole(what, testing::MakeJpeg(testing::NoisyGradient(height, width, round), kind), 25,
                                    stream);
    }
  }
}

// Wherever the data end or are damaged, the region is refused or shown as the whole image is.
TEST(DecodeImageRegionTest, RefusesWhatIsRefusedAsAWhole) {
  RandomStream stream(RandomKey{3, RandomPurpose::kCrop, 0, 0});
  int refused = 0, shown = 0;
  for (const char* name : {"narrow420.jpg", "progressive444.jpg", "odd420_restart.jpg", "gray.jpg", "s422.jpg"}) {
    const std::string bytes = ReadGolden(std::string("images/") + name);
    for (int round = 0; round < 150; ++round) {
      std::string damaged = bytes;
      const size_t position = stream.UniformInt(bytes.size());
      const int kind = round % 3;
      if (kind == 0) damaged.resize(position);
      if (kind == 1) damaged[position] ^= 1 << stream.UniformInt(8);
      if (kind == 2)
        damaged.replace(position, 2, std::string("\xFF") + static_cast<char>(0xC0 + stream.UniformInt(64)));
      const std::string what = absl::StrCat(name, " round ", round, " at ", position);
      const auto whole = DecodeImage(damaged);
      ImageRegion region;
      Box box;
      const absl::Status status = DecodeImageRegion(
          damaged, [&](int height, int width) { return box = RandomBox(height, width, stream); }, &region);
      ASSERT_EQ(status.code(), whole.status().code()) << what << ": " << status << " " << whole.status();
      ++(whole.ok() ? shown : refused);
      if (whole.ok()) ExpectRegionEqualsWhole(what, *whole, box, region);
    }
  }
  EXPECT_GT(refused, 100);
  EXPECT_GT(shown, 100);
}

TEST(DecodeImageTest, CorruptDataBeforeTheEndMarkerAreAccepted) {
  std::string bytes = ReadGolden("images/base420.jpg");
  for (size_t i = bytes.size() / 2; i < bytes.size() / 2 + 40; ++i) bytes[i] = 0x55;
  const absl::StatusOr<Image> image = DecodeImage(bytes);
  ASSERT_TRUE(image.ok()) << image.status();
  const auto expected = ReadGoldenImages("images/decoded.safetensors");
  EXPECT_GT(LargestDifference(*image, expected.at("base420.jpg")), 0);
  // The upper quarter lies before the damage.
  EXPECT_EQ(std::memcmp(image->data(), expected.at("base420.jpg").data(), image->size_bytes() / 4), 0);
}

// Writes height and width into a baseline JPEG's SOF0 segment.
std::string WithJpegSize(std::string bytes, int height, int width) {
  const size_t sof = bytes.find("\xFF\xC0");
  EXPECT_NE(sof, std::string::npos);
  bytes[sof + 5] = static_cast<char>(height >> 8);
  bytes[sof + 6] = static_cast<char>(height);
  bytes[sof + 7] = static_cast<char>(width >> 8);
  bytes[sof + 8] = static_cast<char>(width);
  return bytes;
}

TEST(DecodeImageTest, TooManyPixelsAreRefusedBeforeMemoryIsTaken) {
  const std::string jpeg = ReadGolden("images/one_pixel.jpg");
  EXPECT_EQ(DecodeImage(WithJpegSize(jpeg, 65500, 65500)).status().code(), absl::StatusCode::kResourceExhausted);
  // Above what libjpeg knows at all.
  EXPECT_EQ(DecodeImage(WithJpegSize(jpeg, 65535, 65535)).status().code(), absl::StatusCode::kDataLoss);

  // A PNG of 10^9 pixels: signature and IHDR are enough, with the right checksum.
  std::string png("\x89PNG\r\n\x1A\n\0\0\0\x0DIHDR\0\0\x7D\0\0\0\x7D\0\x08\x02\0\0\0", 29);
  uint32_t crc = 0xFFFFFFFF;
  for (const unsigned char byte : png.substr(12)) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) crc = crc & 1 ? crc >> 1 ^ 0xEDB88320 : crc >> 1;
  }
  crc = ~crc;
  for (int shift = 24; shift >= 0; shift -= 8) png.push_back(static_cast<char>(crc >> shift));
  png += std::string("\0\0\0\0IDAT", 8);
  const absl::Status status = DecodeImage(png).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_EQ(status.message(), "the PNG has 32000 x 32000 pixels, more than 178956970");
}

TEST(DecodeImageTest, EndlessScansAreRefused) {
  const std::string whole = ReadGolden("images/progressive444.jpg");
  // The last scan, from its SOS marker to EOI, over and over.
  const size_t scan = whole.rfind("\xFF\xDA");
  const size_t end = whole.rfind("\xFF\xD9");
  std::string bomb = whole.substr(0, end);
  for (int i = 0; i < 10000; ++i) bomb += whole.substr(scan, end - scan);
  bomb += whole.substr(end);
  const absl::Status status = DecodeImage(bomb).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
}

// A PNG of the given kind with the given rows, packed as PNG has them.
std::string MakePng(int width, int height, int bit_depth, int colour_type, int interlace,
                    const std::vector<std::string>& rows, const std::vector<png_color>& palette = {}) {
  std::string bytes;
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  png_set_write_fn(
      png, &bytes,
      [](png_structp p, png_bytep data, size_t size) {
        static_cast<std::string*>(png_get_io_ptr(p))->append(reinterpret_cast<char*>(data), size);
      },
      [](png_structp) {});
  png_set_IHDR(png, info, width, height, bit_depth, colour_type, interlace, PNG_COMPRESSION_TYPE_DEFAULT,
               PNG_FILTER_TYPE_DEFAULT);
  if (!palette.empty()) png_set_PLTE(png, info, palette.data(), palette.size());
  png_write_info(png, info);
  std::vector<png_bytep> pointers;
  for (const std::string& row : rows) pointers.push_back(reinterpret_cast<png_bytep>(const_cast<char*>(row.data())));
  png_write_image(png, pointers.data());
  png_write_end(png, info);
  png_destroy_write_struct(&png, &info);
  return bytes;
}

std::vector<int> Pixels(const absl::StatusOr<Image>& image) {
  EXPECT_TRUE(image.ok()) << image.status();
  if (!image.ok()) return {};
  return std::vector<int>(image->data(), image->data() + image->size_bytes());
}

// The expected values follow from the table of what PIL does (reliability.md 3.2): grey above 255 clips, every other
// 16-bit kind keeps its high byte, alpha is dropped.
TEST(DecodePngTest, SixteenBits) {
  using V = std::vector<int>;
  const auto decode = [](int type, const std::string& row, int width) {
    return Pixels(DecodeImage(MakePng(width, 1, 16, type, PNG_INTERLACE_NONE, {row})));
  };
  EXPECT_EQ(decode(PNG_COLOR_TYPE_GRAY, std::string("\0\x07\0\xFF\x01\0\x80\x10", 8), 4),
            (V{7, 7, 7, 255, 255, 255, 255, 255, 255, 255, 255, 255}));
  EXPECT_EQ(decode(PNG_COLOR_TYPE_GRAY_ALPHA, std::string("\x12\x34\0\0", 4), 1), (V{0x12, 0x12, 0x12}));
  EXPECT_EQ(decode(PNG_COLOR_TYPE_RGB, std::string("\x12\xFF\x34\0\x56\x80", 6), 1), (V{0x12, 0x34, 0x56}));
  EXPECT_EQ(decode(PNG_COLOR_TYPE_RGB_ALPHA, std::string("\x12\xFF\x34\0\x56\x80\0\0", 8), 1), (V{0x12, 0x34, 0x56}));
}

TEST(DecodePngTest, FewBits) {
  using V = std::vector<int>;
  EXPECT_EQ(Pixels(DecodeImage(MakePng(4, 1, 2, PNG_COLOR_TYPE_GRAY, PNG_INTERLACE_NONE, {"\x1B"}))),
            (V{0, 0, 0, 85, 85, 85, 170, 170, 170, 255, 255, 255}));
  EXPECT_EQ(Pixels(DecodeImage(MakePng(2, 1, 4, PNG_COLOR_TYPE_GRAY, PNG_INTERLACE_NONE, {"\x3C"}))),
            (V{51, 51, 51, 204, 204, 204}));
  EXPECT_EQ(Pixels(DecodeImage(
                MakePng(2, 1, 4, PNG_COLOR_TYPE_PALETTE, PNG_INTERLACE_NONE, {"\x10"}, {{9, 8, 7}, {1, 2, 3}}))),
            (V{1, 2, 3, 9, 8, 7}));
}

TEST(DecodePngTest, InterlacedEqualsPlain) {
  for (const int type :
       {PNG_COLOR_TYPE_GRAY, PNG_COLOR_TYPE_RGB, PNG_COLOR_TYPE_RGB_ALPHA, PNG_COLOR_TYPE_GRAY_ALPHA}) {
    const int channels = (type & PNG_COLOR_MASK_COLOR ? 3 : 1) + (type & PNG_COLOR_MASK_ALPHA ? 1 : 0);
    for (const int bit_depth : {8, 16}) {
      const int width = 13, height = 11;
      std::vector<std::string> rows(height, std::string(width * channels * bit_depth / 8, '\0'));
      unsigned value = 1;
      for (std::string& row : rows) {
        for (char& byte : row) byte = static_cast<char>((value = value * 1103515245 + 12345) >> 16);
      }
      const auto plain = Pixels(DecodeImage(MakePng(width, height, bit_depth, type, PNG_INTERLACE_NONE, rows)));
      EXPECT_EQ(plain, Pixels(DecodeImage(MakePng(width, height, bit_depth, type, PNG_INTERLACE_ADAM7, rows))))
          << "type " << type << ", " << bit_depth << " bits";
    }
  }
}

Image Gradient(int height, int width) {
  Image image(height, width);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      image.row(y)[3 * x] = 5 * x;
      image.row(y)[3 * x + 1] = 7 * y;
      image.row(y)[3 * x + 2] = 128 + 2 * x - y;
    }
  }
  return image;
}

TEST(EncodeTest, PngComesBackExactly) {
  const Image image = Gradient(17, 31);
  const auto bytes = EncodePng(image);
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  const auto decoded = DecodeImage(*bytes);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(LargestDifference(*decoded, image), 0);
}

TEST(EncodeTest, JpegComesBackNearlyAndTheSameEachTime) {
  const Image image = Gradient(17, 31);
  for (const bool progressive : {false, true}) {
    const JpegOptions options{100, /*subsample_chroma=*/false, progressive};
    const auto bytes = EncodeJpeg(image, options);
    ASSERT_TRUE(bytes.ok()) << bytes.status();
    EXPECT_EQ(*bytes, *EncodeJpeg(image, options));
    const auto decoded = DecodeImage(*bytes);
    ASSERT_TRUE(decoded.ok()) << decoded.status();
    // Quality 100 quantises with step 1; the two colour conversions round once each.
    EXPECT_LE(LargestDifference(*decoded, image), 3);
    EXPECT_GT(EncodeJpeg(image)->size(), 0u);
    EXPECT_LT(EncodeJpeg(image)->size(), bytes->size());
  }
}

TEST(EncodeTest, BadArguments) {
  EXPECT_EQ(EncodeJpeg(Image()).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(EncodePng(Image()).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(EncodeJpeg(Image(1, 65501)).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(EncodeJpeg(Gradient(2, 2), {0}).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace tec
