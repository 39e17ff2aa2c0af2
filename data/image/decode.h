// Encoded image to pixels, bit for bit what PIL's Image.open(f).convert("RGB") gives (reliability.md section 3.2), or
// convert("L"), or the file's own channels.

#ifndef TEC_DATA_IMAGE_DECODE_H_
#define TEC_DATA_IMAGE_DECODE_H_

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data/image/image.h"

namespace tec {

// Limits on what a file may make the decoder do; they hold before memory is taken.
inline constexpr int64_t kMaxImagePixels = 178956970;  // PIL's: twice its MAX_IMAGE_PIXELS.
inline constexpr int kMaxJpegScans = 100;              // Encoders write about ten.
// Of the pixels and all that a decoder keeps beside them. The largest image just fits; what needs more beside its
// pixels, such as a progressive JPEG of above 57 million pixels decoded whole, does not.
inline constexpr int64_t kMaxDecodeMemory = int64_t{512} << 20;

// What the first bytes say; a file's name says nothing (ImageNet has a PNG called .JPEG).
enum class ImageFormat { kUnknown, kJpeg, kPng, kGif, kWebp, kTiff, kBmp, kPnm, kJpeg2000, kHeif };
ImageFormat SniffImageFormat(absl::string_view bytes);

// "JPEG", "PNG", ...; "unknown".
const char* ImageFormatName(ImageFormat format);

// Decodes JPEG, PNG, WebP, TIFF, BMP, GIF (the first frame) and PPM/PGM/PBM. EXIF orientation (but TIFF's), colour
// profiles and gamma are ignored, alpha is dropped. On success `*image` holds every pixel; on an error its pixels are
// undefined. Never throws. The status does not name the file: the caller knows its name.
//
// `channels`, at least 1, says what a pixel is:
//
//   3       RGB, of any format
//   1       grey, of any format: PIL's convert("L")
//   other   the channels of the file itself, which must be a PNG or a TIFF of exactly that many. A PNG of grey and
//   alpha
//           has 2, one of colour and alpha 4, be it by a palette; PIL's pixels of mode LA and RGBA. A TIFF's are its
//           samples of 8 bits, or the high bytes of 16, as they are stored, whatever they mean.
//
//
//   InvalidArgument    no image: empty, text, an unknown format; a file of other than `channels` channels
//   Unimplemented      a known format, or a rare kind of one, that is not supported, by name
//   DataLoss           truncated or corrupt. As PIL, a file must have every row, and need have no more: neither an end
//   marker
//                      nor a trailing checksum. Damaged data of a JPEG's row are decoded as far as they go
//   ResourceExhausted  beyond a limit above, or no memory
absl::Status DecodeImage(absl::string_view bytes, Image* image, int channels = 3);
absl::StatusOr<Image> DecodeImage(absl::string_view bytes, int channels = 3);

// Decodes at least a box of the image, its pixels the same as DecodeImage's, and refuses what DecodeImage refuses.
// `choose` is called once, with the image's height and width, and returns the box, which must fit into it. A JPEG costs
// the entropy decoding of the rows above the box and the full decoding of the box; other formats are decoded whole.
absl::Status DecodeImageRegion(absl::string_view bytes, absl::FunctionRef<Box(int height, int width)> choose,
                               ImageRegion* region, int channels = 3);

}  // namespace tec

#endif  // TEC_DATA_IMAGE_DECODE_H_
