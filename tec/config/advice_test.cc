#include "tec/config/advice.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tec {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

config::Optimizer Batch(int64_t batch_size, int64_t accum_iter) {
  config::Optimizer optimizer;
  optimizer.set_batch_size(batch_size);
  optimizer.set_accum_iter(accum_iter);
  optimizer.set_lr(0.5);
  return optimizer;
}

config::Schedule Epochs(int64_t epochs, double warmup) {
  config::Schedule schedule;
  schedule.set_epochs(epochs);
  schedule.set_warmup_epochs(warmup);
  return schedule;
}

TEST(AdviceTest, TheReferencesSettingsOnItsDataAreFine) {
  EXPECT_THAT(AdviceOnRun(Batch(64, 1), Epochs(400, 40), 1281167, 8), IsEmpty());
  EXPECT_THAT(AdviceOnRun(Batch(512, 1), Epochs(90, 10), 1281167, 8), IsEmpty());
}

TEST(AdviceTest, AWarmUpLongerThanTheRun) {
  const auto advice = AdviceOnRun(Batch(4, 1), Epochs(8, 40), 1000, 1);
  ASSERT_THAT(advice, ElementsAre(HasSubstr("warm-up of 40 epochs")));
  EXPECT_THAT(advice[0], HasSubstr("ends at 0.1 of its 0.5"));
  EXPECT_THAT(advice[0], HasSubstr("--warmup_epochs=0.8"));
  EXPECT_THAT(AdviceOnRun(Batch(4, 1), Epochs(8, 8), 1000, 1), ::testing::SizeIs(1));
  EXPECT_THAT(AdviceOnRun(Batch(4, 1), Epochs(8, 7), 1000, 1), IsEmpty());
  // Nothing is trained.
  EXPECT_THAT(AdviceOnRun(Batch(4, 1), Epochs(0, 0), 1000, 1), IsEmpty());
}

TEST(AdviceTest, BatchesForImageNet) {
  const auto advice = AdviceOnRun(Batch(512, 1), Epochs(90, 10), 3000, 1);
  ASSERT_THAT(advice, ElementsAre(HasSubstr("3000 images make only 5 updates an epoch of 512 images")));
  EXPECT_THAT(advice[0], HasSubstr("--batch_size=256 --accum_iter=1 would make 11"));
  EXPECT_THAT(AdviceOnRun(Batch(256, 1), Epochs(90, 10), 3000, 1), IsEmpty());
}

}  // namespace
}  // namespace tec
