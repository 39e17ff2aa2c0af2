// TIFF through libtiff: the first page, turned as its orientation says (PIL does that for TIFF alone), with PIL's
// conversions to RGB: grey above 255 is clipped at 255, of colours above 8 bits the high byte is taken, alpha is
// dropped and premultiplied colours are divided by it, inks are converted without a profile.

#include <tiffio.h>

#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "data/image/decode.h"
#include "data/image/decode_formats.h"

namespace tec {
namespace {

// A file in memory for libtiff, which may be told to seek anywhere.
struct MemoryFile {
  absl::string_view bytes;
  uint64_t position = 0;
  std::string error;          // The first that libtiff reports.
  bool lost_palette = false;  // It then takes the indices for grey; we do not.
};

MemoryFile* File(thandle_t handle) { return static_cast<MemoryFile*>(handle); }

tmsize_t Read(thandle_t handle, void* out, tmsize_t size) {
  MemoryFile* file = File(handle);
  if (size <= 0 || file->position >= file->bytes.size()) return 0;
  const size_t count = std::min<uint64_t>(size, file->bytes.size() - file->position);
  std::memcpy(out, file->bytes.data() + file->position, count);
  file->position += count;
  return count;
}

toff_t Seek(thandle_t handle, toff_t offset, int whence) {
  MemoryFile* file = File(handle);
  const uint64_t base = whence == SEEK_SET ? 0 : whence == SEEK_CUR ? file->position : file->bytes.size();
  file->position = base + offset;
  return file->position;
}

int OnError(TIFF*, void* handle, const char* module, const char* format, va_list arguments) {
  auto* file = static_cast<MemoryFile*>(handle);
  if (!file->error.empty()) return 1;
  char text[256];
  std::vsnprintf(text, sizeof(text), format, arguments);
  file->error = module == nullptr ? text : absl::StrCat(module, ": ", text);
  return 1;
}

using TiffPointer = std::unique_ptr<TIFF, void (*)(TIFF*)>;

TiffPointer Open(MemoryFile* file) {
  TIFFOpenOptions* options = TIFFOpenOptionsAlloc();
  TIFFOpenOptionsSetMaxSingleMemAlloc(options, kMaxDecodeMemory / 2);
  TIFFOpenOptionsSetErrorHandlerExtR(options, OnError, file);
  TIFFOpenOptionsSetWarningHandlerExtR(
      options,
      [](TIFF*, void* handle, const char*, const char* format, va_list arguments) {
        char text[256];
        std::vsnprintf(text, sizeof(text), format, arguments);
        if (std::strstr(text, "olormap") != nullptr || std::strstr(text, "olorMap") != nullptr)
          static_cast<MemoryFile*>(handle)->lost_palette = true;
        return 1;
      },
      file);
  TIFF* tiff = TIFFClientOpenExt(
      "image", "rm", file, Read, [](thandle_t, void*, tmsize_t) -> tmsize_t { return -1; }, Seek,
      [](thandle_t) { return 0; }, [](thandle_t handle) -> toff_t { return File(handle)->bytes.size(); },
      [](thandle_t, void**, toff_t*) { return 0; }, [](thandle_t, void*, toff_t) {}, options);
  TIFFOpenOptionsFree(options);
  return TiffPointer(tiff, TIFFClose);
}

// What the tags say.
struct Layout {
  uint32_t width = 0, height = 0;
  uint16_t photometric = PHOTOMETRIC_MINISWHITE, bits = 1, samples = 1, planar = PLANARCONFIG_CONTIG;
  uint16_t format = SAMPLEFORMAT_UINT, compression = COMPRESSION_NONE, orientation = ORIENTATION_TOPLEFT;
  uint16_t extra_count = 0;
  uint16_t* extra = nullptr;
  uint16_t *red = nullptr, *green = nullptr, *blue = nullptr;  // The palette.

