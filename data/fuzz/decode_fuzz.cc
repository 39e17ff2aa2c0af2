// Any bytes to the image decoders: whole and by a region, as RGB, grey and the file's own channels; JPEG with and
// without
// --fast_jpeg, which must not differ. What decodes is read to its last byte, so that tools see memory that was never
// written. With TEC_FUZZ_FORMAT (BUILD) bytes of that
// format alone, so that libFuzzer spends its time on one decoder.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

#include "absl/flags/flag.h"
#include "data/image/decode.h"
#include "data/image/fast_jpeg_flag.h"

namespace {

// Aborts unless libjpeg alone decodes a region of the JPEG to the same.
void CompareWithLibjpeg(absl::string_view bytes, absl::FunctionRef<tec::Box(int, int)> choose,
                        const absl::Status& status, const tec::ImageRegion& region) {
  absl::SetFlag(&FLAGS_fast_jpeg, false);
  tec::ImageRegion slow;
  const absl::Status slow_status = tec::DecodeImageRegion(bytes, choose, &slow);
  absl::SetFlag(&FLAGS_fast_jpeg, true);
  if (slow_status != status) std::abort();
  if (!status.ok()) return;
  const tec::Image &a = region.pixels, &b = slow.pixels;
  if (slow.top != region.top || slow.left != region.left || a.height() != b.height() || a.width() != b.width() ||
      std::memcmp(a.data(), b.data(), a.size_bytes()) != 0) {
    std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view bytes(reinterpret_cast<const char*>(data), size);
#ifdef TEC_FUZZ_FORMAT
  if (tec::SniffImageFormat(bytes) != tec::ImageFormat::TEC_FUZZ_FORMAT) return -1;
#endif
  tec::ImageRegion region;
  // A box in the middle that depends on the file alone.
  const auto choose = [](int height, int width) {
    return tec::Box{height / 3, width / 3, height - height / 3 * 2, width - width / 3 * 2};
  };
  const absl::Status by_region = tec::DecodeImageRegion(bytes, choose, &region);
  if (tec::SniffImageFormat(bytes) == tec::ImageFormat::kJpeg) CompareWithLibjpeg(bytes, choose, by_region, region);
  // A file that claims to be large is decoded as a region alone: that takes long enough.
  if (int64_t{region.height} * region.width > (1 << 20)) return 0;
  if (!by_region.ok()) region = tec::ImageRegion();  // Its memory goes before the other's comes.
  tec::Image image;
  const absl::Status whole = tec::DecodeImage(bytes, &image);
  if (whole.code() != by_region.code()) std::abort();
  tec::Image other;
  if (tec::DecodeImage(bytes, &other, 1).code() != whole.code()) std::abort();
  // Kinds that have no RGB may be readable as what they are.
  for (const int channels : {2, 4, 5}) {
    if (!tec::DecodeImage(bytes, &other, channels).ok()) continue;
    uint32_t seen = 0;
    for (size_t i = 0; i < other.size_bytes(); ++i) seen = seen * 31 + other.data()[i];
    if (seen == 0x12345678) return -1;
  }
  if (!whole.ok()) return 0;
  uint32_t sum = 0;
  for (size_t i = 0; i < image.size_bytes(); ++i) sum = sum * 31 + image.data()[i];
  const tec::Box box = choose(region.height, region.width);
  for (int y = 0; y < box.height; ++y) {
    for (int x = 0; x < 3 * box.width; ++x) {
      const int there = region.pixels.row(box.top - region.top + y)[3 * (box.left - region.left) + x];
      if (image.row(box.top + y)[3 * box.left + x] != there) std::abort();
    }
  }
  return sum == 0x12345678 ? -1 : 0;  // A use of the sum; -1 only keeps an input out of libFuzzer's corpus.
}
