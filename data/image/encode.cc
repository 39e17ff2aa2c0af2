#include "data/image/encode.h"

#include <csetjmp>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

// jpeglib.h needs the three above it.
#include <jpeglib.h>
#include <png.h>

#include "absl/strings/str_cat.h"

namespace tec {
namespace {

class JpegEncoder {
 public:
  JpegEncoder() {
    info_.err = jpeg_std_error(&error_);
    info_.client_data = this;
    error_.error_exit = [](j_common_ptr info) { std::longjmp(static_cast<JpegEncoder*>(info->client_data)->jump_, 1); };
    error_.output_message = [](j_common_ptr) {};
  }
  ~JpegEncoder() {
    jpeg_destroy_compress(&info_);
    std::free(bytes_);
  }
  JpegEncoder(const JpegEncoder&) = delete;
  JpegEncoder& operator=(const JpegEncoder&) = delete;

  // No variable here may have a destructor: longjmp would pass it by.
  bool Encode(const Image& image, const JpegOptions& options) {
    if (setjmp(jump_) != 0) return false;
    jpeg_create_compress(&info_);
    jpeg_mem_dest(&info_, &bytes_, &size_);
    info_.image_width = image.width();
    info_.image_height = image.height();
    info_.input_components = 3;
    info_.in_color_space = JCS_RGB;
    jpeg_set_defaults(&info_);
    jpeg_set_quality(&info_, options.quality, TRUE);
    if (!options.subsample_chroma) info_.comp_info[0].h_samp_factor = info_.comp_info[0].v_samp_factor = 1;
    if (options.progressive) jpeg_simple_progression(&info_);
    jpeg_start_compress(&info_, TRUE);
    while (info_.next_scanline < info_.image_height) {
      auto* row = const_cast<uint8_t*>(image.row(info_.next_scanline));  // libjpeg only reads it.
      jpeg_write_scanlines(&info_, &row, 1);
    }
    jpeg_finish_compress(&info_);
    return true;
  }

  std::string bytes() const { return std::string(reinterpret_cast<const char*>(bytes_), size_); }
  std::string message() {
    char text[JMSG_LENGTH_MAX];
    error_.format_message(reinterpret_cast<j_common_ptr>(&info_), text);
    return text;
  }

 private:
  jpeg_compress_struct info_ = {};
  jpeg_error_mgr error_ = {};
  unsigned char* bytes_ = nullptr;
  unsigned long size_ = 0;
  std::jmp_buf jump_;
};

}  // namespace

absl::StatusOr<std::string> EncodeJpeg(const Image& image, const JpegOptions& options) {
  if (options.quality < 1 || options.quality > 100) {
    return absl::InvalidArgumentError(absl::StrCat("JPEG quality ", options.quality, " is not in 1 to 100"));
  }
  JpegEncoder encoder;
  if (!encoder.Encode(image, options)) {
    return absl::InvalidArgumentError(absl::StrCat("cannot encode as JPEG: ", encoder.message()));
  }
  return encoder.bytes();
}

absl::StatusOr<std::string> EncodePng(const Image& image) {
  png_image png;
  std::memset(&png, 0, sizeof(png));
  png.version = PNG_IMAGE_VERSION;
  png.width = image.width();
  png.height = image.height();
  constexpr png_uint_32 kFormats[] = {PNG_FORMAT_GRAY, PNG_FORMAT_GA, PNG_FORMAT_RGB, PNG_FORMAT_RGBA};
  if (image.channels() > 4) {
    return absl::InvalidArgumentError(absl::StrCat("cannot encode as PNG: ", image.channels(), " channels"));
  }
  png.format = kFormats[image.channels() - 1];
  if (image.empty()) return absl::InvalidArgumentError("cannot encode as PNG: the image is empty");
  std::string bytes(PNG_IMAGE_PNG_SIZE_MAX(png), '\0');
  png_alloc_size_t size = bytes.size();
  if (!png_image_write_to_memory(&png, bytes.data(), &size, 0, image.data(), 0, nullptr)) {
    return absl::InvalidArgumentError(absl::StrCat("cannot encode as PNG: ", png.message));
  }
  bytes.resize(size);
  return bytes;
}

}  // namespace tec
