#include "tec/dist/replicas.h"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "ATen/ATen.h"
#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "tec/dist/forked_ranks.h"

namespace tec {
namespace {

using testing::RunRanks;

ReplicatedTensors State(double add) {
  return {{"weight", at::arange(12, at::kFloat).view({3, 4}) + add},
          {"view", (at::arange(12, at::kDouble) + add).view({3, 4}).t()},
          {"step", at::full({}, 7 + add)},
          {"half", at::full({5}, 1.5 + add).to(at::kBFloat16)},
          {"flags", at::full({3}, add > 0).to(at::kByte)}};
}

TEST(ReplicasTest, RankZerosStateIsSentToAll) {
  RunRanks(3, [](ProcessGroup& group) -> std::string {
    const ReplicatedTensors state = State(group.rank()), expected = State(0);
    absl::Status status = CompareReplicas(group, state, "at first");
    if (!absl::IsDataLoss(status)) return status.ToString();
    status = SendReplicas(group, state);
    if (!status.ok()) return status.ToString();
    for (size_t i = 0; i < state.size(); ++i) {
      if (!state[i].second.equal(expected[i].second)) return state[i].first;
    }
    status = CompareReplicas(group, state, "afterwards");
    return status.ok() ? "" : status.ToString();
  });
}

// The smallest difference there is, of the tensor and of the ranks that have it.
TEST(ReplicasTest, OneBitIsNamedWithItsTensorAndRanks) {
  RunRanks(4, [](ProcessGroup& group) -> std::string {
    ReplicatedTensors state = State(0);
    if (group.rank() % 2 == 1) {
      float& value = state[0].second.mutable_data_ptr<float>()[5];
      value = std::nextafter(value, 9.f);
    }
    if (group.rank() == 3) state[2].second.fill_(8);
    const absl::Status status = CompareReplicas(group, state, "after update 7");
    const bool named =
        absl::IsDataLoss(status) &&
        absl::StrContains(status.message(), "differ after update 7: weight on ranks 1, 3, step on rank 3");
    return named ? "" : status.ToString();
  });
}

TEST(ReplicasTest, ChecksumsSeeWhatCancelsInASum) {
  const at::Tensor one = at::arange(8, at::kFloat) + 1;
  at::Tensor other = one.clone();
  float* values = other.mutable_data_ptr<float>();
  values[2] = std::nextafter(values[2], 100.f);
  values[5] = std::nextafter(values[5], 0.f);
  EXPECT_FALSE(TensorChecksum(one).equal(TensorChecksum(other)));
  values[2] = 3;
  values[5] = 6;
  EXPECT_TRUE(TensorChecksum(one).equal(TensorChecksum(other)));
  other[0] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(TensorChecksum(other).equal(TensorChecksum(other.clone())));
}

TEST(ReplicasTest, FactsThatDifferAreAllNamedWithTheirRank) {
  RunRanks(3, [](ProcessGroup& group) -> std::string {
    RankFacts facts = {{"seed", "5"}, {"images", "30"}, {"optimizer.blr", "0.02"}};
    absl::Status status = CompareFacts(group, facts);
    if (!status.ok()) return status.ToString();
    if (group.rank() == 1) facts[0].second = "6";
    if (group.rank() == 1) facts[2].second = "0.03";
    if (group.rank() == 2) facts.pop_back();
    status = CompareFacts(group, facts);
    if (!absl::IsInvalidArgument(status)) return status.ToString();
    const std::string text(status.message());
    const bool good = group.rank() == 2
                          ? absl::StrContains(text, "optimizer.blr is nothing here, 0.02 on rank 0")
                          : absl::StrContains(text, "seed is 6 here, 5 on rank 0; optimizer.blr is 0.03 here");
    if (!good) return text;
    if (group.rank() == 0 && !(absl::StrContains(text, "rank 1: ") && absl::StrContains(text, "rank 2: "))) return text;
    return "";
  });
}

}  // namespace
}  // namespace tec
