#include "eval/metrics/report.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tec/base/file.h"
#include "tec/base/json_text.h"
#include "tec/base/logging.h"
#include "tec/base/printable.h"

namespace tec {
namespace {

constexpr size_t kShown = 5;  // Classes, and pairs of classes, that FormatReport tells of.

// Equal values: the smaller class, as AccuracyCounter ranks them. A NaN is never predicted unless all are.
size_t Predicted(absl::Span<const double> values) {
  size_t predicted = 0;
  for (size_t c = 1; c < values.size(); ++c) {
    if (values[c] > values[predicted] || std::isnan(values[predicted])) predicted = c;
  }
  return predicted;
}

// Pairs of different classes, those confused most often first.
std::vector<Confusion::const_iterator> ConfusedPairs(const ClassificationReport& report) {
  std::vector<Confusion::const_iterator> pairs;
  for (auto pair = report.confusion.begin(); pair != report.confusion.end(); ++pair) {
    if (pair->first.first != pair->first.second) pairs.push_back(pair);
  }
  std::stable_sort(pairs.begin(), pairs.end(), [](const auto& a, const auto& b) { return a->second > b->second; });
  return pairs;
}

}  // namespace

ReportCounter::ReportCounter(int64_t classes) : accuracy_(classes), bins_(kBins) {}

ReportCounter::ReportCounter(int64_t classes, absl::Span<const double> sums) : ReportCounter(classes) {
  TEC_CHECK_EQ(sums.size(), Sums().size());
  const double* next = sums.data();
  const auto count = [&next] { return std::llround(*next++); };
  const auto counts = [&count, classes] {
    std::vector<int64_t> result(classes);
    for (int64_t& value : result) value = count();
    return result;
  };
  loss_ = *next++;
  for (CalibrationBin& bin : bins_) {
    bin.images = count();
    bin.confidence = *next++;
    bin.accuracy = *next++;
  }
  const int64_t first_five = count();
  const std::vector<int64_t> images_of_class = counts(), first_of_class = counts();
  accuracy_.Merge(first_five, images_of_class, first_of_class);
  confusion_known_ = classes <= kMostClassesInSums;
  for (int64_t label = 0; label < classes && confusion_known_; ++label) {
    for (int64_t predicted = 0; predicted < classes; ++predicted) {
      if (const int64_t images = count(); images > 0) confusion_[{label, predicted}] = images;
    }
  }
}

std::vector<double> ReportCounter::Sums() const {
  std::vector<double> sums = {loss_};
  for (const CalibrationBin& bin : bins_) {
    sums.insert(sums.end(), {static_cast<double>(bin.images), bin.confidence, bin.accuracy});
  }
  sums.push_back(static_cast<double>(accuracy_.first_five()));
  sums.insert(sums.end(), accuracy_.images_of_class().begin(), accuracy_.images_of_class().end());
  sums.insert(sums.end(), accuracy_.first_of_class().begin(), accuracy_.first_of_class().end());
  const size_t classes = accuracy_.images_of_class().size();
  if (classes > kMostClassesInSums) return sums;
  const size_t begin = sums.size();
  sums.resize(begin + classes * classes);
  for (const auto& [pair, images] : confusion_) {
    sums[begin + pair.first * classes + pair.second] = static_cast<double>(images);
  }
  return sums;
}

void ReportCounter::Add(absl::Span<const float> logits, int64_t label) {
  Add(std::vector<double>(logits.begin(), logits.end()), label);
}

void ReportCounter::Add(absl::Span<const double> logits, int64_t label) {
  accuracy_.Add(logits, label);
  const size_t predicted = Predicted(logits);
  const double largest = logits[predicted];
  double sum = 0;
  for (const double logit : logits) sum += std::exp(logit - largest);
  Count(label, predicted, largest + std::log(sum) - logits[label], 1 / sum);
}

void ReportCounter::AddVotes(absl::Span<const double> votes, int64_t label) {
  accuracy_.Add(votes, label);
  const size_t predicted = Predicted(votes);
  const double sum = std::accumulate(votes.begin(), votes.end(), 0.0);
  Count(label, predicted, std::log(sum / votes[label]), votes[predicted] / sum);
}

void ReportCounter::Count(int64_t label, size_t predicted, double loss, double confidence) {
  ++confusion_[{label, static_cast<int64_t>(predicted)}];
  loss_ += loss;
  // (low, high]: a confidence of exactly 1 belongs to the last bin. NaN, of logits that are not finite, to the first.
  const int bin =
      std::isnan(confidence) ? 0 : std::clamp(static_cast<int>(std::ceil(confidence * kBins)) - 1, 0, kBins - 1);
  ++bins_[bin].images;
  bins_[bin].confidence += confidence;
  bins_[bin].accuracy += predicted == static_cast<size_t>(label) ? 1 : 0;
}

ClassificationReport ReportCounter::Report() const {
  ClassificationReport report;
  report.images = accuracy_.images();
  report.top1 = accuracy_.top1();
  report.top5 = accuracy_.top5();
  const double images = static_cast<double>(report.images);
  report.loss = loss_ / images;
  for (CalibrationBin bin : bins_) {
    const double in_bin = static_cast<double>(bin.images);
    if (bin.images > 0) report.calibration_error += std::abs(bin.accuracy - bin.confidence) / images;
    bin.confidence /= in_bin;
    bin.accuracy /= in_bin;
    report.bins.push_back(bin);
  }
  if (report.images == 0) report.calibration_error = std::nan("");
  report.images_of_class = accuracy_.images_of_class();
  report.per_class_top1 = accuracy_.PerClassTop1();
  report.confusion = confusion_;
  report.confusion_known = confusion_known_;
  return report;
}

double ClassificationReport::MeanPerClassTop1() const {
  double sum = 0;
  int64_t classes = 0;
  for (const double top1 : per_class_top1) {
    if (std::isnan(top1)) continue;
    sum += top1;
    ++classes;
  }
  return classes == 0 ? std::nan("") : sum / static_cast<double>(classes);
}

nlohmann::ordered_json ToJson(const ClassificationReport& report, const std::vector<std::string>& classes) {
  TEC_CHECK_EQ(classes.size(), report.images_of_class.size());
  nlohmann::ordered_json bins = nlohmann::ordered_json::array();
  for (const CalibrationBin& bin : report.bins) {
    bins.push_back({{"images", bin.images}, {"confidence", bin.confidence}, {"accuracy", bin.accuracy}});
  }
  nlohmann::ordered_json json = {{"images", report.images},
                                 {"top1", report.top1},
                                 {"top5", report.top5},
                                 {"loss", report.loss},
                                 {"mean_per_class_top1", report.MeanPerClassTop1()},
                                 {"calibration_error", report.calibration_error},
                                 {"calibration_bins", std::move(bins)},
                                 {"classes", classes},
                                 {"images_of_class", report.images_of_class},
                                 {"per_class_top1", report.per_class_top1}};
  if (!report.confusion_known) return json;
  if (classes.size() > kMostClassesAsMatrix) {
    std::vector<Confusion::const_iterator> pairs = ConfusedPairs(report);
    pairs.resize(std::min(pairs.size(), kMostPairs));
    nlohmann::ordered_json& confused = json["confused"] = nlohmann::ordered_json::array();
    for (const auto& pair : pairs) confused.push_back({pair->first.first, pair->first.second, pair->second});
    return json;
  }
  std::vector<std::vector<int64_t>> matrix(classes.size(), std::vector<int64_t>(classes.size()));
  for (const auto& [pair, images] : report.confusion) matrix[pair.first][pair.second] = images;
  json["confusion"] = matrix;
  return json;
}

absl::Status WriteConfusion(const ClassificationReport& report, const std::string& path) {
  if (!report.confusion_known) {
    return absl::FailedPreconditionError(
        absl::StrCat("the confusion of ", report.images_of_class.size(), " classes was not added up over the ranks"));
  }
  // https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html: the header ends at a multiple of 64 bytes.
  std::string header =
      absl::StrCat("{'descr': '<i8', 'fortran_order': False, 'shape': (", report.confusion.size(), ", 3), }");
  constexpr absl::string_view kMagic("\x93NUMPY\x01\x00", 8);
  while ((kMagic.size() + 2 + header.size() + 1) % 64 != 0) header += ' ';
  header += '\n';
  std::string bytes = absl::StrCat(
      kMagic, std::string{static_cast<char>(header.size() & 0xFF), static_cast<char>(header.size() >> 8)}, header);
  for (const auto& [pair, images] : report.confusion) {
    for (const int64_t number : {pair.first, pair.second, images}) {
      for (int shift = 0; shift < 64; shift += 8) bytes.push_back(static_cast<char>(number >> shift));
    }
  }
  return WriteFile(path, bytes);
}

std::string FormatReport(const ClassificationReport& report, const std::vector<std::string>& classes) {
  TEC_CHECK_EQ(classes.size(), report.images_of_class.size());
  std::string text = absl::StrFormat(
      "top-1 %.3f %%   top-5 %.3f %%   loss %.4f   mean of the classes %.3f %%   calibration error %.4f   %d images\n",
      report.top1, report.top5, report.loss, report.MeanPerClassTop1(), report.calibration_error, report.images);
  std::vector<size_t> worst;
  for (size_t c = 0; c < classes.size(); ++c) {
    if (report.images_of_class[c] > 0) worst.push_back(c);
  }
  if (worst.size() < classes.size()) {
    absl::StrAppend(&text, classes.size() - worst.size(), " of ", classes.size(), " classes have no held-out images\n");
  }
  std::stable_sort(worst.begin(), worst.end(),
                   [&](size_t a, size_t b) { return report.per_class_top1[a] < report.per_class_top1[b]; });
  absl::StrAppend(&text, "lowest:");
  for (size_t i = 0; i < std::min(kShown, worst.size()); ++i) {
    absl::StrAppendFormat(&text, "%s %s %.1f %%", i == 0 ? "" : ",", Printable(classes[worst[i]]),
                          report.per_class_top1[worst[i]]);
  }
  const std::vector<Confusion::const_iterator> pairs = ConfusedPairs(report);
  absl::StrAppend(&text, "\nmost often taken for another:",
                  !report.confusion_known ? absl::StrCat(" not counted by several ranks for more than ",
                                                         ReportCounter::kMostClassesInSums, " classes")
                  : pairs.empty()         ? " none"
                                          : "");
  for (size_t i = 0; i < std::min(kShown, pairs.size()); ++i) {
    const auto [label, predicted] = pairs[i]->first;
    absl::StrAppendFormat(&text, "%s %s for %s (%d)", i == 0 ? "" : ",", Printable(classes[label]),
                          Printable(classes[predicted]), pairs[i]->second);
  }
  absl::StrAppend(&text, "\n");
  return text;
}

namespace {

void AppendJson(const nlohmann::ordered_json& json, int depth, std::string* text) {
  const bool list = json.is_array() && !json.empty() && (json[0].is_array() || json[0].is_object());
  if (depth > 2 || json.empty() || (!json.is_object() && !list)) {
    absl::StrAppend(text, DumpJson(json));
    return;
  }
  absl::StrAppend(text, json.is_object() ? "{" : "[");
  bool first = true;
  for (const auto& [key, value] : json.items()) {
    absl::StrAppend(text, first ? "\n" : ",\n", std::string(2 * (depth + 1), ' '));
    first = false;
    if (json.is_object()) absl::StrAppend(text, DumpJson(key), ": ");
    AppendJson(value, depth + 1, text);
  }
  absl::StrAppend(text, "\n", std::string(2 * depth, ' '), json.is_object() ? "}" : "]");
}

}  // namespace

std::string FormatJson(const nlohmann::ordered_json& json) {
  std::string text;
  AppendJson(json, 0, &text);
  return text + "\n";
}

}  // namespace tec