  bool premultiplied() const { return extra_count > 0 && extra[0] == EXTRASAMPLE_ASSOCALPHA; }
};

absl::Status Unsupported(const Layout& layout) {
  return absl::UnimplementedError(absl::StrCat("TIFF images of photometric interpretation ", layout.photometric, ", ",
                                               layout.samples, " samples of ", layout.bits, " bits and format ",
                                               layout.format, " are not supported"));
}

// `channels`: as DecodeTiff's.
absl::Status ReadLayout(TIFF* tiff, int channels, Layout* layout) {
  if (!TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &layout->width) ||
      !TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &layout->height)) {
    return absl::DataLossError("the TIFF does not tell its size");
  }
  TIFFGetField(tiff, TIFFTAG_PHOTOMETRIC, &layout->photometric);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_BITSPERSAMPLE, &layout->bits);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLESPERPIXEL, &layout->samples);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_PLANARCONFIG, &layout->planar);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLEFORMAT, &layout->format);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_COMPRESSION, &layout->compression);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_ORIENTATION, &layout->orientation);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_EXTRASAMPLES, &layout->extra_count, &layout->extra);
  if (layout->format == SAMPLEFORMAT_VOID) layout->format = SAMPLEFORMAT_UINT;

  if (channels != 3) {
    if (layout->samples != channels || layout->photometric == PHOTOMETRIC_PALETTE) {
      return absl::InvalidArgumentError(absl::StrCat("the TIFF has ",
                                                     layout->photometric == PHOTOMETRIC_PALETTE ? 3 : layout->samples,
                                                     " channels, not the ", channels, " asked for"));
    }
    const bool bytes = layout->format == SAMPLEFORMAT_UINT && (layout->bits == 8 || layout->bits == 16);
    const bool known = bytes && layout->photometric != PHOTOMETRIC_YCBCR && layout->photometric != PHOTOMETRIC_CIELAB;
    return known ? absl::OkStatus() : Unsupported(*layout);
  }
  if (layout->photometric == PHOTOMETRIC_YCBCR && layout->compression == COMPRESSION_JPEG &&
      layout->planar == PLANARCONFIG_CONTIG && layout->samples == 3) {
    TIFFSetField(tiff, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
    layout->photometric = PHOTOMETRIC_RGB;
  }
  const int bits = layout->bits, colours = layout->samples - layout->extra_count;
  const bool integers = layout->format == SAMPLEFORMAT_UINT;
  bool known = false;
  switch (layout->photometric) {
    case PHOTOMETRIC_MINISWHITE:
    case PHOTOMETRIC_MINISBLACK:
      known = colours == 1 && ((integers && (bits == 1 || bits == 2 || bits == 4 || bits == 8 || bits == 16)) ||
                               (layout->photometric == PHOTOMETRIC_MINISBLACK &&
                                ((integers && bits == 32) ||
                                 (layout->format == SAMPLEFORMAT_INT && (bits == 8 || bits == 16 || bits == 32)))) ||
                               (layout->format == SAMPLEFORMAT_IEEEFP && bits == 32));
      known &= layout->samples == 1 || (layout->samples == 2 && bits == 8);
      break;
    case PHOTOMETRIC_RGB:
      known = integers && (bits == 8 || bits == 16) && (colours == 3 || (colours == 4 && layout->extra_count == 0)) &&
              layout->samples <= 6;
      break;
    case PHOTOMETRIC_PALETTE:
      known = integers && colours == 1 && (bits == 1 || bits == 2 || bits == 4 || bits == 8) &&
              (layout->samples == 1 || (layout->samples == 2 && bits == 8)) &&
              TIFFGetField(tiff, TIFFTAG_COLORMAP, &layout->red, &layout->green, &layout->blue);
      break;
    case PHOTOMETRIC_SEPARATED:
      known = integers && (bits == 8 || bits == 16) && colours == 4 && layout->samples <= 6;
      break;
    default:
      break;
  }
  return known ? absl::OkStatus() : Unsupported(*layout);
}

// Rows of samples to pixels of `channels`: RGB, or the samples themselves.
class Converter {
 public:
  Converter(const Layout& layout, int channels) : layout_(layout), channels_(channels) {
    // Samples that play a part.
    if (channels != 3) {
      used_ = channels;
      return;
    }
    switch (layout.photometric) {
      case PHOTOMETRIC_RGB:
        used_ = layout.premultiplied() ? 4 : 3;
        break;
      case PHOTOMETRIC_SEPARATED:
        used_ = 4;
        break;
      default:
        used_ = layout.premultiplied() ? 2 : 1;
    }
    used_ = std::min<int>(used_, layout.samples);
  }

  int used_samples() const { return used_; }

  // `count` pixels whose sample s begins at in[s], pixels `step` samples apart, in memory order of this machine.
  void Convert(const uint8_t* const* in, int step, int count, uint8_t* out) const {
    if (channels_ == 3) return ToRgb(in, step, count, out);
    for (int x = 0; x < count; ++x, out += channels_) {
      for (int s = 0; s < channels_; ++s) out[s] = High(in[s], x, step);
    }
  }

