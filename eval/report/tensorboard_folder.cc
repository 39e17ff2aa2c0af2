#include "eval/report/tensorboard_folder.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <utility>

#include "ATen/ATen.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "data/augment/resize_nearest.h"
#include "data/image/decode.h"
#include "data/image/encode.h"
#include "data/image/image.h"
#include "tec/base/file.h"
#include "tec/base/printable.h"
#include "tec/base/status.h"
#include "tec/nn/module_state.h"
#include "tec/run/picture_events.h"

namespace tec {
namespace {

constexpr int kLeastSide = 112;       // A map of one pixel a patch would be a speck.
constexpr int kSpriteSide = 48;       // Of a thumbnail in the projector; 100 x 100 of them are within its 8192 pixels.
constexpr int64_t kBuckets = 50;      // Of a histogram.
constexpr int64_t kMostRows = 10000;  // Of the projector.

absl::StatusOr<Histogram> HistogramOf(const at::Tensor& tensor) {
  const at::Tensor values = tensor.detach().to(at::kCPU, at::kDouble).flatten();
  if (values.numel() == 0 || !values.isfinite().all().item<bool>()) {
    return absl::InvalidArgumentError("not all finite");
  }
  Histogram histogram;
  histogram.min = values.min().item<double>();
  histogram.max = values.max().item<double>();
  histogram.count = static_cast<double>(values.numel());
  histogram.sum = values.sum().item<double>();
  histogram.sum_of_squares = values.square().sum().item<double>();
  const double width = (histogram.max - histogram.min) / static_cast<double>(kBuckets);
  if (!(width > 0)) {  // One value.
    histogram.limits = {histogram.max};
    histogram.counts = {histogram.count};
    return histogram;
  }
  const at::Tensor counts = at::histc(values, kBuckets, histogram.min, histogram.max);
  for (int64_t i = 0; i < kBuckets; ++i) {
    histogram.limits.push_back(i + 1 == kBuckets ? histogram.max : histogram.min + width * static_cast<double>(i + 1));
    histogram.counts.push_back(counts[i].item<double>());
  }
  return histogram;
}

absl::Status WritePicture(const KeptPicture& picture, PictureEvents* events) {
  TEC_ASSIGN_OR_RETURN(Image image, DecodeImage(picture.encoded));
  std::string encoded = picture.encoded;
  if (image.width() < kLeastSide) {
    const int times = (kLeastSide + image.width() - 1) / image.width();
    Image large(image.height() * times, image.width() * times, image.channels());
    ResizeNearest(image, large.height(), large.width(), large.data());
    TEC_ASSIGN_OR_RETURN(encoded, EncodePng(large));
    image = std::move(large);
  }
  return events->AddImage(picture.step, picture.tag, encoded, image.height(), image.width());
}

absl::Status WriteEvents(const SeenRun& run, const std::vector<KeptPicture>& pictures, const std::string& folder) {
  TEC_ASSIGN_OR_RETURN(const std::unique_ptr<PictureEvents> events, PictureEvents::Create(folder));
  for (const KeptPicture& picture : pictures) TEC_RETURN_IF_ERROR(WritePicture(picture, events.get()));
  if (!run.options().histograms) return events->Flush();
  for (size_t e = run.has_base() ? 1 : 0; e < run.encoders().size(); ++e) {
    const LookedAt& looked = run.encoders()[e];
    const auto add = [&](const std::string& tag, const at::Tensor& tensor) -> absl::Status {
      const absl::StatusOr<Histogram> histogram = HistogramOf(tensor);
      return histogram.ok() ? events->AddHistogram(looked.epoch, tag, *histogram) : absl::OkStatus();
    };
    for (const auto& [name, tensor] : NamedState(*looked.encoder)) TEC_RETURN_IF_ERROR(add("weights/" + name, tensor));
    const at::Tensor& pooled = run.pooled()[e];
    TEC_RETURN_IF_ERROR(add("features/pool", pooled.index({pooled.isfinite().all(1)})));
  }
  return events->Flush();
}

// One cell of a table of tabs.
std::string Cell(absl::string_view text) { return ToUtf8(Printable(text)); }

// Thumbnails of `rows` in a square, row by row, as the projector takes them.
absl::StatusOr<std::string> Sprite(const SeenRun& run, const std::vector<int64_t>& rows) {
  const int across = static_cast<int>(std::ceil(std::sqrt(static_cast<double>(rows.size()))));
  Image sprite(across * kSpriteSide, across * kSpriteSide);
  std::fill_n(sprite.data(), sprite.size_bytes(), uint8_t{0});
  std::vector<uint8_t> small(size_t{3} * kSpriteSide * kSpriteSide);
  for (size_t i = 0; i < rows.size(); ++i) {
    const at::Tensor pixels = run.thumbnails()[rows[i]].contiguous();
    Image image(static_cast<int>(pixels.size(0)), static_cast<int>(pixels.size(1)));
    std::copy_n(pixels.const_data_ptr<uint8_t>(), pixels.numel(), image.data());
    ResizeNearest(image, kSpriteSide, kSpriteSide, small.data());
    const int top = static_cast<int>(i) / across * kSpriteSide, left = static_cast<int>(i) % across * kSpriteSide;
    for (int y = 0; y < kSpriteSide; ++y) {
      std::copy_n(small.data() + size_t{3} * kSpriteSide * y, 3 * kSpriteSide,
                  sprite.row(top + y) + ptrdiff_t{3} * left);
    }
  }
  return EncodePng(sprite);
}

absl::Status WriteProjector(const SeenRun& run, const std::string& folder) {
  // Rows that all encoders have: what one cannot read no other can.
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < run.bank().size() && static_cast<int64_t>(rows.size()) < kMostRows; ++i) {
    bool there = run.thumbnails()[i].defined();
    for (const at::Tensor& pooled : run.pooled()) there = there && pooled[i].isfinite().all().item<bool>();
    if (there) rows.push_back(i);
  }
  if (rows.empty()) return absl::OkStatus();
  const Dataset& bank = run.bank();
  std::string metadata = bank.labelled() ? "name\tclass\n" : "";
  for (const int64_t row : rows) {
    absl::StrAppend(&metadata, Cell(bank.name(row)),
                    bank.labelled() ? "\t" + Cell(bank.classes()[bank.label(row)]) : std::string(), "\n");
  }
  TEC_RETURN_IF_ERROR(WriteFile(folder + "/metadata.tsv", metadata));
  TEC_ASSIGN_OR_RETURN(const std::string sprite, Sprite(run, rows));
  TEC_RETURN_IF_ERROR(WriteFile(folder + "/sprite.png", sprite));
  std::string config;
  // The newest first: the projector opens with it.
  std::vector<size_t> encoders = {run.encoders().size() - 1};
  if (run.has_base()) encoders.push_back(0);
  for (const size_t e : encoders) {
    const at::Tensor values = run.pooled()[e].index_select(0, at::tensor(rows, at::kLong)).to(at::kFloat).contiguous();
    std::string text;
    const float* value = values.const_data_ptr<float>();
    for (int64_t i = 0; i < values.numel(); ++i) {
      absl::StrAppendFormat(&text, "%.7g%c", value[i], (i + 1) % values.size(1) == 0 ? '\n' : '\t');
    }
    const std::string file = e == 0 && run.has_base() ? "vectors-before.tsv" : "vectors.tsv";
    TEC_RETURN_IF_ERROR(WriteFile(absl::StrCat(folder, "/", file), text));
    absl::StrAppend(&config, "embeddings {\n  tensor_name: \"", absl::CEscape(Cell(run.encoders()[e].name)),
                    "\"\n  tensor_shape: ", values.size(0), "\n  tensor_shape: ", values.size(1), "\n  tensor_path: \"",
                    file, "\"\n  metadata_path: \"metadata.tsv\"\n  sprite {\n",
                    "    image_path: \"sprite.png\"\n    single_image_dim: ", kSpriteSide,
                    "\n    single_image_dim: ", kSpriteSide, "\n  }\n}\n");
  }
  // Last: what it names is there.
  return WriteFile(folder + "/projector_config.pbtxt", config);
}

}  // namespace

absl::Status WriteTensorBoardFolder(const SeenRun& run, const std::vector<KeptPicture>& pictures) {
  const std::string& folder = run.options().tensorboard_folder;
  TEC_RETURN_IF_ERROR(MakeDirectories(folder));
  TEC_RETURN_IF_ERROR(WriteEvents(run, pictures, folder));
  return WriteProjector(run, folder);
}

}  // namespace tec
