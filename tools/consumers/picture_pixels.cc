// What the decoders make of files, for the comparison with Pillow: reads lines
//
//   PATH <tab> CHANNELS [<tab> TOP LEFT HEIGHT WIDTH]...
//
// and prints one for each: "ok HEIGHT WIDTH CHECKSUM [CHECKSUM]...", of the whole picture and of each box as a region
// of it, or "CODE MESSAGE". With 0 CHANNELS the file is a mask, whose pixels are numbers. A checksum is zlib's CRC-32
// of the pixels, row by row.

#include <zlib.h>

#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "data/image/decode.h"
#include "data/image/index_image.h"
#include "tec/base/file.h"
#include "tec/base/printable.h"
#include "tec/base/status.h"

namespace tec {
namespace {

uint32_t Checksum(const Image& image, const Box& box) {
  uint32_t crc = 0;
  for (int y = box.top; y < box.top + box.height; ++y) {
    crc = crc32_z(crc, image.row(y) + ptrdiff_t{image.channels()} * box.left, size_t{1} * image.channels() * box.width);
  }
  return crc;
}

absl::StatusOr<std::string> Describe(const std::vector<std::string>& fields) {
  TEC_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(fields[0]));
  int channels = 0;
  if (fields.size() < 2 || !absl::SimpleAtoi(fields[1], &channels)) return absl::InvalidArgumentError("no channels");
  Image image;
  TEC_RETURN_IF_ERROR(channels == 0 ? DecodeIndexImage(bytes, &image) : DecodeImage(bytes, &image, channels));
  std::string line = absl::StrCat("ok ", image.height(), " ", image.width(), " ",
                                  Checksum(image, Box{0, 0, image.height(), image.width()}));
  for (size_t i = 2; i < fields.size(); ++i) {
    std::vector<int> numbers;
    for (const absl::string_view number : absl::StrSplit(fields[i], ' ')) {
      numbers.emplace_back();
      if (!absl::SimpleAtoi(number, &numbers.back())) return absl::InvalidArgumentError("no number of a box");
    }
    if (numbers.size() != 4) return absl::InvalidArgumentError("no box");
    const Box box{numbers[0], numbers[1], numbers[2], numbers[3]};
    if (!box.FitsInto(image.height(), image.width())) return absl::InvalidArgumentError("the box does not fit");
    ImageRegion region;
    TEC_RETURN_IF_ERROR(DecodeImageRegion(
        bytes, [&box](int, int) { return box; }, &region, channels));
    absl::StrAppend(&line, " ", Checksum(region.pixels, region.InPixels(box)));
  }
  return line;
}

}  // namespace
}  // namespace tec

int main() {
  std::string line;
  while (std::getline(std::cin, line)) {
    const absl::StatusOr<std::string> result = tec::Describe(absl::StrSplit(line, '\t'));
    const std::string text =
        result.ok() ? *result
                    : absl::StrCat(absl::StatusCodeToString(result.status().code()), " ", result.status().message());
    std::printf("%s\n", tec::Printable(text).c_str());
    std::fflush(stdout);
  }
  return 0;
}
