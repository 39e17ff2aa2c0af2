// PNG through libpng, with the conversions of PIL's convert("RGB"): alpha and transparency are dropped, not blended;
// gamma and profiles are ignored; of 16 bits a channel the high byte is taken, except for grey without alpha, whose
// values above 255 become 255. With alpha the pixels are those of PIL's modes LA and RGBA, 16 bits by their high byte.

#include "data/image/decode_png.h"

#include <png.h>

#include <algorithm>
#include <csetjmp>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "data/image/decode.h"

namespace tec {
namespace {

enum class Outcome { kDone, kTooLarge, kOtherChannels, kError };

class PngDecoder {
 public:
  PngDecoder(absl::string_view bytes, int channels) : rest_(bytes), channels_(channels) {}
  ~PngDecoder() { png_destroy_read_struct(&png_, &info_, nullptr); }
  PngDecoder(const PngDecoder&) = delete;
  PngDecoder& operator=(const PngDecoder&) = delete;

  // No variable here may have a destructor: longjmp would pass it by.
  Outcome Decode(Image* image) {
    if (setjmp(jump_) != 0) return Outcome::kError;
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, OnError, [](png_structp, png_const_charp) {});
    if (png_ != nullptr) info_ = png_create_info_struct(png_);
    if (info_ == nullptr) throw std::bad_alloc();
    png_set_read_fn(png_, this, OnRead);
    // PIL checks the checksums of all chunks before the pixels, and none of the pixels' chunks (zlib has its own).
    png_set_crc_action(png_, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
    png_set_user_limits(png_, PNG_UINT_31_MAX, PNG_UINT_31_MAX);  // Ours is on their product.
    png_read_info(png_, info_);
    png_set_crc_action(png_, PNG_CRC_QUIET_USE, PNG_CRC_QUIET_USE);

    width_ = png_get_image_width(png_, info_);
    height_ = png_get_image_height(png_, info_);
    // Both are below 2^31, so the product fits.
    if (uint64_t{width_} * height_ > kMaxImagePixels) return Outcome::kTooLarge;
    const int colour_type = png_get_color_type(png_, info_);
    const int bit_depth = png_get_bit_depth(png_, info_);
    const bool gray16 = colour_type == PNG_COLOR_TYPE_GRAY && bit_depth == 16;
    if (bit_depth == 16 && !gray16) png_set_strip_16(png_);
    if (bit_depth < 8) png_set_packing(png_);  // One pixel a byte; a palette's indices are not to be scaled.
    if (colour_type == PNG_COLOR_TYPE_GRAY && bit_depth < 8) png_set_expand_gray_1_2_4_to_8(png_);
    if (channels_ != 3) {
      const bool palette_alpha =
          colour_type == PNG_COLOR_TYPE_PALETTE && png_get_valid(png_, info_, PNG_INFO_tRNS) != 0;
      stored_channels_ = palette_alpha ? 4 : png_get_channels(png_, info_);
      if (colour_type == PNG_COLOR_TYPE_PALETTE && !palette_alpha) stored_channels_ = 3;
      if (stored_channels_ != channels_) return Outcome::kOtherChannels;
      if (palette_alpha) png_set_palette_to_rgb(png_);  // And its tRNS to alpha.
    } else if (colour_type & PNG_COLOR_MASK_ALPHA) {
      png_set_strip_alpha(png_);
    }
    const int passes = png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);

