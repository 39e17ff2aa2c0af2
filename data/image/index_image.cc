#include "data/image/index_image.h"

#include <png.h>

#include <csetjmp>
#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"
#include "data/image/decode.h"

namespace tec {
namespace {

class PngReader {
 public:
  explicit PngReader(absl::string_view bytes) : rest_(bytes) {}
  ~PngReader() { png_destroy_read_struct(&png_, &info_, nullptr); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;

  // No variable here may have a destructor: longjmp would pass it by.
  bool ReadHeader() {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, OnError, [](png_structp, png_const_charp) {});
    if (png_ == nullptr) return false;
    info_ = png_create_info_struct(png_);
    if (info_ == nullptr) return false;
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    png_set_read_fn(png_, this, OnRead);
    // As PIL takes pictures (decode_png.cc): a window that is announced too small, chunks that nobody knows, ...
    png_set_option(png_, PNG_MAXIMUM_INFLATE_WINDOW, PNG_OPTION_ON);
    png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_ALWAYS, nullptr, 0);
    png_read_info(png_, info_);
    // ... checksums of the pixels' chunks, ...
    png_set_crc_action(png_, PNG_CRC_QUIET_USE, PNG_CRC_QUIET_USE);
    return true;
  }

  bool ReadPixels(Image* image) {
    // ... and whatever follows the last row, which need not be there.
    if (setjmp(png_jmpbuf(png_)) != 0) return HasAllRows();
    png_set_packing(png_);  // 1, 2 and 4 bits to a byte each, the numbers unchanged.
    const int passes = png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    for (int pass = 0; pass < passes; ++pass) {
      for (int y = 0; y < image->height(); ++y) png_read_row(png_, image->row(y), nullptr);
    }
    return true;
  }

  int64_t width() const { return png_get_image_width(png_, info_); }
  int64_t height() const { return png_get_image_height(png_, info_); }
  int bits() const { return png_get_bit_depth(png_, info_); }
  int colour_type() const { return png_get_color_type(png_, info_); }
  const char* message() const { return message_; }

 private:
  bool HasAllRows() const {
    constexpr int kAdam7 = 7;  // Passes.
    return png_get_interlace_type(png_, info_) == PNG_INTERLACE_ADAM7
               ? png_get_current_pass_number(png_) >= kAdam7
               : png_get_current_row_number(png_) >= png_get_image_height(png_, info_);
  }

  static void OnError(png_structp png, png_const_charp message) {
    auto* reader = static_cast<PngReader*>(png_get_error_ptr(png));
    std::strncpy(reader->message_, message, sizeof(reader->message_) - 1);
    png_longjmp(png, 1);
  }
  static void OnRead(png_structp png, png_bytep out, size_t count) {
    auto* reader = static_cast<PngReader*>(png_get_io_ptr(png));
    if (count > reader->rest_.size()) png_error(png, "its data end too early");
    std::memcpy(out, reader->rest_.data(), count);
    reader->rest_.remove_prefix(count);
  }

  absl::string_view rest_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  char message_[128] = "";
};

// Where a chunk of pixels is cut off, a copy in which it says the length that is there, as libpng takes all of a chunk
// or none; else empty.
std::string WithLengthThatIsThere(absl::string_view bytes) {
  constexpr size_t kSignature = 8, kHead = 8, kChecksum = 4;
  for (size_t at = kSignature; at + kHead <= bytes.size();) {
    const size_t length = png_get_uint_32(reinterpret_cast<png_const_bytep>(&bytes[at])),
                 there = bytes.size() - at - kHead;
    if (length > there) {
      std::string copy;
      if (bytes.substr(at + 4, 4) != "IDAT") return copy;
      copy = std::string(bytes);
      png_save_uint_32(reinterpret_cast<png_bytep>(&copy[at]), static_cast<png_uint_32>(there));
      return copy;
    }
    at += kHead + length + kChecksum;
  }
  return "";
}

}  // namespace

absl::Status DecodeIndexImage(absl::string_view bytes, Image* image) {
  const ImageFormat format = SniffImageFormat(bytes);
  if (format != ImageFormat::kPng) {
    return absl::InvalidArgumentError(
        absl::StrCat("a mask must be a PNG whose pixels are numbers of classes; the format of this file is ",
                     ImageFormatName(format)));
  }
  const std::string mended = WithLengthThatIsThere(bytes);
  PngReader reader(mended.empty() ? bytes : mended);
  const auto broken = [&reader] {
    return absl::DataLossError(absl::StrCat("the PNG cannot be decoded: ", reader.message()));
  };
  if (!reader.ReadHeader()) return broken();
  const bool indices = reader.colour_type() == PNG_COLOR_TYPE_PALETTE || reader.colour_type() == PNG_COLOR_TYPE_GRAY;
  if (!indices || reader.bits() > 8) {
    return absl::InvalidArgumentError(
        "a mask's pixels must be numbers of classes: a PNG with a palette, or grey of up to 8 bits without alpha; this "
        "one has colours, alpha or 16 bits");
  }
  if (reader.height() * reader.width() > kMaxImagePixels) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the PNG has ", reader.height(), " x ", reader.width(), " pixels, more than ", kMaxImagePixels));
  }
  image->Resize(static_cast<int>(reader.height()), static_cast<int>(reader.width()), 1);
  return reader.ReadPixels(image) ? absl::OkStatus() : broken();
}

}  // namespace tec
