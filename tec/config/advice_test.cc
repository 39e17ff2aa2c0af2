#include "tec/config/advice.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tec {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST(AdviceTest, TheReferencesSettingsOnItsDataAreFine) {
  EXPECT_THAT(AdviceOnRun({1281167, 8 * 64, 1, 400, 40}), IsEmpty());
  EXPECT_THAT(AdviceOnRun({1281167, 8 * 512, 4, 90, 10}), IsEmpty());
}

TEST(AdviceTest, AWarmUpLongerThanTheRun) {
  const auto advice = AdviceOnRun({1000, 4, 1, 8, 40});
  ASSERT_THAT(advice, ElementsAre(HasSubstr("warm-up of 40 epochs")));
  EXPECT_THAT(advice[0], HasSubstr("ends at 20 % of"));
  EXPECT_THAT(advice[0], HasSubstr("--warmup_epochs=0.8"));
  EXPECT_THAT(AdviceOnRun({1000, 4, 1, 8, 8}), SizeIs(1));
  EXPECT_THAT(AdviceOnRun({1000, 4, 1, 8, 7}), IsEmpty());
  // Nothing is trained.
  EXPECT_THAT(AdviceOnRun({1000, 4, 1, 0, 40}), IsEmpty());
}

TEST(AdviceTest, BatchesForImageNet) {
  const auto advice = AdviceOnRun({3000, 256, 2, 90, 10});
  ASSERT_THAT(advice, ElementsAre(HasSubstr("3000 images make only 5 updates an epoch of 512 images")));
  EXPECT_THAT(advice[0], HasSubstr("256 images an update, there would be 11"));
  EXPECT_THAT(AdviceOnRun({3000, 256, 1, 90, 10}), IsEmpty());
}

TEST(AdviceTest, WaitingForPictures) {
  EXPECT_EQ(AdviceOnWaiting(5, 100, 4, 8), "");
  EXPECT_EQ(AdviceOnWaiting(3, 4, 4, 8), "");
  EXPECT_THAT(AdviceOnWaiting(6, 100, 4, 8), HasSubstr("6 % of the epoch went in waiting for pictures"));
  EXPECT_THAT(AdviceOnWaiting(6, 100, 4, 8), HasSubstr("--num_workers=8"));
  EXPECT_THAT(AdviceOnWaiting(60, 100, 8, 8), HasSubstr("//tools:shard"));
}

}  // namespace
}  // namespace tec
