// JPEG through libjpeg-turbo with its default settings (accurate integer DCT, fancy upsampling), which are PIL's.
//
// libjpeg itself fills up a file that ends early and only warns. PIL hands it the file piece by piece and gives up when
// libjpeg asks for more before it has given the last row; so does the source manager here, so the same files are
// refused. After the last row an end marker may be missing. Damage that leaves the markers in place is filled up with a
// warning in both.
//
// A region costs no more than it must: rows above it are entropy-decoded only, columns beside it are entropy-decoded
// only, and rows below it are not decoded at all. What decides whether a file is refused does not depend on the region.
//
// Huffman decoding, two thirds of the time, is done by JpegHuffman where the file is regular, and by libjpeg where not.

#include "data/image/decode_jpeg.h"

#include <algorithm>
#include <csetjmp>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <utility>

// jpeglib.h needs the three above it.
#include <jerror.h>
#include <jpeglib.h>

#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"
#include "data/image/decode.h"
#include "data/image/decode_formats.h"
#include "data/image/fast_jpeg_flag.h"
#include "data/image/jpeg_huffman.h"
#include "tec/base/logging.h"

namespace tec {
namespace {

// Columns and rows decoded beside those asked for. Fancy upsampling mixes a chroma sample with its neighbours, and at
// the edge of what is decoded it takes the edge itself for the neighbour: with the widest subsampling, 4, that
// falsifies 4 pixels.
constexpr int kMargin = 4;
// libjpeg takes a plainer upsampling for images that are fewer chroma samples wide than it looks at.
constexpr int kMinDecodedWidth = 32;
// An upper limit of the columns decoded on either side of a box: the margin and a block of the widest subsampling.
constexpr int kMaxSideColumns = 64;
// Huffman tables, quantisation tables, some rows.
constexpr int64_t kLeastJpegMemory = int64_t{1} << 20;

// PIL's ImageFile.MAXBLOCK: so many bytes of a file at a time go to the decoder.
constexpr size_t kPilBlock = 65536;

// kIrregular: JpegHuffman does not decode it; libjpeg has to, from the start.
enum class Outcome { kDone, kIrregular, kTruncated, kTooLarge, kTooManyScans, kError };

// One row of CMYK as libjpeg gives it. Like PIL, takes every file for Adobe's, which stores 255 - ink.
void CmykToRgb(const uint8_t* stored, int width, uint8_t* rgb) {
  for (int x = 0; x < width; ++x, stored += 4, rgb += 3) {
    const int not_black = stored[3];
    for (int c = 0; c < 3; ++c) {
      rgb[c] = ColourOfInk(255 - stored[c], not_black);
    }
  }
}

class JpegDecoder {
 public:
  JpegDecoder() {
    info_.err = jpeg_std_error(&error_);
    error_.error_exit = [](j_common_ptr info) { Self(info)->Stop(Outcome::kError); };
    error_.output_message = [](j_common_ptr) {};
    info_.client_data = this;
    source_.init_source = [](j_decompress_ptr) {};
    source_.fill_input_buffer = [](j_decompress_ptr) -> boolean { return FALSE; };  // There is no more.
    source_.skip_input_data = [](j_decompress_ptr info, long count) {
      if (count <= 0) return;
      const size_t skipped = std::min<size_t>(count, info->src->bytes_in_buffer);
      info->src->next_input_byte += skipped;
      info->src->bytes_in_buffer -= skipped;
    };
    source_.resync_to_restart = jpeg_resync_to_restart;
    source_.term_source = [](j_decompress_ptr) {};
    progress_.progress_monitor = [](j_common_ptr info) {
      auto* self = Self(info);
      if (self->info_.input_scan_number > kMaxJpegScans) self->Stop(Outcome::kTooManyScans);
    };
  }
  // Also right for an object that jpeg_create_decompress never reached: its mem is null then.
  ~JpegDecoder() { jpeg_destroy_decompress(&info_); }
  JpegDecoder(const JpegDecoder&) = delete;
  JpegDecoder& operator=(const JpegDecoder&) = delete;

