// WebP through libwebp: lossy and lossless, the first frame of an animation on a black canvas; alpha is dropped.

#include <webp/decode.h>
#include <webp/demux.h>

#include <cstring>
#include <memory>

#include "absl/strings/str_cat.h"
#include "data/image/decode_formats.h"

namespace tec {

absl::Status DecodeWebp(absl::string_view bytes, Image* image) {
  const WebPData data{reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
  WebPDemuxState state;
  const std::unique_ptr<WebPDemuxer, void (*)(WebPDemuxer*)> demuxer(WebPDemuxPartial(&data, &state), WebPDemuxDelete);
  if (demuxer == nullptr || state != WEBP_DEMUX_DONE) {
    return absl::DataLossError(state == WEBP_DEMUX_PARSE_ERROR ? "the WebP's structure is broken"
                                                               : "the WebP is truncated");
  }
  const int64_t width = WebPDemuxGetI(demuxer.get(), WEBP_FF_CANVAS_WIDTH);
  const int64_t height = WebPDemuxGetI(demuxer.get(), WEBP_FF_CANVAS_HEIGHT);
  WebPIterator frame;
  if (!WebPDemuxGetFrame(demuxer.get(), 1, &frame)) return absl::DataLossError("the WebP has no frame");
  const std::unique_ptr<WebPIterator, void (*)(WebPIterator*)> release(&frame, WebPDemuxReleaseIterator);
  WebPDecoderConfig config;
  if (!WebPInitDecoderConfig(&config) ||
      WebPGetFeatures(frame.fragment.bytes, frame.fragment.size, &config.input) != VP8_STATUS_OK) {
    return absl::DataLossError("the WebP's frame has no valid header");
  }
  const int64_t frame_height = config.input.height, frame_width = config.input.width;
  if (frame.x_offset < 0 || frame.y_offset < 0 || frame.x_offset + frame_width > width ||
      frame.y_offset + frame_height > height) {
    return absl::DataLossError("the WebP's frame does not lie on its canvas");
  }
  // A lossless frame is held as 32-bit pixels, with rows and tables of their own; alpha is a plane and such a frame.
  const int64_t beside = frame_height * frame_width * (config.input.format == 2 || config.input.has_alpha ? 6 : 1);
  const absl::Status size = CheckImageSize("WebP", height, width, beside);
  if (!size.ok()) return size;

  image->Resize(height, width);
  if (frame_height != height || frame_width != width) std::memset(image->data(), 0, image->size_bytes());
  config.output.colorspace = MODE_RGB;
  config.output.is_external_memory = 1;
  config.output.u.RGBA.rgba = image->row(frame.y_offset) + ptrdiff_t{3} * frame.x_offset;
  config.output.u.RGBA.stride = image->stride();
  config.output.u.RGBA.size = image->stride() * (frame_height - 1) + 3 * frame_width;
  const VP8StatusCode status = WebPDecode(frame.fragment.bytes, frame.fragment.size, &config);
  WebPFreeDecBuffer(&config.output);
  switch (status) {
    case VP8_STATUS_OK:
      return absl::OkStatus();
    case VP8_STATUS_OUT_OF_MEMORY:
      return absl::ResourceExhaustedError("not enough memory to decode the WebP");
    case VP8_STATUS_SUSPENDED:
    case VP8_STATUS_NOT_ENOUGH_DATA:
      return absl::DataLossError("the WebP is truncated");
    default:
      return absl::DataLossError(absl::StrCat("the WebP cannot be decoded: error ", static_cast<int>(status)));
  }
}

}  // namespace tec
