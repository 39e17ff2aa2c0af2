#include "data/image/decode.h"

#include <algorithm>
#include <new>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "data/image/decode_formats.h"
#include "data/image/decode_jpeg.h"
#include "data/image/decode_png.h"
#include "data/image/describe_unknown.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"

namespace tec {
namespace {

// A literal with its zeros.
template <size_t n>
bool StartsWith(absl::string_view bytes, const char (&prefix)[n]) {
  return absl::StartsWith(bytes, absl::string_view(prefix, n - 1));
}

// RGB, or the file's own `channels`.
absl::Status Decode(absl::string_view bytes, int channels, Image* image) {
  const ImageFormat format = SniffImageFormat(bytes);
  switch (format) {
    case ImageFormat::kUnknown:
      if (bytes.empty()) return absl::InvalidArgumentError("the file is empty");
      return absl::InvalidArgumentError(DescribeUnknown(bytes));
    case ImageFormat::kJpeg2000:
    case ImageFormat::kHeif:
      return absl::UnimplementedError(absl::StrCat(ImageFormatName(format), " images are not supported"));
    case ImageFormat::kPng:
      return DecodePng(bytes, image, channels);
    case ImageFormat::kTiff:
      return DecodeTiff(bytes, image, channels);
    default:
      break;
  }
  if (channels != 3) {
    return absl::InvalidArgumentError(absl::StrCat("a ", ImageFormatName(format), " image gives 1 channel or 3, not ",
                                                   channels, "; other numbers are those of PNG and TIFF files"));
  }
  if (format == ImageFormat::kJpeg) return DecodeJpeg(bytes, image);
  if (format == ImageFormat::kBmp) return DecodeBmp(bytes, image);
  if (format == ImageFormat::kGif) return DecodeGif(bytes, image);
  if (format == ImageFormat::kPnm) return DecodePnm(bytes, image);
  return DecodeWebp(bytes, image);
}

}  // namespace

ImageFormat SniffImageFormat(absl::string_view bytes) {
  if (StartsWith(bytes, "\xFF\xD8\xFF")) return ImageFormat::kJpeg;
  if (StartsWith(bytes, "\x89PNG\r\n\x1A\n")) return ImageFormat::kPng;
  if (StartsWith(bytes, "GIF87a") || StartsWith(bytes, "GIF89a")) return ImageFormat::kGif;
  if (StartsWith(bytes, "RIFF") && bytes.size() >= 12 && bytes.substr(8, 4) == "WEBP") return ImageFormat::kWebp;
  if (StartsWith(bytes, "II*\0") || StartsWith(bytes, "MM\0*")) return ImageFormat::kTiff;
  if (StartsWith(bytes, "II+\0") || StartsWith(bytes, "MM\0+")) return ImageFormat::kTiff;  // BigTIFF
  if (StartsWith(bytes, "BM") && bytes.size() >= 26) return ImageFormat::kBmp;
  if (bytes.size() >= 3 && bytes[0] == 'P' && bytes[1] >= '1' && bytes[1] <= '7' &&
      (bytes[2] == ' ' || (bytes[2] >= '\t' && bytes[2] <= '\r'))) {
    return ImageFormat::kPnm;
  }
  if (StartsWith(bytes, "\0\0\0\x0CjP  \r\n\x87\n") || StartsWith(bytes, "\xFF\x4F\xFF\x51")) {
    return ImageFormat::kJpeg2000;
  }
  if (bytes.size() >= 12 && bytes.substr(4, 4) == "ftyp") {
    // The main brand, or one of the compatible ones.
    const auto length = std::min<size_t>(bytes.size(), 64);
    for (size_t at = 8; at + 4 <= length; at += at == 8 ? 8 : 4) {
      const absl::string_view brand = bytes.substr(at, 4);
      for (const char* known : {"avif", "avis", "heic", "heix", "heim", "heis", "hevc", "hevx", "hevm", "hevs", "mif1",
                                "mif2", "msf1", "miaf", "jpeg", "avci"}) {
        if (brand == known) return ImageFormat::kHeif;
      }
    }
  }
  return ImageFormat::kUnknown;
}

const char* ImageFormatName(ImageFormat format) {
  switch (format) {
    case ImageFormat::kUnknown:
      return "unknown";
    case ImageFormat::kJpeg:
      return "JPEG";
    case ImageFormat::kPng:
      return "PNG";
    case ImageFormat::kGif:
      return "GIF";
    case ImageFormat::kWebp:
      return "WebP";
    case ImageFormat::kTiff:
      return "TIFF";
    case ImageFormat::kBmp:
      return "BMP";
    case ImageFormat::kPnm:
      return "PPM/PGM/PBM";
    case ImageFormat::kJpeg2000:
      return "JPEG 2000";
    case ImageFormat::kHeif:
      return "HEIF/AVIF";
  }
  return "unknown";
}

absl::Status CheckImageSize(const char* format, int64_t height, int64_t width, int64_t bytes_beside, int channels) {
  if (height <= 0 || width <= 0) return absl::DataLossError(absl::StrCat("the ", format, " has no pixels"));
  // Neither may overflow the product.
  if (height > kMaxImagePixels || width > kMaxImagePixels || height * width > kMaxImagePixels) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the ", format, " has ", width, " x ", height, " pixels, more than ", kMaxImagePixels));
  }
  if (bytes_beside > kMaxDecodeMemory - channels * height * width) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the ", format, " needs more than ", kMaxDecodeMemory >> 20, " MiB of memory to decode"));
  }
  return absl::OkStatus();
}

absl::Status DecodeImage(absl::string_view bytes, Image* image, int channels) {
  TEC_CHECK_GE(channels, 1);
  try {
    TEC_RETURN_IF_ERROR(Decode(bytes, channels == 1 ? 3 : channels, image));
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("not enough memory to decode the image");
  }
  if (channels == 1) image->ToGrey();
  return absl::OkStatus();
}

absl::Status DecodeImageRegion(absl::string_view bytes, absl::FunctionRef<Box(int height, int width)> choose,
                               ImageRegion* region, int channels) {
  if (SniffImageFormat(bytes) == ImageFormat::kJpeg && (channels == 1 || channels == 3)) {
    try {
      TEC_RETURN_IF_ERROR(DecodeJpegRegion(bytes, choose, region));
    } catch (const std::bad_alloc&) {
      return absl::ResourceExhaustedError("not enough memory to decode the image");
    }
    if (channels == 1) region->pixels.ToGrey();
    return absl::OkStatus();
  }
  TEC_RETURN_IF_ERROR(DecodeImage(bytes, &region->pixels, channels));
  region->height = region->pixels.height();
  region->width = region->pixels.width();
  region->top = region->left = 0;
  const Box box = choose(region->height, region->width);
  TEC_CHECK(box.FitsInto(region->height, region->width));
  return absl::OkStatus();
}

absl::StatusOr<Image> DecodeImage(absl::string_view bytes, int channels) {
  Image image;
  TEC_RETURN_IF_ERROR(DecodeImage(bytes, &image, channels));
  return image;
}

}  // namespace tec