  // Decodes at least the box that `choose` names; without `choose` the whole image. `fast`: by JpegHuffman if it takes
  // the file.
  // No variable here may have a destructor: longjmp would pass it by.
  Outcome Decode(const uint8_t* bytes, size_t size, const absl::FunctionRef<Box(int, int)>* choose, bool fast,
                 ImageRegion* region) {
    if (setjmp(jump_) != 0) return stopped_;
    jpeg_create_decompress(&info_);  // Clears all but err and client_data.
    info_.mem->max_memory_to_use = kMaxDecodeMemory;
    info_.progress = &progress_;
    info_.src = &source_;
    source_.next_input_byte = bytes;
    source_.bytes_in_buffer = size;

    // Streams of tables alone may come before the image.
    int header;
    do {
      header = jpeg_read_header(&info_, FALSE);
    } while (header == JPEG_HEADER_TABLES_ONLY);
    if (header != JPEG_HEADER_OK) return Outcome::kTruncated;
    if (int64_t{info_.image_width} * info_.image_height > kMaxImagePixels) return Outcome::kTooLarge;
    const bool cmyk = info_.num_components == 4;
    info_.out_color_space = cmyk ? JCS_CMYK : JCS_RGB;

    const int height = info_.image_height, width = info_.image_width;
    Box box{0, 0, height, width};
    if (choose != nullptr) {
      box = (*choose)(height, width);
      TEC_CHECK(box.FitsInto(height, width))
          << box.top << " " << box.left << " " << box.height << " " << box.width << " in " << height << " x " << width;
    }
    if (!CanCutOut()) box = Box{0, 0, height, width};
    // Memory first: the pixels and what libjpeg takes have one limit.
    const int64_t pixel_bytes = int64_t{3} * box.height * std::min(width, box.width + 2 * kMaxSideColumns);
    info_.mem->max_memory_to_use = std::max<int64_t>(kMaxDecodeMemory - pixel_bytes, kLeastJpegMemory);
    if (!jpeg_start_decompress(&info_)) return Outcome::kTruncated;

    if (SmoothsBlocks()) box = Box{0, 0, height, width};
    JDIMENSION left = 0, columns = width;
    if (box.width < width) {
      const int begin = std::max(0, std::min(box.left - kMargin, width - kMinDecodedWidth));
      const int end = std::min(width, std::max(box.left + box.width + kMargin, begin + kMinDecodedWidth));
      left = begin;
      columns = end - begin;
      jpeg_crop_scanline(&info_, &left, &columns);  // Moves left to where a block begins.
    }
    if (fast && JpegHuffman::Takes(&info_)) {
      huffman_.Begin(&info_, left, columns, [](j_decompress_ptr info, JBLOCKROW* mcu) -> boolean {
        auto* self = Self(reinterpret_cast<j_common_ptr>(info));
        if (!self->huffman_.DecodeMcu(mcu)) self->Stop(Outcome::kIrregular);
        return TRUE;
      });
    }
    region->height = height;
    region->width = width;
    region->top = box.top;
    region->left = left;
    region->pixels.Resize(box.height, columns);

    JSAMPARRAY row = nullptr;
    if (cmyk) row = AllocateRow(4 * columns);
    if (box.top > 0) jpeg_skip_scanlines(&info_, box.top);
    for (int y = 0; y < box.height; ++y) {
      uint8_t* out = region->pixels.row(y);
      if (jpeg_read_scanlines(&info_, cmyk ? row : &out, 1) != 1) return Outcome::kTruncated;
      if (cmyk) CmykToRgb(row[0], columns, out);
    }
    if (info_.output_scanline < info_.output_height) {
      // A file of several scans has been read to its end; of others the rest decides whether they are truncated.
      if (jpeg_input_complete(&info_) || LeadsToEndMarker()) return Outcome::kDone;
      if (row == nullptr) row = AllocateRow(4 * columns);
      while (info_.output_scanline < info_.output_height) {
        if (jpeg_read_scanlines(&info_, row, 1) != 1) return Outcome::kTruncated;
      }
    }
    // Every row is there: data that end before the end marker are no defect any more, but what libjpeg does not
    // understand up to there still is one, as far as PIL has handed the file over when it has the last row.
    const size_t read = source_.next_input_byte - bytes;
    source_.bytes_in_buffer = std::min(source_.bytes_in_buffer, (read + kPilBlock - 1) / kPilBlock * kPilBlock - read);
    jpeg_finish_decompress(&info_);
    return Outcome::kDone;
  }

  absl::Status Status(Outcome outcome) {
    switch (outcome) {
      case Outcome::kDone:
        return absl::OkStatus();
      case Outcome::kTruncated:
        return absl::DataLossError("the JPEG is truncated: its data end before its last row");
      case Outcome::kTooLarge:
        return absl::ResourceExhaustedError(absl::StrCat("the JPEG has ", info_.image_width, " x ", info_.image_height,
                                                         " pixels, more than ", kMaxImagePixels));
      case Outcome::kTooManyScans:
        return absl::ResourceExhaustedError(absl::StrCat("the JPEG has more than ", kMaxJpegScans, " scans"));
      case Outcome::kIrregular:
      case Outcome::kError:
        break;
    }
    if (error_.msg_code == JERR_OUT_OF_MEMORY || error_.msg_code == JERR_NO_BACKING_STORE) {
      return absl::ResourceExhaustedError(absl::StrCat("the JPEG needs more than ", kMaxDecodeMemory >> 20,
                                                       " MiB of memory to decode, or there is too little"));
    }
    char message[JMSG_LENGTH_MAX];
    error_.format_message(reinterpret_cast<j_common_ptr>(&info_), message);
    if (error_.msg_code == JERR_BAD_PRECISION || error_.msg_code == JERR_SOF_UNSUPPORTED ||
        error_.msg_code == JERR_CONVERSION_NOTIMPL) {
      return absl::UnimplementedError(absl::StrCat("JPEG images of this kind are not supported: ", message));
    }
    return absl::DataLossError(absl::StrCat("the JPEG cannot be decoded: ", message));
  }

