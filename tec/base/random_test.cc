#include "tec/base/random.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

namespace tec {
namespace {

using ::testing::ElementsAre;

// The known answers of the Random123 distribution (kat_vectors, philox4x32 10).
TEST(PhiloxTest, GivesThePublishedVectors) {
  EXPECT_THAT(Philox4x32({0, 0, 0, 0}, {0, 0}), ElementsAre(0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8));
  EXPECT_THAT(Philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
              ElementsAre(0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd));
  EXPECT_THAT(Philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
              ElementsAre(0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1));
}

TEST(RandomStreamTest, DependsOnEachPartOfTheKeyAndOnNothingElse) {
  const RandomKey base{.seed = 5, .purpose = RandomPurpose::kCrop, .epoch = 3, .sample = 17};
  std::set<uint64_t> first;
  for (RandomKey key : {base, RandomKey{6, RandomPurpose::kCrop, 3, 17}, RandomKey{5, RandomPurpose::kMask, 3, 17},
                        RandomKey{5, RandomPurpose::kCrop, 4, 17}, RandomKey{5, RandomPurpose::kCrop, 3, 18}}) {
    const uint64_t value = RandomStream(key).NextUint64();
    EXPECT_EQ(RandomStream(key).NextUint64(), value);
    first.insert(value);
  }
  EXPECT_EQ(first.size(), 5u);
}

TEST(RandomStreamTest, MomentsAreThoseOfTheDistributions) {
  RandomStream stream(RandomKey{});
  constexpr int kDraws = 200000;
  double uniform = 0, normal = 0, square = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double u = stream.NextDouble();
    ASSERT_GE(u, 0);
    ASSERT_LT(u, 1);
    uniform += u;
    const double z = stream.Normal();
    normal += z;
    square += z * z;
  }
  // Five standard errors: sqrt(1/12/n), sqrt(1/n), sqrt(2/n).
  EXPECT_NEAR(uniform / kDraws, 0.5, 5 * std::sqrt(1.0 / 12 / kDraws));
  EXPECT_NEAR(normal / kDraws, 0, 5 * std::sqrt(1.0 / kDraws));
  EXPECT_NEAR(square / kDraws, 1, 5 * std::sqrt(2.0 / kDraws));
}

TEST(RandomStreamTest, IntegersCoverTheirRange) {
  RandomStream stream(RandomKey{});
  int counts[7] = {};
  for (int i = 0; i < 70000; ++i) ++counts[stream.UniformInt(7)];
  for (int count : counts) EXPECT_NEAR(count, 10000, 5 * std::sqrt(10000.0 * 6 / 7));
}

TEST(RandomPermutationTest, IsAPermutationAndMovesWithTheKey) {
  RandomStream a(RandomKey{.seed = 1}), b(RandomKey{.seed = 2});
  const std::vector<int64_t> first = RandomPermutation(100, a), second = RandomPermutation(100, b);
  EXPECT_NE(first, second);
  EXPECT_EQ(std::set<int64_t>(first.begin(), first.end()).size(), 100u);
  EXPECT_EQ(*std::max_element(first.begin(), first.end()), 99);
}

}  // namespace
}  // namespace tec
