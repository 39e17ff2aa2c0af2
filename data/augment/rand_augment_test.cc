// The operations and their arguments against timm's with Pillow (randaugment goldens), and the draws.

#include "data/augment/rand_augment.h"

#include <cmath>
#include <cstring>
#include <map>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "data/augment/augment_op.h"
#include "data/testing/golden_images.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace tec {
namespace {

using testing::CopyImage;
using ::testing::HasSubstr;
using testing::ReadGolden;
using testing::ReadGoldenImages;
using testing::Sha256;

nlohmann::json Golden() { return nlohmann::json::parse(ReadGolden("randaugment.json")); }

TEST(RandAugmentTest, ArgumentsAreTimms) {
  int checked = 0;
  const nlohmann::json golden = Golden();
  for (const auto& [name, magnitudes] : golden["arguments"].items()) {
    const absl::StatusOr<AugmentOp> op = FindAugmentOp(name);
    ASSERT_TRUE(op.ok()) << op.status();
    for (const auto& [text, arguments] : magnitudes.items()) {
      double magnitude = 0;
      ASSERT_TRUE(absl::SimpleAtod(text, &magnitude));
      for (const bool negate : {false, true}) {
        const auto& expected = arguments[negate];
        // Bit-equal: a factor of 1.9 must not become 1.9000000000000001.
        EXPECT_EQ(AugmentArgument(*op, /*increasing=*/true, magnitude, negate),
                  expected.empty() ? 0 : expected[0].get<double>())
            << name << " " << text << " " << negate;
        ++checked;
      }
    }
  }
  EXPECT_GE(checked, 15 * 2 * 10);
}

TEST(RandAugmentTest, DecreasingArguments) {
  EXPECT_EQ(AugmentArgument(AugmentOp::kPosterize, false, 9, false), 3);
  EXPECT_EQ(AugmentArgument(AugmentOp::kSolarize, false, 9, false), 230);
  EXPECT_EQ(AugmentArgument(AugmentOp::kSolarizeAdd, false, 9, false), 99);
  // No coin, and no change of strength in between.
  EXPECT_EQ(AugmentArgument(AugmentOp::kColor, false, 5, true), 5.0 / 10 * 1.8 + 0.1);
  EXPECT_EQ(AugmentArgument(AugmentOp::kRotate, false, 5, true), -15);
}

TEST(RandAugmentTest, PixelsArePillows) {
  const nlohmann::json golden = Golden();
  const auto tensors = ReadGoldenImages("randaugment.safetensors");
  AugmentStyle style;
  for (int c = 0; c < 3; ++c) style.fill[c] = golden["fillcolor"][c];
  AugmentScratch scratch;  // One for all, as in the loader.
  std::map<std::string, int> cases;
  for (const auto& c : golden["cases"]) {
    const absl::StatusOr<AugmentOp> op = FindAugmentOp(c["op"].get<std::string>());
    ASSERT_TRUE(op.ok()) << op.status();
    style.interpolation = c["interpolation"] == "bicubic" ? Interpolation::kBicubic : Interpolation::kBilinear;
    Image image = CopyImage(tensors.at(absl::StrCat("in.", c["image"].get<int>())));
    const double argument = c["args"].empty() ? 0 : c["args"][0].get<double>();
    ApplyAugmentOp(*op, argument, style, image.height(), image.width(), &scratch, image.data());
    EXPECT_EQ(Sha256(image), c["sha256"]) << c;
    if (c.contains("tensor")) {
      const Image& expected = tensors.at(c["tensor"]);
      EXPECT_EQ(std::memcmp(image.data(), expected.data(), expected.size_bytes()), 0) << c;
    }
    ++cases[c["op"]];
  }
  EXPECT_EQ(cases.size(), kAugmentOps);
}

TEST(ParseRandAugmentTest, TakesTimmsSettings) {
  const auto reference = ParseRandAugment("rand-m9-mstd0.5-inc1");
  ASSERT_TRUE(reference.ok()) << reference.status();
  EXPECT_EQ(reference->magnitude, 9);
  EXPECT_EQ(reference->magnitude_std, 0.5);
  EXPECT_EQ(reference->operations, 2);
  EXPECT_TRUE(reference->increasing);
  EXPECT_FALSE(reference->weighted);

  const auto other = ParseRandAugment("rand-w0-n3-mstd1-mstd2-m4-m5");
  ASSERT_TRUE(other.ok()) << other.status();
  EXPECT_EQ(other->magnitude, 5);
  EXPECT_EQ(other->magnitude_std, 1);
  EXPECT_EQ(other->operations, 3);
  EXPECT_FALSE(other->increasing);
  EXPECT_TRUE(other->weighted);

  const auto plain = ParseRandAugment("rand");
  ASSERT_TRUE(plain.ok()) << plain.status();
  EXPECT_EQ(plain->magnitude, 10);
  EXPECT_EQ(plain->magnitude_std, 0);
}

TEST(ParseRandAugmentTest, RefusesTheRest) {
  struct Case {
    const char *text, *message;
  };
  for (const Case& one : {
           Case{"", "begins with"},
           Case{"original", "begins with \"original\""},
           Case{"rand-m9.5", "whole number"},
           Case{"rand-m9-inc", "has no number"},
           Case{"rand-", "has no number"},
           Case{"rand-inc0", "inc0 for inc1"},
           Case{"rand-w1", "w0"},
           Case{"rand-p0.5", "\"p0.5\" is not known"},
           Case{"rand-n101", "more than 100"},
           Case{"rand-n14-w0", "13 operations"},
           Case{"rand-mstd0.5x", "no number"},
       }) {
    const auto policy = ParseRandAugment(one.text);
    EXPECT_EQ(policy.status().code(), absl::StatusCode::kInvalidArgument) << one.text;
    EXPECT_THAT(std::string(policy.status().message()), HasSubstr(one.message));
  }
}

std::vector<AugmentStep> Draw(const RandAugmentPolicy& policy, uint64_t sample) {
  RandomStream stream(RandomKey{5, RandomPurpose::kRandAugment, 0, sample});
  return DrawRandAugment(policy, stream);
}

// Counts of `draws` events of probability p lie within five standard deviations of their mean.
void ExpectShare(int count, int draws, double p) {
  EXPECT_NEAR(count, draws * p, 5 * std::sqrt(draws * p * (1 - p))) << "p " << p;
}

TEST(DrawRandAugmentTest, FollowsTheRecipe) {
  const RandAugmentPolicy policy = *ParseRandAugment("rand-m9-mstd0.5-inc1");
  constexpr int kPictures = 40000;
  int by_op[kAugmentOps] = {}, by_count[3] = {}, twice = 0, negative = 0, most = 0;
  double sum = 0, squares = 0;
  for (int i = 0; i < kPictures; ++i) {
    const std::vector<AugmentStep> steps = Draw(policy, i);
    ASSERT_LE(steps.size(), 2);
    ++by_count[steps.size()];
    twice += steps.size() == 2 && steps[0].op == steps[1].op;
    for (const AugmentStep& step : steps) {
      ++by_op[static_cast<int>(step.op)];
      if (step.op != AugmentOp::kRotate) continue;
      const double magnitude = std::abs(step.argument) / 3;
      ASSERT_LE(magnitude, 10);
      negative += step.argument < 0;
      most += magnitude == 10;
      sum += magnitude;
      squares += magnitude * magnitude;
    }
  }
  ExpectShare(by_count[0], kPictures, 0.25);
  ExpectShare(by_count[2], kPictures, 0.25);
  ExpectShare(twice, kPictures, 0.25 / 15);  // With replacement.
  for (const int count : by_op) ExpectShare(count, 2 * kPictures, 0.5 / 15);
  const int rotations = by_op[static_cast<int>(AugmentOp::kRotate)];
  ExpectShare(negative, rotations, 0.5);
  ExpectShare(most, rotations, 0.02275);  // Two standard deviations above the mean: clipped to 10.
  const double mean = sum / rotations;
  // The clipping takes 0.004 off the mean.
  EXPECT_NEAR(mean, 8.996, 5 * 0.5 / std::sqrt(rotations));
  EXPECT_NEAR(std::sqrt(squares / rotations - mean * mean), 0.49, 0.05);
}

TEST(DrawRandAugmentTest, WeightsChooseWithoutReplacement) {
  const RandAugmentPolicy policy = *ParseRandAugment("rand-m5-n2-w0");
  int rotations = 0;
  constexpr int kPictures = 20000;
  for (int i = 0; i < kPictures; ++i) {
    const std::vector<AugmentStep> steps = Draw(policy, i);
    if (steps.size() == 2) {
      ASSERT_NE(steps[0].op, steps[1].op);
    }
    for (const AugmentStep& step : steps) {
      ASSERT_NE(step.op, AugmentOp::kInvert);
      ASSERT_NE(step.op, AugmentOp::kPosterize);
      if (step.op == AugmentOp::kColor) {
        EXPECT_EQ(step.argument, 0.5 * 1.8 + 0.1);
      }
      rotations += step.op == AugmentOp::kRotate;
    }
  }
  // 0.3 first; or second after i: sum over i of w_i 0.3 / (1 - w_i).
  double p = 0.3;
  for (const double w : {0.2, 0.2, 0.1, 0.1, 0.025, 0.025, 0.025, 0.005, 0.005, 0.005, 0.005, 0.005}) {
    p += w * 0.3 / (1 - w);
  }
  ExpectShare(rotations, kPictures, p / 2);
  for (int i = 0; i < 10; ++i) EXPECT_LE(Draw(*ParseRandAugment("rand-n13-w0"), i).size(), 13);
}

TEST(DrawRandAugmentTest, DependsOnTheKeyAlone) {
  const RandAugmentPolicy policy = *ParseRandAugment("rand-m9-mstd0.5-inc1-n8");
  EXPECT_EQ(AugmentStepsToText(Draw(policy, 7)), AugmentStepsToText(Draw(policy, 7)));
  EXPECT_NE(AugmentStepsToText(Draw(policy, 7)), AugmentStepsToText(Draw(policy, 8)));
}

}  // namespace
}  // namespace tec
