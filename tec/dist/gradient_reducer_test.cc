// Real processes on the loopback device, as in process_group_test.cc.

#include "tec/dist/gradient_reducer.h"

#include <unistd.h>

#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "ATen/ATen.h"
#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "tec/dist/forked_ranks.h"
#include "tec/nn/low_linear.h"
#include "torch/csrc/autograd/variable.h"

namespace tec {
namespace {

using testing::RunRanks;

constexpr int kLayers = 8;
constexpr int kSeldom = 3, kWithSeldom = 100;

// One of another type, and one that the loss seldom depends on.
std::vector<at::Tensor> Weights() {
  std::vector<at::Tensor> weights;
  for (int i = 0; i < kLayers; ++i) {
    const at::Tensor values = (at::arange(64, at::kFloat).view({8, 8}) * 0.37 + i).sin().mul(0.4);
    weights.push_back(values.to(i == 5 ? at::kDouble : at::kFloat).requires_grad_(true));
  }
  weights.insert(weights.begin() + 3, at::ones({5}).requires_grad_(true));
  return weights;
}

// `on_gradient`: called in the backward pass when it has come down to that weight.
at::Tensor LossOf(
    const std::vector<at::Tensor>& weights, int rank, int step,
    const std::function<void(int)>& on_gradient = [](int) {}) {
  at::Tensor x = (at::arange(32, at::kFloat).view({4, 8}) * (1 + 0.1 * rank) + 0.7 * step).cos();
  // At the very end of the backward pass.
  if (step >= kWithSeldom) x = x + weights[kSeldom].sum() * (0.1 + rank);
  for (int i = 0; i < static_cast<int>(weights.size()); ++i) {
    if (weights[i].dim() == 1) continue;
    x = x.matmul(weights[i].to(at::kFloat)).tanh();
    x.register_hook([on_gradient, i](const at::Tensor& gradient) {
      on_gradient(i);
      return gradient;
    });
  }
  return x.square().sum();
}

void DropGradients(const std::vector<at::Tensor>& weights) {
  for (at::Tensor weight : weights) weight.mutable_grad().reset();
}

// What is asked for, in the plainest way: the same buckets, filled and summed after the backward pass.
std::string AverageAfterwards(ProcessGroup& group, const std::vector<std::vector<int64_t>>& buckets,
                              const std::vector<at::Tensor>& weights) {
  for (const std::vector<int64_t>& bucket : buckets) {
    std::vector<at::Tensor> parts;
    for (const int64_t i : bucket) {
      const at::Tensor& gradient = weights[i].grad();
      parts.push_back(gradient.defined() ? gradient.reshape({-1}) : at::zeros({weights[i].numel()}));
    }
    const at::Tensor flat = at::cat(parts);
    const absl::Status status = group.AllReduceSum(flat);
    if (!status.ok()) return status.ToString();
    flat.div_(group.world_size());
    int64_t at = 0;
    for (const int64_t i : bucket) {
      at::Tensor weight = weights[i];
      if (weight.grad().defined()) weight.mutable_grad() = flat.narrow(0, at, weight.numel()).view(weight.sizes());
      at += weight.numel();
    }
  }
  return "";
}

std::string Difference(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i].grad().defined() != b[i].grad().defined()) return "a gradient out of nothing, " + std::to_string(i);
    if (a[i].grad().defined() && !a[i].grad().equal(b[i].grad())) return "gradient " + std::to_string(i);
  }
  return "";
}

std::string End(ProcessGroup& group) {
  const absl::Status end = group.Agree(absl::OkStatus());
  return end.ok() ? "" : end.ToString();
}

GradientReducer::Options Small() {
  GradientReducer::Options options;
  options.bucket_bytes = 600;  // Two weights of 256 bytes.
  return options;
}