 private:
  static JpegDecoder* Self(j_common_ptr info) { return static_cast<JpegDecoder*>(info->client_data); }

  [[noreturn]] void Stop(Outcome outcome) {
    stopped_ = outcome;
    std::longjmp(jump_, 1);
  }

  JSAMPARRAY AllocateRow(JDIMENSION bytes) {
    return info_.mem->alloc_sarray(reinterpret_cast<j_common_ptr>(&info_), JPOOL_IMAGE, bytes, 1);
  }

  // Whether libjpeg can leave out rows and columns of such a file at all.
  bool CanCutOut() const {
    const bool lossless = info_.min_DCT_scaled_size != DCTSIZE;  // Nothing else is set that tells.
    return !info_.arith_code && !lossless && (info_.num_components == 1 || info_.num_components == 3);
  }

  // Whether it will guess at coefficients that a progressive file's missing scans would have brought, from neighbours
  // further away than kMargin.
  bool SmoothsBlocks() const {
    if (!info_.progressive_mode || info_.coef_bits == nullptr) return false;
    for (int c = 0; c < info_.num_components; ++c) {
      for (int i = 0; i < DCTSIZE2; ++i) {
        if (info_.coef_bits[c][i] != 0) return true;
      }
    }
    return false;
  }

  // Whether the decoding of a single scan, wherever it is in it, would come to the end marker: the next marker that is
  // no restart. Damage before it only makes libjpeg warn.
  bool LeadsToEndMarker() const {
    const auto is_restart = [](int marker) { return marker >= JPEG_RST0 && marker <= JPEG_RST0 + 7; };
    if (info_.unread_marker != 0 && !is_restart(info_.unread_marker)) return info_.unread_marker == JPEG_EOI;
    const uint8_t* p = source_.next_input_byte;
    const uint8_t* const end = p + source_.bytes_in_buffer;
    while ((p = static_cast<const uint8_t*>(std::memchr(p, 0xFF, end - p))) != nullptr) {
      while (p < end && *p == 0xFF) ++p;  // Any number of them may come before a marker.
      if (p == end) return false;
      if (*p != 0 && !is_restart(*p)) return *p == JPEG_EOI;
      ++p;
    }
    return false;
  }

  jpeg_decompress_struct info_ = {};
  jpeg_error_mgr error_ = {};
  jpeg_source_mgr source_ = {};
  jpeg_progress_mgr progress_ = {};
  std::jmp_buf jump_;
  Outcome stopped_ = Outcome::kError;
  JpegHuffman huffman_;
};

// Without `choose` the whole image.
absl::Status Decode(absl::string_view bytes, const absl::FunctionRef<Box(int, int)>* choose, ImageRegion* region) {
  // A second time it may draw another box.
  absl::optional<Box> chosen;
  const auto choose_once = [&](int height, int width) {
    if (!chosen.has_value()) chosen = (*choose)(height, width);
    return *chosen;
  };
  const absl::FunctionRef<Box(int, int)> once = choose_once;
  const auto* data = reinterpret_cast<const uint8_t*>(bytes.data());
  for (bool fast = absl::GetFlag(FLAGS_fast_jpeg);; fast = false) {
    JpegDecoder decoder;
    const Outcome outcome = decoder.Decode(data, bytes.size(), choose == nullptr ? nullptr : &once, fast, region);
    if (outcome != Outcome::kIrregular) return decoder.Status(outcome);
  }
}

}  // namespace

absl::Status DecodeJpeg(absl::string_view bytes, Image* image) {
  ImageRegion region;
  region.pixels = std::move(*image);  // Its memory is used again.
  const absl::Status status = Decode(bytes, nullptr, &region);
  *image = std::move(region.pixels);
  return status;
}

absl::Status DecodeJpegRegion(absl::string_view bytes, absl::FunctionRef<Box(int height, int width)> choose,
                              ImageRegion* region) {
  return Decode(bytes, &choose, region);
}

}  // namespace tec
