#include "eval/dense/segmentation_score.h"

#include <cmath>
#include <limits>

#include "tec/base/logging.h"
#include "tec/base/printable.h"

namespace tec {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

// Of a number that may be none.
nlohmann::ordered_json NumberOrNull(double value) {
  return std::isfinite(value) ? nlohmann::ordered_json(value) : nlohmann::ordered_json(nullptr);
}

}  // namespace

SegmentationScore::SegmentationScore(const std::vector<int>& ignored) : counts_(256) {
  for (auto& row : counts_) row.fill(0);
  for (const int number : ignored) {
    TEC_CHECK(number >= 0 && number < 256);
    ignored_[number] = true;
  }
}

void SegmentationScore::Add(absl::Span<const uint8_t> truth, absl::Span<const uint8_t> predicted) {
  TEC_CHECK_EQ(truth.size(), predicted.size());
  for (size_t i = 0; i < truth.size(); ++i) {
    if (ignored_[truth[i]]) continue;
    ++counts_[truth[i]][predicted[i]];
    ++pixels_;
  }
}

double SegmentationScore::Accuracy() const {
  int64_t right = 0;
  for (int c = 0; c < 256; ++c) right += counts_[c][c];
  return pixels_ == 0 ? kNone : 100.0 * right / pixels_;
}

double SegmentationScore::Iou(int number) const {
  int64_t is = 0, said = 0;
  for (int c = 0; c < 256; ++c) {
    is += counts_[number][c];
    said += counts_[c][number];
  }
  const int64_t both = counts_[number][number], either = is + said - both;
  return either == 0 ? kNone : 100.0 * both / either;
}

std::vector<int> SegmentationScore::Occurring() const {
  std::vector<int> numbers;
  for (int c = 0; c < 256; ++c) {
    if (!std::isnan(Iou(c))) numbers.push_back(c);
  }
  return numbers;
}

double SegmentationScore::MeanIou() const { return MeanIouOf(Occurring()); }

double SegmentationScore::MeanIouOf(const std::vector<int>& classes) const {
  double sum = 0;
  for (const int c : classes) {
    const double iou = Iou(c);
    sum += std::isnan(iou) ? 0 : iou;
  }
  return pixels_ == 0 || classes.empty() ? kNone : sum / static_cast<double>(classes.size());
}

nlohmann::ordered_json SegmentationScore::ToJson(const SegmentationData& data) const {
  nlohmann::ordered_json json = {
      {"miou", NumberOrNull(MeanIou())}, {"accuracy", NumberOrNull(Accuracy())}, {"pixels", pixels_}};
  const std::vector<int> numbers = Occurring();
  for (const int number : numbers) json["iou"][ToUtf8(data.NameOf(number))] = NumberOrNull(Iou(number));
  json["classes"] = numbers;
  json["confusion"] = nlohmann::ordered_json::array();
  for (const int truth : numbers) {
    std::vector<int64_t> row;
    for (const int predicted : numbers) row.push_back(counts_[truth][predicted]);
    json["confusion"].push_back(row);
  }
  return json;
}

}  // namespace tec