// Bit for bit; what several micro-steps have added up travels once. Without Arm it is the same.
TEST(GradientReducerTest, EqualsSumsAfterTheBackwardPass) {
  for (const int ranks : {2, 3}) {
    RunRanks(ranks, [](ProcessGroup& group) -> std::string {
      const std::vector<at::Tensor> plain = Weights(), hooked = Weights();
      int sums = 0;
      GradientReducer::Options options = Small();
      options.start_sum = [&](const at::Tensor& flat) {
        ++sums;
        return group.StartSum(flat);
      };
      GradientReducer reducer(group, hooked, options);
      if (reducer.buckets().size() != 5) return "buckets: " + std::to_string(reducer.buckets().size());
      for (int update = 0; update < 6; ++update) {
        for (int step = 0; step < 2; ++step) {
          // From the third on in both micro-steps, in none, in the first alone.
          const bool seldom = update == 3 || (update == 5 && step == 0);
          const int number = 2 * update + step + (seldom ? kWithSeldom : 0);
          LossOf(plain, group.rank(), number).backward();
          if (step == 1 && update != 2) reducer.Arm();
          LossOf(hooked, group.rank(), number).backward();
          // Without a gradient it keeps all later buckets waiting, once the order is known its own alone.
          const int early = step == 0 || update == 2 ? 0 : update == 0 ? 2 : seldom ? 5 : 4;
          if (sums != 5 * update + early) return "sums meanwhile: " + std::to_string(sums - 5 * update);
        }
        const absl::Status status = reducer.Wait();
        if (!status.ok()) return status.ToString();
        if (sums != 5 * (update + 1)) return "sums: " + std::to_string(sums);
        std::string problem = AverageAfterwards(group, reducer.buckets(), plain);
        if (problem.empty()) problem = Difference(plain, hooked);
        if (!problem.empty()) return problem;
        DropGradients(plain);
        DropGradients(hooked);
      }
      return End(group);
    });
  }
}

// Through LowLinear, whose gradients are made in their buckets: that of a weight that is used once is a view of one
// from the first micro-step on; of one that is used twice, in the middle, the sum is right wherever it lies.
TEST(GradientReducerTest, GradientsAreMadeInTheirBuckets) {
  RunRanks(2, [](ProcessGroup& group) -> std::string {
    constexpr int kTwice = 2;
    const auto loss = [&](const std::vector<at::Tensor>& weights, int step) {
      at::Tensor x = (at::arange(32, at::kFloat).view({4, 8}) * (1 + 0.1 * group.rank()) + 0.7 * step).cos();
      for (const int i : {0, 1, kTwice, kTwice, 4}) {
        const at::Tensor low = weights[i].detach().to(at::kBFloat16);
        x = LowLinear(x.to(at::kBFloat16), weights[i], {}, low, at::zeros({8}, at::kBFloat16)).to(at::kFloat).tanh();
      }
      return x.square().sum();
    };
    const std::vector<at::Tensor> plain = Weights(), hooked = Weights();
    GradientReducer reducer(group, hooked, Small());
    for (int update = 0; update < 3; ++update) {
      for (int step = 0; step < 2; ++step) {
        loss(plain, 2 * update + step).backward();
        if (step == 1 && update != 1) reducer.Arm();
        loss(hooked, 2 * update + step).backward();
        for (const int i : {1, 4}) {
          if (hooked[i].grad().storage().nbytes() <= hooked[i].nbytes()) return "not in a bucket: " + std::to_string(i);
        }
        if (step == 0) {
          const std::string problem = Difference(plain, hooked);
          if (!problem.empty()) return problem;
        }
      }
      const absl::Status status = reducer.Wait();
      if (!status.ok()) return status.ToString();
      std::string problem = AverageAfterwards(group, reducer.buckets(), plain);
      if (problem.empty()) problem = Difference(plain, hooked);
      if (!problem.empty()) return problem;
      DropGradients(plain);
      DropGradients(hooked);
    }
    return End(group);
  });
}

// Exact numbers, in buckets of the usual size; nothing was armed.
TEST(GradientReducerTest, AveragesOverRanks) {
  RunRanks(2, [](ProcessGroup& group) -> std::string {
    const int64_t large = ProcessGroup::kBucketBytes / 4 - 3;
    std::vector<at::Tensor> parameters = {at::zeros({2, 3}), at::zeros({large}), at::zeros({4}),
                                          at::zeros({3}, at::kDouble), at::zeros({7})};
    for (at::Tensor& parameter : parameters) parameter.requires_grad_(true);
    for (int i = 0; i < 4; ++i) {
      const at::Tensor rising = at::arange(parameters[i].numel(), parameters[i].options().requires_grad(false));
      parameters[i].mutable_grad() = (rising * (i + 1) + (group.rank() == 0 ? 1.0 : 3.0)).view_as(parameters[i]);
    }
    const absl::Status status = GradientReducer(group, parameters).Wait();
    if (!status.ok()) return status.ToString();
    for (int i = 0; i < 4; ++i) {
      // Whole numbers below 2^24: exact in float32.
      const at::Tensor rising = at::arange(parameters[i].numel(), parameters[i].options().requires_grad(false));
      if (!parameters[i].grad().equal((rising * (i + 1) + 2.0).view_as(parameters[i]))) {
        return "gradient " + std::to_string(i);
      }
    }
    if (parameters[4].grad().defined()) return "a gradient out of nothing";
    return End(group);
  });
}

