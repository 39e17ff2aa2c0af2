#include "data/augment/mix.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tec {
namespace {

using ::testing::HasSubstr;

constexpr int kDraws = 20000;

RandomStream Stream(uint64_t sample) { return RandomStream(RandomKey{5, RandomPurpose::kMix, 0, sample}); }

// The mean of kDraws values of standard deviation `deviation` lies within five of its own.
void ExpectMean(double sum, double mean, double deviation) {
  EXPECT_NEAR(sum / kDraws, mean, 5 * deviation / std::sqrt(kDraws));
}

MixOptions Reference() {
  MixOptions options;
  options.mixup_alpha = 0.8;
  options.cutmix_alpha = 1;
  return options;
}

// Mean 1/2, variance 1 / (4 (2 alpha + 1)), and a share of values near 0 that is known for some alphas.
TEST(DrawBetaTest, HasTheRightMoments) {
  for (const double alpha : {0.02, 0.2, 0.8, 1.0, 2.5}) {
    double sum = 0, squares = 0, low = 0;
    for (int i = 0; i < kDraws; ++i) {
      RandomStream stream = Stream(i);
      const double value = DrawBeta(alpha, stream);
      ASSERT_GE(value, 0);
      ASSERT_LE(value, 1);
      sum += value;
      squares += (value - 0.5) * (value - 0.5);
      low += value < 0.25;
    }
    const double variance = 0.25 / (2 * alpha + 1);
    ExpectMean(sum, 0.5, std::sqrt(variance));
    ExpectMean(squares, variance, 0.25);  // Of something between 0 and 1/4.
    if (alpha == 1) ExpectMean(low, 0.25, std::sqrt(0.25 * 0.75));
  }
  // Beta(1/2, 1/2) is the arcsine law: P(x < 1/4) = 2/pi asin(1/2) = 1/3.
  double low = 0;
  for (int i = 0; i < kDraws; ++i) {
    RandomStream stream = Stream(i);
    low += DrawBeta(0.5, stream) < 0.25;
  }
  ExpectMean(low, 1.0 / 3, std::sqrt(2.0 / 9));
}

TEST(DrawMixesTest, FollowsTheRecipe) {
  const MixOptions options = Reference();
  double cuts = 0, area = 0, lambdas = 0, top = 0;
  for (int i = 0; i < kDraws; ++i) {
    RandomStream stream = Stream(i);
    const std::vector<Mix> mixes = DrawMixes(options, 8, 32, 48, stream);
    ASSERT_EQ(mixes.size(), 1);
    const Mix& mix = mixes[0];
    ASSERT_NE(mix.kind, Mix::Kind::kNone);
    if (mix.kind == Mix::Kind::kMixup) {
      lambdas += mix.lambda;
      continue;
    }
    ++cuts;
    ASSERT_GE(mix.box.top, 0);
    ASSERT_GE(mix.box.left, 0);
    ASSERT_LE(mix.box.top + mix.box.height, 32);
    ASSERT_LE(mix.box.left + mix.box.width, 48);
    EXPECT_DOUBLE_EQ(mix.lambda, 1 - mix.box.height * mix.box.width / (32.0 * 48));
    area += 1 - mix.lambda;
    top += mix.box.top == 0 && mix.box.height > 0;
  }
  ExpectMean(cuts, 0.5, 0.5);
  EXPECT_NEAR(lambdas / (kDraws - cuts), 0.5, 5 * 0.31 / std::sqrt(kDraws / 2));
  // Without clipping and whole pixels the mean area would be 1/2. A side r in [0, 1] clipped at both ends keeps
  // r - r^2 / 4 on average, and r^2 is uniform: the mean of (r - r^2 / 4)^2 is 1/2 - 1/5 + 1/48 = 0.3208. Cutting to
  // whole, even pixels takes about one of 32 and one of 48 of the sides away.
  EXPECT_NEAR(area / cuts, 0.32, 0.03);
  EXPECT_GT(top, 0);
}

// The draws in their order, written down once more.
TEST(DrawMixesTest, TheBoxIsTimms) {
  MixOptions options;
  options.cutmix_alpha = 1;
  for (int i = 0; i < 200; ++i) {
    RandomStream stream = Stream(i), same = Stream(i);
    const Mix mix = DrawMixes(options, 2, 20, 30, stream)[0];
    same.Bernoulli(1);
    const double ratio = std::sqrt(1 - DrawBeta(1, same));
    const int cut_height = static_cast<int>(20 * ratio), cut_width = static_cast<int>(30 * ratio);
    const int y = static_cast<int>(same.UniformInt(20)), x = static_cast<int>(same.UniformInt(30));
    EXPECT_EQ(mix.box.top, std::max(0, y - cut_height / 2));
    EXPECT_EQ(mix.box.top + mix.box.height, std::min(20, y + cut_height / 2));
    EXPECT_EQ(mix.box.left, std::max(0, x - cut_width / 2));
    EXPECT_EQ(mix.box.left + mix.box.width, std::min(30, x + cut_width / 2));
  }
}

TEST(DrawMixesTest, ProbabilitiesAndSingleKinds) {
  const auto share = [](const MixOptions& options, Mix::Kind kind) {
    double count = 0;
    for (int i = 0; i < kDraws; ++i) {
      RandomStream stream = Stream(i);
      count += DrawMixes(options, 2, 16, 16, stream)[0].kind == kind;
    }
    return count;
  };
  MixOptions options = Reference();
  options.probability = 0.3;
  options.switch_probability = 0.9;
  ExpectMean(share(options, Mix::Kind::kNone), 0.7, 0.46);
  ExpectMean(share(options, Mix::Kind::kCutmix), 0.27, 0.45);
  options = Reference();
  options.mixup_alpha = 0;
  EXPECT_EQ(share(options, Mix::Kind::kCutmix), kDraws);
  options = Reference();
  options.cutmix_alpha = 0;
  EXPECT_EQ(share(options, Mix::Kind::kMixup), kDraws);
  options.cutmix_minmax = {0.2, 0.8};
  ExpectMean(share(options, Mix::Kind::kCutmix), 0.5, 0.5);
}

TEST(DrawMixesTest, MinmaxBoundsTheBox) {
  MixOptions options;
  options.cutmix_minmax = {0.25, 0.75};
  ASSERT_TRUE(CheckMixSize(options, 16, 32).ok());
  int least = 99, most = 0, edge = 0;
  for (int i = 0; i < 2000; ++i) {
    RandomStream stream = Stream(i);
    const Mix mix = DrawMixes(options, 2, 16, 32, stream)[0];
    least = std::min(least, mix.box.height);
    most = std::max(most, mix.box.height);
    edge = std::max(edge, mix.box.left + mix.box.width);
    EXPECT_GE(mix.box.width, 8);
    EXPECT_LT(mix.box.width, 24);
  }
  EXPECT_EQ(least, 4);
  EXPECT_EQ(most, 11);
  EXPECT_EQ(edge, 31);  // timm's bounds leave the last column out.
  EXPECT_THAT(std::string(CheckMixSize(options, 1, 32).message()), HasSubstr("--cutmix_minmax"));
}

TEST(DrawMixesTest, ModesShareAndDoNotShare) {
  MixOptions options = Reference();
  options.mode = MixMode::kPair;
  RandomStream pair = Stream(1);
  const std::vector<Mix> pairs = DrawMixes(options, 6, 16, 16, pair);
  ASSERT_EQ(pairs.size(), 6);
  for (int n = 0; n < 3; ++n) EXPECT_EQ(MixToText(pairs[n]), MixToText(pairs[5 - n]));
  EXPECT_NE(MixToText(pairs[0]), MixToText(pairs[1]));
  options.mode = MixMode::kElement;
  RandomStream element = Stream(1);
  const std::vector<Mix> elements = DrawMixes(options, 6, 16, 16, element);
  ASSERT_EQ(elements.size(), 6);
  EXPECT_NE(MixToText(elements[0]), MixToText(elements[5]));
  EXPECT_EQ(*ParseMixMode("batch"), MixMode::kBatch);
  EXPECT_EQ(*ParseMixMode("pair"), MixMode::kPair);
  EXPECT_EQ(*ParseMixMode("elem"), MixMode::kElement);
  EXPECT_THAT(std::string(ParseMixMode("half").status().message()), HasSubstr("\"half\""));
}

TEST(MixToTextTest, SaysAll) {
  EXPECT_EQ(MixToText(Mix()), "none");
  EXPECT_EQ(MixToText(MixupOf(0.25)), "mixup 0.25");
  EXPECT_EQ(MixToText(CutmixOf(Box{2, 4, 8, 8}, 16, 16)), "cutmix rows 2-10 columns 4-12 lambda 0.75");
}

}  // namespace
}  // namespace tec
