#include "tools/scale_plan/plan.h"

#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tec/config/config.h"
#include "tec/config/cost.h"

namespace tec {
namespace {

using ::testing::HasSubstr;

TEST(ScalePlanTest, SumsOfARing) {
  // Two ranks send each byte once; four send 1.5 times as much.
  const Sums two = PlanSums({100, 1, 2, 10, 0, 0});
  EXPECT_DOUBLE_EQ(two.seconds, 10);
  EXPECT_DOUBLE_EQ(two.exposed, 10);
  EXPECT_DOUBLE_EQ(PlanSums({100, 1, 4, 10, 0, 0}).seconds, 15);
  EXPECT_DOUBLE_EQ(PlanSums({100, 5, 4, 10, 0.5, 0}).seconds, 15 + 5 * 6 * 0.5);
  EXPECT_EQ(PlanSums({100, 5, 1, 10, 0.5, 3}).seconds, 0);
}

// By a simulation of the buckets one by one.
TEST(ScalePlanTest, WhatTheBackwardPassHides) {
  for (const double backward : {0.0, 1.0, 7.0, 10.0, 30.0}) {
    for (const int buckets : {1, 3, 10}) {
      const Sums sums = PlanSums({100, static_cast<double>(buckets), 2, 10, 0.01, backward});
      double free = 0;
      for (int i = 1; i <= buckets; ++i) free = std::max(free, backward * i / buckets) + sums.seconds / buckets;
      EXPECT_NEAR(sums.exposed, free - backward, 1e-12) << backward << " " << buckets;
    }
  }
}

// Where ranks compute on the cores that also sum, nothing of the latter is hidden.
TEST(ScalePlanTest, WhatTheProcessorsDoIsExposed) {
  for (const double backward : {0.0, 7.0, 30.0}) {
    const Sums link = PlanSums({100, 10, 4, 10, 0.01, backward}), both = PlanSums({100, 10, 4, 10, 0.01, backward, 3});
    EXPECT_DOUBLE_EQ(both.exposed, link.exposed + 3);
    EXPECT_DOUBLE_EQ(both.seconds, link.seconds + 3);
  }
  EXPECT_EQ(PlanSums({100, 10, 1, 10, 0.01, 7, 3}).exposed, 0);
}

TEST(ScalePlanTest, IntervalOfSaves) {
  // Young: sqrt(2 C M), to which Daly's terms converge for C << M.
  EXPECT_NEAR(BestSaveInterval(1, 1e8) / std::sqrt(2e8), 1, 1e-3);
  EXPECT_TRUE(std::isinf(BestSaveInterval(10, INFINITY)));
  EXPECT_EQ(BestSaveInterval(100, 20), 20);
  // No other interval loses less.
  const double best = BestSaveInterval(30, 20000), lost = LostToFailures(best, 30, 300, 20000);
  for (const double factor : {0.5, 0.8, 1.25, 2.0}) {
    EXPECT_GT(LostToFailures(factor * best, 30, 300, 20000), lost) << factor;
  }
  EXPECT_EQ(LostToFailures(INFINITY, 30, 300, INFINITY), 0);
}

class ScalePlanOfARowTest : public ::testing::Test {
 protected:
  const config::Experiment row_ = Resolve(*LoadExperiment("vit_b_mae_300ep"));
  static constexpr double kImages = 1281167;
};

TEST_F(ScalePlanOfARowTest, PartsAddUp) {
  ScaleRequest request;
  const auto plan = PlanScale(row_, kImages, request);
  ASSERT_TRUE(plan.ok()) << plan.status();
  const double batch = static_cast<double>(row_.optimizer().batch_size() * row_.optimizer().accum_iter()) * 8;
  EXPECT_EQ(plan->batch, batch);
  EXPECT_DOUBLE_EQ(plan->compute_seconds, batch / 8 * TrainingFlopsPerImage(row_) / 243e12);
  EXPECT_DOUBLE_EQ(plan->step_seconds, plan->compute_seconds + plan->sums.exposed);
  EXPECT_NEAR(plan->hours, plan->updates * plan->step_seconds / 3600, 1e-9);
  EXPECT_NEAR(plan->updates, 300 * std::floor(kImages / batch), 300);
  EXPECT_DOUBLE_EQ(plan->checkpoint_bytes, 12 * TrainedParameters(row_));
  EXPECT_NEAR(plan->failures, 8 * 2e-5 * plan->hours, 1e-12);
  EXPECT_GT(plan->all_hours, plan->hours);
  EXPECT_LT(plan->lost, 0.01);
  EXPECT_FALSE(plan->decoding_limits);
  EXPECT_THAT(Describe(*plan, request), HasSubstr("images/s of 8 GPUs"));
}

TEST_F(ScalePlanOfARowTest, TheSlowestLinkCounts) {
  ScaleRequest one_node;
  ScaleRequest two_nodes = one_node;
  two_nodes.gpus = 16;
  one_node.message_seconds = two_nodes.message_seconds = 0;
  const auto times = [&](double link) {
    two_nodes.network_link = link;
    return PlanScale(row_, kImages, two_nodes)->sums.seconds / PlanScale(row_, kImages, one_node)->sums.seconds;
  };
  // 15/16 of the bytes each way, not 7/8; the machine's link is 200 GB/s.
  EXPECT_NEAR(times(1e9), 200 * (15.0 / 16) / (7.0 / 8), 1e-9);
  EXPECT_NEAR(times(1e15), (15.0 / 16) / (7.0 / 8), 1e-9);
}

// In as many buckets, each of half the bytes.
TEST_F(ScalePlanOfARowTest, HalfTheBytesInBfloat16) {
  ScaleRequest request;
  request.message_seconds = 0;
  const auto plain = PlanScale(row_, kImages, request);
  request.bfloat16_gradients = true;
  const auto half = PlanScale(row_, kImages, request);
  ASSERT_TRUE(plain.ok() && half.ok());
  EXPECT_DOUBLE_EQ(plain->gradient_bytes, 4 * TrainedParameters(row_));
  EXPECT_DOUBLE_EQ(half->gradient_bytes, 2 * TrainedParameters(row_));
  EXPECT_DOUBLE_EQ(half->sums.seconds, plain->sums.seconds / 2);
  EXPECT_DOUBLE_EQ(half->checkpoint_bytes, plain->checkpoint_bytes);
}

TEST_F(ScalePlanOfARowTest, TooFewDecoders) {
  ScaleRequest request;
  const double need = PlanScale(row_, kImages, request)->decoding_need;
  request.decoders_per_node = static_cast<int64_t>(need / 2);
  const auto plan = PlanScale(row_, kImages, request);
  EXPECT_TRUE(plan->decoding_limits);
  EXPECT_NEAR(plan->images_per_second, static_cast<double>(request.decoders_per_node) * request.decoded_per_second,
              1e-6);
  EXPECT_THAT(Describe(*plan, request), HasSubstr("limit the run"));
  request.decoders_per_node = static_cast<int64_t>(need) + 1;
  EXPECT_FALSE(PlanScale(row_, kImages, request)->decoding_limits);
}

TEST_F(ScalePlanOfARowTest, RequestsThatMakeNoSense) {
  ScaleRequest request;
  request.gpus = 12;
  EXPECT_THAT(PlanScale(row_, kImages, request).status().message(), HasSubstr("whole nodes"));
  request = ScaleRequest();
  request.node_link = 0;
  EXPECT_THAT(PlanScale(row_, kImages, request).status().message(), HasSubstr("--node_link"));
  EXPECT_THAT(PlanScale(row_, 100, ScaleRequest()).status().message(), HasSubstr("do not fill an update"));
}

}  // namespace
}  // namespace tec
