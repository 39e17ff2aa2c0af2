// The pictures of a page, kept for TensorBoard too where that is asked for.

#ifndef TEC_EVAL_REPORT_GALLERY_H_
#define TEC_EVAL_REPORT_GALLERY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/strings/string_view.h"

namespace tec {

// What TensorBoard shows under `tag`, at `step` of its slider: a JPEG or a PNG file.
struct KeptPicture {
  std::string tag;
  int64_t step = 0;
  std::string encoded;
};

// A page stays below 20 MB: pictures are shown at most so large, and after so many bytes no more are added.
inline constexpr int64_t kMostPhotoSide = 256;
inline constexpr size_t kMostGalleryBytes = 14 << 20;

class Gallery {
 public:
  explicit Gallery(bool keeps) : keeps_(keeps) {}

  // A PNG as an element of a page, with `caption`, any text, below it. An empty tag: it is on the page alone.
  std::string Map(const std::string& png, absl::string_view caption, const std::string& tag = "", int64_t step = 0);
  // The same of pixels, uint8 [S, S, 3], as a JPEG.
  std::string Photo(const at::Tensor& pixels, absl::string_view caption, const std::string& tag = "", int64_t step = 0);

  // Whether the page can hold no more; Map and Photo then keep what has a tag and return nothing.
  bool full() const { return bytes_ >= kMostGalleryBytes; }
  // HTML that says so; empty otherwise.
  std::string Note() const;

  const std::vector<KeptPicture>& kept() const { return kept_; }

 private:
  void Keep(const std::string& encoded, const std::string& tag, int64_t step);
  std::string Figure(absl::string_view mime_type, const std::string& encoded, absl::string_view caption);

  const bool keeps_;
  size_t bytes_ = 0;  // Of the page's elements so far.
  std::vector<KeptPicture> kept_;
};

}  // namespace tec

#endif  // TEC_EVAL_REPORT_GALLERY_H_
