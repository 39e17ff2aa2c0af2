#include "eval/dense/overlays.h"

#include <algorithm>
#include <utility>

#include "ATen/ATen.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "data/image/encode.h"
#include "data/image/image.h"
#include "tec/base/file.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"

namespace tec {

std::array<uint8_t, 3> MaskColour(int number) {
  std::array<uint8_t, 3> colour = {};
  for (int bit = 7; number != 0; --bit, number >>= 3) {
    for (int c = 0; c < 3; ++c) colour[c] |= static_cast<uint8_t>((number >> c & 1) << bit);
  }
  return colour;
}

std::string OverlaysPng(const at::Tensor& pixels, const std::vector<at::Tensor>& masks,
                        const std::vector<int>& ignored) {
  const at::Tensor picture = pixels.contiguous();
  const int height = static_cast<int>(picture.size(0)), width = static_cast<int>(picture.size(1));
  const int channels = static_cast<int>(picture.size(2));
  for (const at::Tensor& mask : masks) TEC_CHECK(mask.size(0) == height && mask.size(1) == width);
  Image image(height, width * (1 + static_cast<int>(masks.size())));
  const auto* bytes = picture.const_data_ptr<uint8_t>();
  for (size_t panel = 0; panel <= masks.size(); ++panel) {
    const at::Tensor mask = panel == 0 ? at::Tensor() : masks[panel - 1].contiguous();
    for (int y = 0; y < height; ++y) {
      uint8_t* out = image.row(y) + 3 * width * panel;
      for (int x = 0; x < width; ++x) {
        const uint8_t* pixel = bytes + (ptrdiff_t{y} * width + x) * channels;
        const int number = panel == 0 ? -1 : mask.const_data_ptr<uint8_t>()[ptrdiff_t{y} * width + x];
        const bool plain = number < 0 || std::find(ignored.begin(), ignored.end(), number) != ignored.end();
        const std::array<uint8_t, 3> colour = MaskColour(std::max(number, 0));
        for (int c = 0; c < 3; ++c, ++out) {
          const int value = pixel[std::min(c, channels - 1)];
          *out = static_cast<uint8_t>(plain ? value : (value + colour[c]) / 2);
        }
      }
    }
  }
  const absl::StatusOr<std::string> png = EncodePng(image);
  TEC_CHECK_OK(png);
  return *png;
}

OverlayWriter::OverlayWriter(const std::string& output_dir, int64_t images, int64_t count,
                             std::vector<std::string> panels, std::vector<int> ignored)
    : output_dir_(output_dir),
      images_(images),
      count_(output_dir.empty() ? 0 : std::min(count, images)),
      panels_(std::move(panels)),
      ignored_(std::move(ignored)) {}

bool OverlayWriter::Wants(int64_t index) const {
  // The first of each of count_ equal parts.
  if (count_ == 0) return false;
  const int64_t part = (index * count_ + images_ - 1) / images_;
  return part < count_ && part * images_ / count_ == index;
}

absl::Status OverlayWriter::Add(int64_t index, const std::string& name, const at::Tensor& pixels,
                                const std::vector<at::Tensor>& masks) {
  if (!Wants(index)) return absl::OkStatus();
  TEC_RETURN_IF_ERROR(MakeDirectories(output_dir_ + "/pictures"));
  const std::string file = absl::StrFormat("pictures/%05d.png", index);
  TEC_RETURN_IF_ERROR(WriteFile(absl::StrCat(output_dir_, "/", file), OverlaysPng(pixels, masks, ignored_)));
  files_.push_back({{"name", name}, {"file", file}});
  return absl::OkStatus();
}

nlohmann::ordered_json OverlayWriter::ToJson() const { return {{"panels", panels_}, {"files", files_}}; }

}  // namespace tec
