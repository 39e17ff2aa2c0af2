#include "eval/predict/prediction_writer.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "eval/embed/csv.h"
#include "nlohmann/json.hpp"
#include "tec/base/json_text.h"
#include "tec/base/status.h"

namespace tec {
absl::StatusOr<PredictionWriter> PredictionWriter::Open(const std::string& path, std::vector<std::string> classes,
                                                        int64_t top) {
  const bool json = absl::EndsWith(path, ".jsonl");
  if (!json && !absl::EndsWith(path, ".csv")) {
    return absl::InvalidArgumentError(
        absl::StrCat("--output=", path, ": the name must end in .csv (a table) or .jsonl (JSON lines)"));
  }
  TEC_ASSIGN_OR_RETURN(std::unique_ptr<AtomicFileWriter> file, AtomicFileWriter::Open(path));
  top = std::min<int64_t>(top, classes.size());
  PredictionWriter writer(std::move(file), std::move(classes), top, json);
  if (!json) {
    std::string header = "image,class,probability";
    for (int64_t i = 2; i <= top; ++i) absl::StrAppend(&header, ",class_", i, ",probability_", i);
    TEC_RETURN_IF_ERROR(writer.file_->Write(header + ",error\n"));
  }
  return writer;
}

absl::Status PredictionWriter::Add(const std::string& image, absl::Span<const float> logits) {
  const double highest = *std::max_element(logits.begin(), logits.end());
  if (!std::isfinite(highest)) return AddUnreadable(image, "the model's output is not finite");
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - highest);
  std::vector<int64_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  // Equal ones in the order of the classes.
  std::partial_sort(order.begin(), order.begin() + top_, order.end(),
                    [&](int64_t a, int64_t b) { return logits[a] != logits[b] ? logits[a] > logits[b] : a < b; });
  const auto probability = [&](int64_t which) { return std::exp(logits[which] - highest) / sum; };
  if (json_) {
    nlohmann::ordered_json line = {
        {"image", image}, {"class", classes_[order[0]]}, {"probability", probability(order[0])}};
    for (int64_t i = 0; i < top_; ++i) {
      line["top"].push_back({{"class", classes_[order[i]]}, {"probability", probability(order[i])}});
    }
    return file_->Write(DumpJson(line) + "\n");
  }
  std::string line = CsvField(image);
  for (int64_t i = 0; i < top_; ++i) {
    absl::StrAppend(&line, ",", CsvField(classes_[order[i]]), ",", absl::StrFormat("%.6g", probability(order[i])));
  }
  return file_->Write(line + ",\n");
}

absl::Status PredictionWriter::AddUnreadable(const std::string& image, const std::string& reason) {
  if (json_) {
    const nlohmann::ordered_json line = {{"image", image}, {"error", reason}};
    return file_->Write(DumpJson(line) + "\n");
  }
  return file_->Write(absl::StrCat(CsvField(image), std::string(2 * top_ + 1, ','), CsvField(reason), "\n"));
}

}  // namespace tec
