#include "data/image/jpeg_huffman.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <csetjmp>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "data/image/box.h"
#include "data/image/image.h"
#include "data/testing/golden_images.h"
#include "data/testing/make_jpeg.h"
#include "tec/base/logging.h"
#include "tec/base/random.h"

namespace tec {
namespace {

using ::tec::testing::JpegKind;
using ::tec::testing::MakeJpeg;
using ::tec::testing::NoisyGradient;

// libjpeg with another decoder of Huffman codes in it, or its own.
class Libjpeg {
 public:
  enum class Result { kDecoded, kNotTaken, kGivenUp, kError };

  // Decodes the columns and rows of `box`, left and right up to where blocks begin, into `samples`; a box without
  // height is the whole image. No variable here may have a destructor: longjmp would pass it by.
  Result Decode(absl::string_view bytes, bool own, Box box, std::vector<uint8_t>* samples) {
    samples->clear();
    info_.err = jpeg_std_error(&error_);
    error_.error_exit = [](j_common_ptr info) { Self(info)->Stop(Result::kError); };
    error_.output_message = [](j_common_ptr) {};
    if (setjmp(jump_) != 0) {
      jpeg_destroy_decompress(&info_);
      return stopped_;
    }
    jpeg_create_decompress(&info_);
    info_.client_data = this;
    jpeg_mem_src(&info_, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
    jpeg_read_header(&info_, TRUE);
    jpeg_start_decompress(&info_);
    if (box.height == 0) box = Box{0, 0, static_cast<int>(info_.image_height), static_cast<int>(info_.image_width)};
    JDIMENSION left = box.left, columns = box.width;
    if (columns < info_.image_width) jpeg_crop_scanline(&info_, &left, &columns);
    if (own) {
      if (!JpegHuffman::Takes(&info_)) Stop(Result::kNotTaken);
      huffman_->Begin(&info_, left, columns, [](j_decompress_ptr info, JBLOCKROW* mcu) -> boolean {
        Libjpeg* self = Self(reinterpret_cast<j_common_ptr>(info));
        if (!self->huffman_->DecodeMcu(mcu)) self->Stop(Result::kGivenUp);
        return TRUE;
      });
    }
    const size_t row_bytes = size_t{columns} * info_.output_components;
    samples->resize(row_bytes * box.height);
    if (box.top > 0) jpeg_skip_scanlines(&info_, box.top);
    for (int y = 0; y < box.height; ++y) {
      uint8_t* row = samples->data() + y * row_bytes;
      jpeg_read_scanlines(&info_, &row, 1);
    }
    if (info_.output_scanline == info_.output_height) jpeg_finish_decompress(&info_);
    warnings_ = info_.err->num_warnings;
    jpeg_destroy_decompress(&info_);
    return Result::kDecoded;
  }

  // Of the last file that was decoded.
  long warnings() const { return warnings_; }

 private:
  static Libjpeg* Self(j_common_ptr info) { return static_cast<Libjpeg*>(info->client_data); }

  [[noreturn]] void Stop(Result result) {
    stopped_ = result;
    std::longjmp(jump_, 1);
  }

  jpeg_decompress_struct info_ = {};
  jpeg_error_mgr error_ = {};
  std::jmp_buf jump_;
  Result stopped_ = Result::kError;
  long warnings_ = 0;
  std::unique_ptr<JpegHuffman> huffman_ = std::make_unique<JpegHuffman>();
};

using Result = Libjpeg::Result;

Box RandomBox(int height, int width, RandomStream& stream) {
  Box box;
  box.height = 1 + stream.UniformInt(height);
  box.width = 1 + stream.UniformInt(width);
  box.top = stream.UniformInt(height - box.height + 1);
  box.left = stream.UniformInt(width - box.width + 1);
  return box;
}

// Decoded, and without a warning from libjpeg on its own.
void ExpectLibjpegsSamples(const std::string& what, absl::string_view bytes, const Box& box) {
  Libjpeg libjpeg;
  std::vector<uint8_t> expected, samples;
  ASSERT_EQ(libjpeg.Decode(bytes, /*own=*/false, box, &expected), Result::kDecoded) << what;
  ASSERT_EQ(libjpeg.warnings(), 0) << what;
  ASSERT_EQ(libjpeg.Decode(bytes, /*own=*/true, box, &samples), Result::kDecoded) << what;
  ASSERT_EQ(libjpeg.warnings(), 0) << what;
  ASSERT_TRUE(samples == expected) << what;
}

Result DecodedByOwn(absl::string_view bytes) {
  std::vector<uint8_t> samples;
  return Libjpeg().Decode(bytes, /*own=*/true, Box(), &samples);
}

// Sizes around the blocks' edges; each quality has other lengths of codes and values, and 100 with noise the longest.
TEST(JpegHuffmanTest, EveryKindOfRegularFile) {
  RandomStream stream(RandomKey{11, RandomPurpose::kCrop, 0, 0});
  const int samplings[][2] = {{1, 1}, {2, 1}, {2, 2}, {1, 2}, {4, 1}, {4, 2}, {1, 4}};
  const int qualities[] = {1, 10, 30, 50, 75, 85, 90, 95, 98, 100};
  int files = 0;
  for (const auto& sampling : samplings) {
    for (int round = 0; round < 40; ++round, ++files) {
      JpegKind kind;
      kind.horizontal = sampling[0];
      kind.vertical = sampling[1];
      kind.quality = qualities[round % 10];
      kind.grey = round % 7 == 6;
      kind.optimized = round % 3 == 1;
      kind.restart_rows = round % 8 == 3 ? 1 : 0;
      kind.restart_mcus = round % 8 == 5 ? 1 + round / 8 : 0;
      const int height = 1 + stream.UniformInt(150), width = 1 + stream.UniformInt(200);
      const std::string bytes = MakeJpeg(NoisyGradient(height, width, files), kind);
      const std::string what =
          absl::StrCat(sampling[0], "x", sampling[1], " round ", round, ", ", height, " x ", width);
      ExpectLibjpegsSamples(what, bytes, Box());
      for (int i = 0; i < 10; ++i) {
        const Box box = RandomBox(height, width, stream);
        ExpectLibjpegsSamples(absl::StrCat(what, ", box ", box.top, " ", box.left, " ", box.height, " ", box.width),
                              bytes, box);
      }
      if (HasFatalFailure()) return;
    }
  }
}

Image Noise(int height, int width) {
  RandomStream stream(RandomKey{13, RandomPurpose::kPictures, 0, 0});
  Image image(height, width);
  std::generate_n(image.data(), image.size_bytes(), [&] { return static_cast<uint8_t>(stream.NextUint32() >> 24); });
  return image;
}

// More than the buffer of plain bytes holds, many times, and the longest codes and values.
TEST(JpegHuffmanTest, LargeFiles) {
  for (const bool restarts : {false, true}) {
    JpegKind kind;
    kind.quality = 100;
    kind.restart_mcus = restarts ? 61 : 0;
    const std::string bytes = MakeJpeg(Noise(600, 800), kind);
    ASSERT_GT(bytes.size(), 300000u);
    ExpectLibjpegsSamples("whole", bytes, Box());
    ExpectLibjpegsSamples("part", bytes, Box{301, 333, 111, 77});
  }
}

TEST(JpegHuffmanTest, FilesFromElsewhere) {
  for (const char* name :
       {"base420.jpg", "s444.jpg", "s422.jpg", "gray.jpg", "cmyk.jpg", "flat422.jpg", "narrow420.jpg",
        "odd420_restart.jpg", "one_pixel.jpg", "quality10.jpg", "quality100.jpg", "rgb_jpeg.jpg"}) {
    ExpectLibjpegsSamples(name, testing::ReadGolden(absl::StrCat("images/", name)), Box());
  }
}

TEST(JpegHuffmanTest, OtherKindsAreNotTaken) {
  const Image image = NoisyGradient(40, 50, 0);
  JpegKind kind;
  kind.progressive = true;
  EXPECT_EQ(DecodedByOwn(MakeJpeg(image, kind)), Result::kNotTaken);
  kind.progressive = false;
  kind.scan_per_component = true;
  EXPECT_EQ(DecodedByOwn(MakeJpeg(image, kind)), Result::kNotTaken);

  kind.scan_per_component = false;
  std::string bytes = MakeJpeg(image, kind);
  ASSERT_EQ(DecodedByOwn(bytes), Result::kDecoded);
  // The last of a scan header of three components are the limits of the spectrum, of which libjpeg only warns.
  const size_t header = bytes.find("\xFF\xDA");
  ASSERT_EQ(bytes[header + 12], 63);
  bytes[header + 12] = 0;
  EXPECT_EQ(DecodedByOwn(bytes), Result::kNotTaken);
}

// Where the coded data of a file with one scan begin.
size_t ScanBegin(const std::string& bytes) {
  const size_t header = bytes.find("\xFF\xDA");
  TEC_CHECK(header != std::string::npos);
  return header + 2 + (bytes[header + 2] << 8 | bytes[header + 3]);
}

TEST(JpegHuffmanTest, GivesUpWhereverTheDataEnd) {
  for (const int restart_mcus : {0, 5}) {
    JpegKind kind;
    kind.restart_mcus = restart_mcus;
    const std::string whole = MakeJpeg(NoisyGradient(48, 64, 3), kind);
    ASSERT_EQ(DecodedByOwn(whole), Result::kDecoded);
    for (size_t size = ScanBegin(whole); size < whole.size(); ++size) {
      EXPECT_EQ(DecodedByOwn(whole.substr(0, size)), Result::kGivenUp) << size;
      EXPECT_EQ(DecodedByOwn(whole.substr(0, size) + "\xFF\xD9"),
                size == whole.size() - 2 ? Result::kDecoded : Result::kGivenUp)
          << size;
    }
  }
}

TEST(JpegHuffmanTest, GivesUpOnAnythingUnusual) {
  JpegKind kind;
  kind.restart_mcus = 5;
  const std::string whole = MakeJpeg(NoisyGradient(48, 64, 3), kind);
  const size_t begin = ScanBegin(whole), end = whole.size() - 2, restart = whole.find("\xFF\xD0", begin);
  ASSERT_LT(restart, end);
  ASSERT_EQ(DecodedByOwn(whole), Result::kDecoded);
  const auto with = [&](size_t position, size_t removed, const std::string& inserted) {
    return DecodedByOwn(std::string(whole).replace(position, removed, inserted));
  };
  using namespace std::string_literals;
  EXPECT_EQ(with(end, 0, "\x55"), Result::kGivenUp) << "a byte too many at the end";
  EXPECT_EQ(with(end, 0, "\xFF"), Result::kGivenUp) << "a byte that fills up before the end marker";
  EXPECT_EQ(with(end, 0, "\xFF\xD3"), Result::kGivenUp) << "a restart marker at the end";
  EXPECT_EQ(with(end, 2, "\xFF\xDA"), Result::kGivenUp) << "another scan";
  EXPECT_EQ(with(end, 2, "\xFF\x00"s), Result::kGivenUp) << "no marker";
  EXPECT_EQ(with(restart, 2, "\xFF\xD1"), Result::kGivenUp) << "another restart marker";
  EXPECT_EQ(with(restart, 2, ""), Result::kGivenUp) << "no restart marker";
  EXPECT_EQ(with(restart, 0, "\x55"), Result::kGivenUp) << "a byte too many before a restart";
  EXPECT_EQ(with(restart - 1, 1, ""), Result::kGivenUp) << "a byte too few before a restart";
  EXPECT_EQ(with(restart + 2, 0, "\xFF\xD1"), Result::kGivenUp) << "nothing between restarts";
  EXPECT_EQ(with(begin, 4, "\xFF\x00\xFF\x00"s), Result::kGivenUp) << "ones alone, which no code is";
}

// What is damaged is given up, or is a regular file after all and gives libjpeg's samples, without a warning.
TEST(JpegHuffmanTest, DamageIsGivenUpOrDecodedAsLibjpegDoes) {
  RandomStream stream(RandomKey{12, RandomPurpose::kCrop, 0, 0});
  int given_up = 0, decoded = 0;
  for (int round = 0; round < 1500; ++round) {
    JpegKind kind;
    kind.horizontal = kind.vertical = 1 + round % 2;
    kind.restart_mcus = round % 3 == 2 ? 4 : 0;
    kind.optimized = round % 5 == 4;
    kind.quality = 50 + round % 50;
    const int height = 1 + stream.UniformInt(60), width = 1 + stream.UniformInt(60);
    std::string bytes = MakeJpeg(NoisyGradient(height, width, round), kind);
    const size_t begin = ScanBegin(bytes);
    bytes[begin + stream.UniformInt(bytes.size() - begin)] ^= 1 << stream.UniformInt(8);
    Libjpeg libjpeg;
    std::vector<uint8_t> expected, samples;
    const Box box = round % 4 == 3 ? RandomBox(height, width, stream) : Box();
    const Result result = libjpeg.Decode(bytes, /*own=*/true, box, &samples);
    if (result != Result::kDecoded) {
      ASSERT_EQ(result, Result::kGivenUp) << round;
      ++given_up;
      continue;
    }
    ++decoded;
    EXPECT_EQ(libjpeg.warnings(), 0) << round;
    ASSERT_EQ(libjpeg.Decode(bytes, /*own=*/false, box, &expected), Result::kDecoded) << round;
    EXPECT_EQ(libjpeg.warnings(), 0) << round;
    ASSERT_TRUE(samples == expected) << round;
  }
  EXPECT_GT(given_up, 100);
  EXPECT_GT(decoded, 100);
}

}  // namespace
}  // namespace tec
