// JPEG through libjpeg-turbo with its default settings (accurate integer DCT, fancy upsampling), which are PIL's.
//
// libjpeg itself fills up a file that ends early and only warns. PIL hands it the file piece by piece and gives up when
// libjpeg asks for more than there is; so does the source manager here, so the same files are refused. Damage that
// leaves the markers in place is filled up with a warning in both.

#include "data/image/decode_jpeg.h"

#include <algorithm>
#include <csetjmp>
#include <cstddef>
#include <cstdint>
#include <cstdio>

// jpeglib.h needs the three above it.
#include <jerror.h>
#include <jpeglib.h>

#include "absl/strings/str_cat.h"
#include "data/image/decode.h"

namespace tec {
namespace {

enum class Outcome { kDone, kTruncated, kTooLarge, kTooManyScans, kError };

// PIL's rounding of a * b / 255.
inline int MultiplyDivide255(int a, int b) {
  const int t = a * b + 128;
  return (t + (t >> 8)) >> 8;
}

// One row of CMYK as libjpeg gives it. Like PIL, takes every file for Adobe's, which stores 255 - ink.
void CmykToRgb(const uint8_t* stored, int width, uint8_t* rgb) {
  for (int x = 0; x < width; ++x, stored += 4, rgb += 3) {
    const int not_black = stored[3];
    for (int c = 0; c < 3; ++c) {
      rgb[c] = static_cast<uint8_t>(std::max(0, not_black - MultiplyDivide255(255 - stored[c], not_black)));
    }
  }
}

class JpegDecoder {
 public:
  JpegDecoder() {
    info_.err = jpeg_std_error(&error_);
    error_.error_exit = [](j_common_ptr info) { std::longjmp(Self(info)->jump_, 1); };
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
      if (self->info_.input_scan_number > kMaxJpegScans) {
        self->too_many_scans_ = true;
        std::longjmp(self->jump_, 1);
      }
    };
  }
  // Also right for an object that jpeg_create_decompress never reached: its mem is null then.
  ~JpegDecoder() { jpeg_destroy_decompress(&info_); }
  JpegDecoder(const JpegDecoder&) = delete;
  JpegDecoder& operator=(const JpegDecoder&) = delete;

  // No variable here may have a destructor: longjmp would pass it by.
  Outcome Decode(const uint8_t* bytes, size_t size, Image* image) {
    if (setjmp(jump_) != 0) return too_many_scans_ ? Outcome::kTooManyScans : Outcome::kError;
    jpeg_create_decompress(&info_);  // Clears all but err and client_data.
    info_.mem->max_memory_to_use = kMaxJpegMemory;
    info_.progress = &progress_;
    info_.src = &source_;
    source_.next_input_byte = bytes;
    source_.bytes_in_buffer = size;

    if (jpeg_read_header(&info_, TRUE) != JPEG_HEADER_OK) return Outcome::kTruncated;
    if (int64_t{info_.image_width} * info_.image_height > kMaxImagePixels) return Outcome::kTooLarge;
    const bool cmyk = info_.num_components == 4;
    info_.out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
    if (!jpeg_start_decompress(&info_)) return Outcome::kTruncated;

    image->Resize(info_.output_height, info_.output_width);
    JSAMPARRAY cmyk_row = nullptr;
    if (cmyk) {
      cmyk_row =
          info_.mem->alloc_sarray(reinterpret_cast<j_common_ptr>(&info_), JPOOL_IMAGE, 4 * info_.output_width, 1);
    }
    while (info_.output_scanline < info_.output_height) {
      uint8_t* row = image->row(info_.output_scanline);
      if (jpeg_read_scanlines(&info_, cmyk ? cmyk_row : &row, 1) != 1) return Outcome::kTruncated;
      if (cmyk) CmykToRgb(cmyk_row[0], info_.output_width, row);
    }
    return jpeg_finish_decompress(&info_) ? Outcome::kDone : Outcome::kTruncated;
  }

  absl::Status Status(Outcome outcome) {
    switch (outcome) {
      case Outcome::kDone:
        return absl::OkStatus();
      case Outcome::kTruncated:
        return absl::DataLossError("the JPEG is truncated: its data end before its end marker");
      case Outcome::kTooLarge:
        return absl::ResourceExhaustedError(absl::StrCat("the JPEG has ", info_.image_width, " x ", info_.image_height,
                                                         " pixels, more than ", kMaxImagePixels));
      case Outcome::kTooManyScans:
        return absl::ResourceExhaustedError(absl::StrCat("the JPEG has more than ", kMaxJpegScans, " scans"));
      case Outcome::kError:
        break;
    }
    if (error_.msg_code == JERR_OUT_OF_MEMORY || error_.msg_code == JERR_NO_BACKING_STORE) {
      return absl::ResourceExhaustedError(absl::StrCat("the JPEG needs more than ", kMaxJpegMemory >> 20,
                                                       " MiB of memory to decode, or there is too little"));
    }
    char message[JMSG_LENGTH_MAX];
    error_.format_message(reinterpret_cast<j_common_ptr>(&info_), message);
    return absl::DataLossError(absl::StrCat("the JPEG cannot be decoded: ", message));
  }

 private:
  static JpegDecoder* Self(j_common_ptr info) { return static_cast<JpegDecoder*>(info->client_data); }

  jpeg_decompress_struct info_ = {};
  jpeg_error_mgr error_ = {};
  jpeg_source_mgr source_ = {};
  jpeg_progress_mgr progress_ = {};
  std::jmp_buf jump_;
  bool too_many_scans_ = false;
};

}  // namespace

absl::Status DecodeJpeg(absl::string_view bytes, Image* image) {
  JpegDecoder decoder;
  return decoder.Status(decoder.Decode(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size(), image));
}

}  // namespace tec