// The backward pass, come down to the first weight, waits there for the sums of the last ones: in vain if they were
// sent at its end.
TEST(GradientReducerTest, TravelsWhileTheBackwardPassRuns) {
  RunRanks(
      2,
      [](ProcessGroup& group) -> std::string {
        const std::vector<at::Tensor> weights = Weights(), plain = Weights();
        std::vector<int64_t> started;
        GradientReducer::Options options = Small();
        options.start_sum = [&](const at::Tensor& flat) {
          started.push_back(group.StartSum(flat));
          return started.back();
        };
        options.finish_sums = [&](const std::vector<int64_t>& sums) {
          return group.FinishSums({sums.begin() + 2, sums.end()}, "the rest");
        };
        GradientReducer reducer(group, weights, options);
        absl::Status early = absl::InternalError("not reached");
        const at::Tensor loss = LossOf(weights, group.rank(), 0, [&](int weight) {
          if (weight != 0) return;
          early = started.size() < 2 ? absl::InternalError("not sent yet")
                                     : group.FinishSums({started.begin(), started.begin() + 2}, "early");
        });
        reducer.Arm();
        loss.backward();
        if (!early.ok()) return early.ToString();
        const absl::Status status = reducer.Wait();
        if (!status.ok()) return status.ToString();
        LossOf(plain, group.rank(), 0).backward();
        std::string problem = AverageAfterwards(group, reducer.buckets(), plain);
        if (problem.empty()) problem = Difference(plain, weights);
        return problem.empty() ? End(group) : problem;
      },
      /*timeout_seconds=*/20);
}

// Within the bound of gradient_reducer.h of the mean in double, not equal to the one in float32, the same bits on all
// ranks; what is no float32 travels as it is. Twice: sums meanwhile, and all at the end.
TEST(GradientReducerTest, InBfloat16EachNumberIsRoundedOnceARank) {
  for (const int ranks : {2, 3}) {
    RunRanks(ranks, [](ProcessGroup& group) -> std::string {
      const std::vector<at::Tensor> plain = Weights(), hooked = Weights();
      int64_t bytes = 0, plain_bytes = 0;
      GradientReducer::Options options = Small();
      options.bfloat16 = true;
      options.start_sum = [&](const at::Tensor& sent) {
        bytes += sent.nbytes();
        plain_bytes += sent.numel() * (sent.scalar_type() == at::kDouble ? 8 : 4);
        return group.StartSum(sent);
      };
      GradientReducer reducer(group, hooked, options);
      const double bound = std::pow(1 + 1.0 / 256, group.world_size()) - 1;
      for (const bool armed : {true, false}) {
        LossOf(plain, group.rank(), kWithSeldom).backward();
        if (armed) reducer.Arm();
        LossOf(hooked, group.rank(), kWithSeldom).backward();
        const absl::Status status = reducer.Wait();
        if (!status.ok()) return status.ToString();
        bool rounded = false;
        for (size_t i = 0; i < plain.size(); ++i) {
          const at::Tensor mine = plain[i].grad().to(at::kDouble), got = hooked[i].grad();
          at::Tensor mean = mine / group.world_size(), size = mean.abs();
          for (at::Tensor* sum : {&mean, &size}) {
            const absl::Status summed = group.AllReduceSum(*sum);
            if (!summed.ok()) return summed.ToString();
          }
          const at::Tensor off = (got.to(at::kDouble) - mean).abs();
          if (got.scalar_type() == at::kDouble) {
            if (!off.le(size * 1e-15).all().item<bool>()) return "a double was rounded";
            continue;
          }
          // The division in float32 and numbers near nothing beside it.
          if (!off.le(size * (bound + 1e-6) + 1e-38).all().item<bool>()) return "off by more than the bound";
          rounded = rounded || off.gt(size * 1e-5).any().item<bool>();
          const std::string bits(static_cast<const char*>(got.const_data_ptr()), got.nbytes());
          const auto all = group.Gather(bits, "bits");
          if (!all.ok()) return all.status().ToString();
          for (const std::string& others : *all) {
            if (others != bits) return "other bits on another rank";
          }
        }
        if (!rounded) return "nothing was rounded";
        DropGradients(plain);
        DropGradients(hooked);
      }
      // 7 matrices and 5 numbers in float32, a matrix in float64.
      if (plain_bytes != 2 * (4 * (7 * 64 + 5) + 8 * 64)) return "bytes: " + std::to_string(plain_bytes);
      if (bytes != 2 * (2 * (7 * 64 + 5) + 8 * 64)) return "bytes sent: " + std::to_string(bytes);
      return End(group);
    });
  }
}

