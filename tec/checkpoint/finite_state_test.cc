#include "tec/checkpoint/finite_state.h"

#include <cmath>
#include <limits>
#include <string>

#include "absl/strings/match.h"
#include "gtest/gtest.h"

namespace tec {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

LoadedState Sound() {
  LoadedState loaded;
  loaded.path = "run/this_checkpoint.pth";
  TrainingState& state = loaded.state;
  state.method = "tec";
  EXPECT_TRUE(state.model.Add("blocks.0.norm1.weight", TensorView::FromFloats({2}, {1, 2})).ok());
  EXPECT_TRUE(state.model_ema.Add("blocks.0.norm1.weight", TensorView::FromFloats({2}, {1, 2})).ok());
  state.optimizer.groups.emplace_back();
  state.optimizer.groups[0].num_parameters = 1;
  state.optimizer.moments[0] = {3, TensorView::FromFloats({2}, {0, -1}), TensorView::FromFloats({2}, {0, 1})};
  state.scaler.emplace();
  return loaded;
}

void ExpectRefused(const LoadedState& loaded, const std::string& what) {
  const absl::Status status = CheckFinite(loaded);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  for (const std::string& part : {std::string("run/this_checkpoint.pth: "), what, std::string("--resume")}) {
    EXPECT_TRUE(absl::StrContains(status.message(), part)) << part << "\n" << status;
  }
}

TEST(CheckFiniteTest, NamesWhatIsNot) {
  EXPECT_TRUE(CheckFinite(Sound()).ok()) << CheckFinite(Sound());
  LoadedState weights = Sound();
  EXPECT_TRUE(weights.state.model.Add("norm.bias", TensorView::FromFloats({1, 2}, {0, std::nanf("")})).ok());
  ExpectRefused(weights, "norm.bias has 1 of 2 values that are not finite, the first nan at [0,1]");
  LoadedState average = Sound();
  EXPECT_TRUE(average.state.model_ema.Add("norm.bias", TensorView::FromFloats({1}, {-kInfinity})).ok());
  ExpectRefused(average, "model_ema: norm.bias has 1 of 1 values that are not finite, the first -inf at [0]");
  LoadedState first = Sound(), second = Sound();
  first.state.optimizer.moments[0].exp_avg = TensorView::FromFloats({2}, {0, kInfinity});
  ExpectRefused(first, "exp_avg of the optimizer's parameter 0 has 1 of 2 values");
  second.state.optimizer.moments[0].exp_avg_sq = TensorView::FromFloats({2}, {kInfinity, 0});
  ExpectRefused(second, "exp_avg_sq of the optimizer's parameter 0 has 1 of 2 values");
  LoadedState scale = Sound();
  scale.state.scaler->scale = kInfinity;
  ExpectRefused(scale, "the loss scale is inf");
  // One rate of a probe's sweep may diverge.
  weights.state.method = "linear";
  EXPECT_TRUE(CheckFinite(weights).ok());
}

}  // namespace
}  // namespace tec
