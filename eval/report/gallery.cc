#include "eval/report/gallery.h"

#include <algorithm>
#include <utility>

#include "ATen/ATen.h"
#include "absl/strings/str_cat.h"
#include "data/augment/resize.h"
#include "data/image/encode.h"
#include "data/image/image.h"
#include "eval/report/html.h"
#include "tec/base/logging.h"

namespace tec {
namespace {

// pixels: uint8 [S, S, 3] -> a JPEG file of at most kMostPhotoSide.
std::string JpegOf(const at::Tensor& pixels) {
  const at::Tensor bytes = pixels.contiguous();
  Image image(static_cast<int>(bytes.size(0)), static_cast<int>(bytes.size(1)));
  std::copy_n(bytes.const_data_ptr<uint8_t>(), bytes.numel(), image.data());
  if (image.width() > kMostPhotoSide) {
    Image small(static_cast<int>(kMostPhotoSide), static_cast<int>(kMostPhotoSide));
    ResizeScratch scratch;
    ResizeBicubic(image, {0, 0, image.height(), image.width()}, small.height(), small.width(), /*flip=*/false, &scratch,
                  small.data());
    image = std::move(small);
  }
  const absl::StatusOr<std::string> jpeg = EncodeJpeg(image);
  TEC_CHECK_OK(jpeg);
  return *jpeg;
}

}  // namespace

std::string Gallery::Figure(absl::string_view mime_type, const std::string& encoded, absl::string_view caption) {
  if (full()) return "";
  std::string html = absl::StrCat("<figure><img alt=\"\" src=\"", DataUri(mime_type, encoded), "\"><figcaption>",
                                  HtmlText(caption), "</figcaption></figure>\n");
  bytes_ += html.size();
  return html;
}

std::string Gallery::Map(const std::string& png, absl::string_view caption, const std::string& tag, int64_t step) {
  Keep(png, tag, step);
  return Figure("image/png", png, caption);
}

std::string Gallery::Photo(const at::Tensor& pixels, absl::string_view caption, const std::string& tag, int64_t step) {
  const std::string jpeg = JpegOf(pixels);
  Keep(jpeg, tag, step);
  return Figure("image/jpeg", jpeg, caption);
}

std::string Gallery::Note() const {
  return full() ? "<p class=\"warning\">More pictures were left out: the page stays below 20 MB.</p>\n" : "";
}

void Gallery::Keep(const std::string& encoded, const std::string& tag, int64_t step) {
  if (keeps_ && !tag.empty()) kept_.push_back({tag, step, encoded});
}

}  // namespace tec
