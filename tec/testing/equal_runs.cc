#include "tec/testing/equal_runs.h"

#include <algorithm>
#include <cmath>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "nlohmann/json.hpp"
#include "tec/base/file.h"
#include "tec/checkpoint/training_state.h"

namespace tec::testing {
namespace {

using Updates = std::vector<nlohmann::json>;

absl::StatusOr<Updates> ReadUpdates(const std::string& folder) {
  const absl::StatusOr<std::string> text = ReadFile(folder + "/metrics.jsonl");
  if (!text.ok()) return text.status();
  Updates updates;
  for (const absl::string_view line : absl::StrSplit(*text, '\n', absl::SkipEmpty())) {
    updates.push_back(nlohmann::json::parse(line.begin(), line.end(), nullptr, /*allow_exceptions=*/false));
    if (!updates.back().is_object()) return absl::DataLossError(absl::StrCat(folder, ": ", line));
  }
  return updates;
}

void CompareUpdates(const Updates& one, const Updates& other, std::vector<std::string> keys, double relative,
                    std::string* differences) {
  if (one.empty() || one.size() != other.size()) {
    absl::StrAppend(differences, one.size(), " updates and ", other.size(), "\n");
    return;
  }
  keys.push_back("grad_norm");
  for (size_t i = 0; i < one.size(); ++i) {
    for (const std::string& key : keys) {
      const double a = one[i].value(key, NAN), b = other[i].value(key, NAN);
      if (std::abs(a - b) <= relative * std::max(std::abs(a), std::abs(b))) continue;
      absl::StrAppendFormat(differences, "update %d: %s %.9g and %.9g\n", i, key, a, b);
    }
  }
}

void CompareWeights(const StateDict& one, const StateDict& other, double limit, std::string* differences) {
  if (one.size() == 0 || one.size() != other.size()) {
    absl::StrAppend(differences, one.size(), " tensors and ", other.size(), "\n");
  }
  for (const auto& [name, tensor] : one) {
    const TensorView* twin = other.Find(name);
    if (twin == nullptr || twin->shape != tensor.shape) {
      absl::StrAppend(differences, name, " is missing or of another shape\n");
      continue;
    }
    const std::vector<float> a = tensor.Values<float>(), b = twin->Values<float>();
    // Of queries, keys and values; of queries and keys.
    const size_t parts = absl::EndsWith(name, "qkv.bias") ? 3 : absl::EndsWith(name, "qk.bias") ? 2 : 0;
    double largest = 0;
    for (size_t i = 0; i < a.size(); ++i) {
      if (parts > 0 && i / (a.size() / parts) == 1) continue;
      const double difference = std::abs(static_cast<double>(a[i]) - b[i]);
      if (!(difference <= largest)) largest = difference;  // Also NaN.
    }
    if (!(largest <= limit)) absl::StrAppendFormat(differences, "%s differs by %.3g\n", name, largest);
  }
}

}  // namespace

std::string DifferenceOfRuns(const std::string& folder, const std::string& other, const std::string& checkpoint,
                             const std::vector<std::string>& keys, const RunTolerance& tolerance) {
  std::string differences;
  const absl::StatusOr<Updates> updates = ReadUpdates(folder), other_updates = ReadUpdates(other);
  const absl::StatusOr<TrainingState> state = LoadTrainingState(absl::StrCat(folder, "/", checkpoint)),
                                      other_state = LoadTrainingState(absl::StrCat(other, "/", checkpoint));
  for (const absl::Status& status : {updates.status(), other_updates.status(), state.status(), other_state.status()}) {
    if (!status.ok()) absl::StrAppend(&differences, status.ToString(), "\n");
  }
  if (!differences.empty()) return differences;
  CompareUpdates(*updates, *other_updates, keys, tolerance.relative, &differences);
  CompareWeights(state->model, other_state->model, tolerance.weight, &differences);
  return differences;
}

}  // namespace tec::testing
