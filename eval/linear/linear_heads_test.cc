// Heads that several ranks train by the mean of their gradients.

#include "eval/linear/linear_heads.h"

#include <memory>
#include <string>
#include <vector>

#include "ATen/ATen.h"
#include "absl/strings/str_cat.h"
#include "eval/linear/linear_probe.h"
#include "gtest/gtest.h"
#include "tec/dist/forked_ranks.h"

namespace tec {
namespace {

constexpr int64_t kWidth = 5, kClasses = 3, kImages = 7;

at::Tensor FeaturesOf(int rank, int64_t update) {
  return at::sin(at::arange(kImages * kWidth, at::kFloat) * (0.7 + rank) + static_cast<double>(update))
      .view({kImages, kWidth});
}
at::Tensor LabelsOf(int rank) { return (at::arange(kImages, at::kLong) + rank) % kClasses; }

std::string Compare(const std::string& what, const at::Tensor& got, const at::Tensor& expected) {
  const double error = (got - expected).abs().max().item<double>();
  return error <= 1e-6 ? "" : absl::StrCat(what, " is off by ", error, "\n");
}

// Against plain probes in one process: the gradient of all ranks' micro-batches, each normalised by its own statistics,
// and the mean of their running averages.
std::string TrainAsOne(ProcessGroup& group) {
  LinearRunOptions options;
  options.rates = {1, 0.5};
  options.optimizer.trust_coefficient = 0;  // Which would hide a wrong scale.
  const FeatureSpec cls = kClsFeatures;
  const LinearHeads heads(options, cls, kWidth, kClasses, at::kCPU);
  const int ranks = group.world_size();

  LinearProbeOptions plain;
  plain.width = kWidth;
  plain.classes = kClasses;
  plain.lr_scales = options.rates;
  plain.optimizer = options.optimizer;
  LinearProbe expected(plain, options.frozen.seed);
  std::vector<std::unique_ptr<LinearProbe>> alone;  // For the statistics of each rank's images.
  for (int rank = 0; rank < ranks; ++rank) alone.push_back(std::make_unique<LinearProbe>(plain, 0));
  at::Tensor mean = at::zeros({kWidth}), variance = at::ones({kWidth});
  for (int64_t update = 0; update < 3; ++update) {
    heads.Accumulate(FeaturesOf(group.rank(), update), LabelsOf(group.rank()));
    if (const absl::Status status = heads.Average(group); !status.ok()) return status.ToString();
    heads.Step(0.3);
    at::Tensor means = at::zeros({kWidth}), variances = at::zeros({kWidth});
    for (int rank = 0; rank < ranks; ++rank) {
      expected.Accumulate(FeaturesOf(rank, update), LabelsOf(rank), ranks);
      alone[rank]->running_mean().copy_(mean);
      alone[rank]->running_var().copy_(variance);
      alone[rank]->Accumulate(FeaturesOf(rank, update), LabelsOf(rank));
      means += alone[rank]->running_mean() / ranks;
      variances += alone[rank]->running_var() / ranks;
    }
    expected.Step(0.3);
    mean = means;
    variance = variances;
  }
  std::string wrong;
  for (const auto& [name, tensor] : heads.Replicated()) {
    if (name == "cls.weight") wrong += Compare(name, tensor, expected.weight());
    if (name == "cls.bias") wrong += Compare(name, tensor, expected.bias());
    if (name == "cls.running_mean") wrong += Compare(name, tensor, mean);
    if (name == "cls.running_var") wrong += Compare(name, tensor, variance);
  }
  if (heads.Replicated().size() != 4 + expected.momentum().size()) wrong += "other tensors\n";
  return wrong;
}

TEST(LinearHeadsTest, RanksTrainAsOne) {
  for (const int ranks : {2, 3}) testing::RunRanks(ranks, TrainAsOne);
}

}  // namespace
}  // namespace tec