// A sum of these is no number of float32, nor of bfloat16; and a gradient that is none on one rank is none on all.
TEST(GradientReducerTest, InBfloat16TheyAreDividedBeforeTheSum) {
  RunRanks(3, [](ProcessGroup& group) -> std::string {
    std::vector<at::Tensor> parameters = {at::zeros({3}), at::zeros({2})};
    for (at::Tensor& parameter : parameters) parameter.requires_grad_(true);
    const float large = std::ldexp(1.5F, 127), none = std::numeric_limits<float>::infinity();
    parameters[0].mutable_grad() = at::full({3}, large);
    parameters[1].mutable_grad() = at::full({2}, group.rank() == 1 ? none : 1.0F);
    GradientReducer::Options options = Small();
    options.bfloat16 = true;
    const absl::Status status = GradientReducer(group, parameters, options).Wait();
    if (!status.ok()) return status.ToString();
    const at::Tensor off = (parameters[0].grad().to(at::kDouble) / large - 1).abs();
    if (!off.le(std::pow(1 + 1.0 / 256, 3) - 1).all().item<bool>())
      return "large: " + std::to_string(off[0].item<double>());
    if (!parameters[1].grad().isinf().all().item<bool>()) return "an overflow was lost";
    return End(group);
  });
}

// As of several new models: both under way at once.
TEST(GradientReducerTest, TwoOfAGroup) {
  RunRanks(3, [](ProcessGroup& group) -> std::string {
    const std::vector<at::Tensor> first = Weights(), second = Weights(), a = Weights(), b = Weights();
    GradientReducer one(group, first, Small()), other(group, second);
    one.Arm();
    LossOf(first, group.rank(), 0).backward();
    other.Arm();
    LossOf(second, group.rank(), 1).backward();
    if (!group.Any(true).value_or(false)) return "nothing else may come in between";
    for (GradientReducer* reducer : {&one, &other}) {
      const absl::Status status = reducer->Wait();
      if (!status.ok()) return status.ToString();
    }
    LossOf(a, group.rank(), 0).backward();
    LossOf(b, group.rank(), 1).backward();
    for (const std::string& problem : {AverageAfterwards(group, one.buckets(), a), Difference(a, first),
                                       AverageAfterwards(group, other.buckets(), b), Difference(b, second)}) {
      if (!problem.empty()) return problem;
    }
    return End(group);
  });
}

// A rank that has an error in the middle of its backward pass tells the others; one that dies there is named.
TEST(GradientReducerTest, AnErrorInABackwardPassReachesTheOthers) {
  for (const bool dies : {false, true}) {
    RunRanks(3, [dies](ProcessGroup& group) -> std::string {
      const std::vector<at::Tensor> weights = Weights();
      GradientReducer reducer(group, weights, Small());
      if (!group.Any(true).ok()) return "the ranks did not meet";
      const at::Tensor loss = LossOf(weights, group.rank(), 0, [&](int weight) {
        if (group.rank() != 1 || weight != 2) return;
        if (dies) _exit(0);
        throw std::runtime_error("out of memory");
      });
      reducer.Arm();
      try {
        loss.backward();
      } catch (const std::exception& error) {
        group.Fail(absl::ResourceExhaustedError(error.what()));
        return "";
      }
      const absl::Status status = reducer.Wait();
      const std::string expected = group.NameOf(1) + (dies ? " ended without a word" : ": out of memory");
      const auto code = dies ? absl::StatusCode::kUnavailable : absl::StatusCode::kResourceExhausted;
      return status.code() == code && absl::StrContains(status.message(), expected) ? "" : status.ToString();
    });
  }
}

TEST(GradientReducerTest, OneRankNeedsNone) {
  const auto group = ProcessGroup::Create(LaunchEnvironment());
  ASSERT_TRUE(group.ok());
  const std::vector<at::Tensor> weights = Weights(), plain = Weights();
  GradientReducer reducer(**group, weights);
  EXPECT_EQ(torch::autograd::impl::post_acc_grad_hooks(weights[0]), nullptr);
  reducer.Arm();
  LossOf(weights, 0, 0).backward();
  const void* const before = weights[0].grad().const_data_ptr();
  EXPECT_TRUE(reducer.Wait().ok());
  EXPECT_EQ(weights[0].grad().const_data_ptr(), before);
  LossOf(plain, 0, 0).backward();
  EXPECT_EQ(Difference(plain, weights), "");
}

}  // namespace
}  // namespace tec