    const bool as_stored =
        channels_ != 3 || ((colour_type & PNG_COLOR_MASK_COLOR) && !(colour_type & PNG_COLOR_MASK_PALETTE));
    const size_t row_bytes = png_get_rowbytes(png_, info_);
    // An interlaced image of one channel is complete only after its last pass: all its rows are kept till then.
    const size_t kept_rows = as_stored ? 0 : passes == 1 ? 1 : height_;
    if (static_cast<int64_t>(row_bytes * kept_rows) > kMaxDecodeMemory - int64_t{channels_} * width_ * height_) {
      return Outcome::kTooLarge;
    }
    image->Resize(height_, width_, channels_);
    if (as_stored) {
      // libpng's rows are the image's.
      for (int pass = 0; pass < passes; ++pass) {
        for (uint32_t y = 0; y < height_; ++y) png_read_row(png_, image->row(y), nullptr);
      }
      return Outcome::kDone;
    }
    if (colour_type == PNG_COLOR_TYPE_PALETTE) ReadPalette();
    rows_.reset(new uint8_t[row_bytes * kept_rows]);
    for (int pass = 0; pass < passes; ++pass) {
      for (uint32_t y = 0; y < height_; ++y) {
        uint8_t* row = passes == 1 ? rows_.get() : rows_.get() + y * row_bytes;
        png_read_row(png_, row, nullptr);
        if (pass == passes - 1) ToRgb(row, gray16, colour_type == PNG_COLOR_TYPE_PALETTE, image->row(y));
      }
    }
    return Outcome::kDone;
  }

  absl::Status Status(Outcome outcome) const {
    switch (outcome) {
      case Outcome::kDone:
        return absl::OkStatus();
      case Outcome::kTooLarge:
        return absl::ResourceExhaustedError(
            absl::StrCat("the PNG has ", width_, " x ", height_, " pixels, more than ", kMaxImagePixels,
                         int64_t{width_} * height_ > kMaxImagePixels ? "" : ", or too many to keep all its passes"));
      case Outcome::kOtherChannels:
        return absl::InvalidArgumentError(
            absl::StrCat("the PNG has ", stored_channels_, " channels, not the ", channels_, " asked for"));
      case Outcome::kError:
        break;
    }
    if (truncated_) return absl::DataLossError("the PNG is truncated: its data end before its last row");
    return absl::DataLossError(absl::StrCat("the PNG cannot be decoded: ", message_));
  }

 private:
  [[noreturn]] static void OnError(png_structp png, png_const_charp message) {
    auto* self = static_cast<PngDecoder*>(png_get_error_ptr(png));
    std::strncpy(self->message_, message, sizeof(self->message_) - 1);
    std::longjmp(self->jump_, 1);
  }

  static void OnRead(png_structp png, png_bytep out, size_t count) {
    auto* self = static_cast<PngDecoder*>(png_get_io_ptr(png));
    if (count > self->rest_.size()) {
      self->truncated_ = true;
      png_error(png, "truncated");
    }
    std::memcpy(out, self->rest_.data(), count);
    self->rest_.remove_prefix(count);
  }

  void ReadPalette() {
    png_colorp colours = nullptr;
    int count = 0;
    png_get_PLTE(png_, info_, &colours, &count);
    // An index beyond the palette is black, as in PIL.
    std::memset(palette_, 0, sizeof(palette_));
    for (int i = 0; i < std::min(count, 256); ++i) {
      palette_[i][0] = colours[i].red;
      palette_[i][1] = colours[i].green;
      palette_[i][2] = colours[i].blue;
    }
  }

  void ToRgb(const uint8_t* row, bool gray16, bool palette, uint8_t* rgb) const {
    for (uint32_t x = 0; x < width_; ++x, rgb += 3) {
      if (palette) {
        std::memcpy(rgb, palette_[row[x]], 3);
      } else {
        const uint8_t value = !gray16 ? row[x] : row[2 * x] != 0 ? 255 : row[2 * x + 1];  // Big-endian.
        rgb[0] = rgb[1] = rgb[2] = value;
      }
    }
  }

  absl::string_view rest_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  const int channels_;
  int stored_channels_ = 0;
  uint32_t width_ = 0, height_ = 0;
  uint8_t palette_[256][3];
  std::unique_ptr<uint8_t[]> rows_;
  bool truncated_ = false;
  char message_[128] = {};
  std::jmp_buf jump_;
};

}  // namespace

absl::Status DecodePng(absl::string_view bytes, Image* image, int channels) {
  PngDecoder decoder(bytes, channels);
  return decoder.Status(decoder.Decode(image));
}

}  // namespace tec