 private:
  void ToRgb(const uint8_t* const* in, int step, int count, uint8_t* rgb) const {
    for (int x = 0; x < count; ++x, rgb += 3) {
      uint8_t value[4] = {};
      if (layout_.photometric == PHOTOMETRIC_PALETTE) {
        const int index = Small(in[0], x, step);
        rgb[0] = layout_.red[index] / 256;
        rgb[1] = layout_.green[index] / 256;
        rgb[2] = layout_.blue[index] / 256;
        continue;
      }
      if (layout_.photometric <= PHOTOMETRIC_MINISBLACK) {
        value[0] = Grey(in[0], x, step);
        if (used_ == 2) value[0] = Divide(value[0], High(in[1], x, step));
        rgb[0] = rgb[1] = rgb[2] = value[0];
        continue;
      }
      for (int s = 0; s < used_; ++s) value[s] = High(in[s], x, step);
      for (int c = 0; c < 3; ++c) {
        rgb[c] = layout_.photometric == PHOTOMETRIC_SEPARATED ? ColourOfInk(value[c], 255 - value[3])
                 : used_ == 4                                 ? Divide(value[c], value[3])
                                                              : value[c];
      }
    }
  }

  static uint8_t Divide(int value, int alpha) {
    return alpha == 0 ? 0 : alpha == 255 ? value : static_cast<uint8_t>(std::min(255, value * 255 / alpha));
  }

  // Of up to 8 bits, unscaled.
  int Small(const uint8_t* in, int x, int step) const {
    if (layout_.bits == 8) return in[static_cast<size_t>(x) * step];
    const int bit = x * layout_.bits;
    return in[bit / 8] >> (8 - layout_.bits - bit % 8) & ((1 << layout_.bits) - 1);
  }

  // The high byte of 8 or 16 bits.
  int High(const uint8_t* in, int x, int step) const {
    if (layout_.bits == 8) return in[static_cast<size_t>(x) * step];
    uint16_t value;
    std::memcpy(&value, in + static_cast<size_t>(x) * step * 2, sizeof(value));
    return value >> 8;
  }

  template <typename T>
  static uint8_t Clip(const uint8_t* in, int x) {
    T value;
    std::memcpy(&value, in + sizeof(T) * x, sizeof(T));
    return value > 0 ? (value >= 255 ? 255 : static_cast<uint8_t>(value)) : 0;  // 0 for what is no number.
  }

  uint8_t Grey(const uint8_t* in, int x, int step) const {
    if (layout_.bits == 16) return layout_.format == SAMPLEFORMAT_INT ? Clip<int16_t>(in, x) : Clip<uint16_t>(in, x);
    // PIL takes 32 bits without a sign for such with one.
    if (layout_.bits == 32) return layout_.format == SAMPLEFORMAT_IEEEFP ? Clip<float>(in, x) : Clip<int32_t>(in, x);
    const int value = Small(in, x, step) * 255 / ((1 << layout_.bits) - 1);
    return layout_.photometric == PHOTOMETRIC_MINISWHITE ? 255 - value : value;
  }

  const Layout& layout_;
  const int channels_;
  int used_ = 1;
};

