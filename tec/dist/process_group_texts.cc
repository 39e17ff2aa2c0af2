// The operations of a process group that travel as short texts over its lifeline, not as tensors.

#include <cstring>
#include <set>
#include <utility>

#include "tec/base/logging.h"
#include "tec/base/status.h"
#include "tec/dist/process_group.h"

namespace tec {

absl::StatusOr<std::vector<double>> ProcessGroup::Mean(const std::vector<double>& values) {
  if (implementation_ == nullptr) return values;
  TEC_ASSIGN_OR_RETURN(const auto texts,
                       Gather(std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(double)),
                              "mean of numbers"));
  std::vector<double> means(values.size());
  for (const std::string& text : texts) {
    TEC_CHECK_EQ(text.size(), values.size() * sizeof(double)) << "each rank has the same numbers";
    for (size_t i = 0; i < values.size(); ++i) {
      double value;
      std::memcpy(&value, text.data() + i * sizeof(double), sizeof(double));
      means[i] += value / world_size_;
    }
  }
  return means;
}

absl::StatusOr<std::vector<int64_t>> ProcessGroup::Union(const std::vector<int64_t>& numbers, int64_t limit) {
  PayloadWriter writer;
  for (const int64_t number : numbers) {
    TEC_CHECK(number >= 0 && number < limit) << number << " of " << limit;
    writer.Number(number);
  }
  std::set<int64_t> all(numbers.begin(), numbers.end());
  TEC_ASSIGN_OR_RETURN(const auto texts, Gather(writer.payload(), "union of numbers"));
  for (const std::string& text : texts) {
    PayloadReader reader(text);
    for (size_t i = 0; i < text.size() / sizeof(int64_t); ++i) all.insert(reader.Number());
  }
  return std::vector<int64_t>(all.begin(), all.end());
}

absl::StatusOr<std::vector<int>> ProcessGroup::Which(bool flag) {
  TEC_ASSIGN_OR_RETURN(const auto flags, Gather(flag ? "1" : "", "asking all"));
  std::vector<int> ranks;
  for (int rank = 0; rank < world_size_; ++rank) {
    if (!flags[rank].empty()) ranks.push_back(rank);
  }
  return ranks;
}

absl::StatusOr<bool> ProcessGroup::Any(bool flag) {
  TEC_ASSIGN_OR_RETURN(const std::vector<int> ranks, Which(flag));
  return !ranks.empty();
}

absl::StatusOr<std::string> ProcessGroup::BroadcastText(const std::string& text) {
  TEC_ASSIGN_OR_RETURN(auto texts, Gather(rank_ == 0 ? text : "", "broadcast of a text"));
  return std::move(texts[0]);
}

}  // namespace tec