// Blocks of an image, strips or tiles alike: reads them one after another and converts them.
absl::Status ReadBlocks(TIFF* tiff, const MemoryFile& file, const Layout& layout, int channels, Image* image) {
  const bool tiled = TIFFIsTiled(tiff);
  uint32_t block_width = layout.width, block_height = 0;
  if (tiled) {
    TIFFGetField(tiff, TIFFTAG_TILEWIDTH, &block_width);
    TIFFGetField(tiff, TIFFTAG_TILELENGTH, &block_height);
  } else {
    TIFFGetFieldDefaulted(tiff, TIFFTAG_ROWSPERSTRIP, &block_height);
    block_height = std::min(block_height, layout.height);
  }
  const tmsize_t block_bytes = tiled ? TIFFTileSize(tiff) : TIFFStripSize(tiff);
  const tmsize_t row_bytes = tiled ? TIFFTileRowSize(tiff) : TIFFScanlineSize(tiff);
  const int per_block = layout.planar == PLANARCONFIG_CONTIG ? layout.samples : 1;
  const Converter converter(layout, channels);
  const int planes = layout.planar == PLANARCONFIG_CONTIG ? 1 : converter.used_samples();
  // libtiff's idea of a row must be ours, which the conversion counts on.
  const int64_t expected_row = (int64_t{block_width} * per_block * layout.bits + 7) / 8;
  if (block_width == 0 || block_height == 0 || block_bytes <= 0 || row_bytes != expected_row ||
      block_bytes / row_bytes < block_height) {
    return absl::DataLossError("the TIFF's strips or tiles have no valid size");
  }
  const absl::Status size = CheckImageSize("TIFF", layout.height, layout.width, 2 * block_bytes * planes, channels);
  if (!size.ok()) return size;

  image->Resize(layout.height, layout.width, channels);
  std::vector<std::vector<uint8_t>> buffers(planes, std::vector<uint8_t>(block_bytes));
  std::vector<const uint8_t*> in(converter.used_samples());
  for (int64_t top = 0; top < layout.height; top += block_height) {
    const int rows = std::min<int64_t>(block_height, layout.height - top);
    for (int64_t left = 0; left < layout.width; left += block_width) {
      const int columns = std::min<int64_t>(block_width, layout.width - left);
      for (int p = 0; p < planes; ++p) {
        // A last strip has only the rows that are left.
        const tmsize_t wanted = tiled ? block_bytes : row_bytes * rows;
        const uint32_t number =
            tiled ? TIFFComputeTile(tiff, left, top, 0, p) : TIFFComputeStrip(tiff, top, static_cast<uint16_t>(p));
        if (TIFFGetStrileByteCount(tiff, number) == 0 || TIFFGetStrileOffset(tiff, number) == 0) {
          return absl::DataLossError("the TIFF cannot be decoded: it has no data for some of its rows");
        }
        const tmsize_t got = tiled ? TIFFReadEncodedTile(tiff, number, buffers[p].data(), block_bytes)
                                   : TIFFReadEncodedStrip(tiff, number, buffers[p].data(), wanted);
        if (got < wanted) {
          return absl::DataLossError(
              absl::StrCat("the TIFF cannot be decoded: ", file.error.empty() ? "truncated" : file.error));
        }
      }
      for (int y = 0; y < rows; ++y) {
        for (int s = 0; s < converter.used_samples(); ++s) {
          in[s] = planes == 1 ? buffers[0].data() + row_bytes * y + s * (layout.bits / 8)
                              : buffers[s].data() + row_bytes * y;
        }
        converter.Convert(in.data(), per_block, columns, image->row(top + y) + channels * left);
      }
    }
  }
  return absl::OkStatus();
}

// Turns the picture so that it stands upright; orientation 2 to 8 as in TIFF and EXIF.
void Turn(int orientation, Image* image) {
  const int height = image->height(), width = image->width(), channels = image->channels();
  const bool swap = orientation >= 5;
  Image turned(swap ? width : height, swap ? height : width, channels);
  for (int y = 0; y < turned.height(); ++y) {
    for (int x = 0; x < turned.width(); ++x) {
      int from_y = swap ? x : y, from_x = swap ? y : x;
      if (orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7) from_y = height - 1 - from_y;
      if (orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8) from_x = width - 1 - from_x;
      std::memcpy(turned.row(y) + ptrdiff_t{channels} * x, image->row(from_y) + ptrdiff_t{channels} * from_x, channels);
    }
  }
  *image = std::move(turned);
}

}  // namespace

absl::Status DecodeTiff(absl::string_view bytes, Image* image, int channels) {
  MemoryFile file{bytes, 0, ""};
  const TiffPointer tiff = Open(&file);
  if (tiff == nullptr) return absl::DataLossError(absl::StrCat("the TIFF cannot be opened: ", file.error));
  if (file.lost_palette) return absl::DataLossError("the TIFF's palette is missing or broken");
  Layout layout;
  absl::Status status = ReadLayout(tiff.get(), channels, &layout);
  if (!status.ok()) return status;
  const bool turn = layout.orientation >= 2 && layout.orientation <= 8;
  // Turning needs the picture twice.
  const int64_t second_picture = turn ? int64_t{channels} * layout.height * layout.width : 0;
  const absl::Status size = CheckImageSize("TIFF", layout.height, layout.width, second_picture, channels);
  if (!size.ok()) return size;
  status = ReadBlocks(tiff.get(), file, layout, channels, image);
  if (status.ok() && turn) Turn(layout.orientation, image);
  return status;
}

}  // namespace tec
