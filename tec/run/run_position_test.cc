#include "tec/run/run_position.h"

#include "gtest/gtest.h"

namespace tec {
namespace {

// Of 1000 images.
EpochPlan Plan(int64_t images, int64_t accum) { return {1000, images, 1000 / images, accum, 5}; }

TEST(ContinueEpochTest, SameImagesWhateverTheRanks) {
  EXPECT_EQ(*ContinueEpoch(6, Plan(64, 2), Plan(64, 2)), 6);
  EXPECT_EQ(*ContinueEpoch(6, Plan(64, 2), Plan(128, 1)), 3);
  EXPECT_EQ(*ContinueEpoch(6, Plan(64, 2), Plan(32, 4)), 12);
}

TEST(ContinueEpochTest, AtTheBoundaryAnythingGoes) {
  EpochPlan now = Plan(7, 3);
  now.seed = 6;
  now.dataset_size = 1;
  EXPECT_EQ(*ContinueEpoch(0, Plan(64, 2), now), 0);
}

TEST(ContinueEpochTest, RefusesWhatWouldRepeatOrSkipImages) {
  EXPECT_TRUE(absl::IsInvalidArgument(ContinueEpoch(5, Plan(64, 1), Plan(64, 2)).status()));
  EpochPlan now = Plan(64, 1);
  now.seed = 6;
  EXPECT_TRUE(absl::IsInvalidArgument(ContinueEpoch(5, Plan(64, 1), now).status()));
  now = Plan(64, 1);
  now.dataset_size = 1001;
  EXPECT_TRUE(absl::IsInvalidArgument(ContinueEpoch(5, Plan(64, 1), now).status()));
}

TEST(ContinueEpochTest, AWholeEpochIsDoneWhateverItsUpdates) {
  // 15 micro-steps, of which 14 make up updates.
  EXPECT_EQ(*ContinueEpoch(15, Plan(64, 2), Plan(64, 2)), 15);
  EXPECT_TRUE(absl::IsInvalidArgument(ContinueEpoch(15, Plan(64, 2), Plan(128, 2)).status()));
}

TEST(RunPositionTest, ComesBackFromACheckpoint) {
  RunPosition position;
  position.epoch = 2;
  position.next_micro_step = 4;
  position.updates = 16;
  position.losses.resize(2);
  for (const double loss : {1.5, 0.25}) {
    position.losses[0].Add(loss);
    position.losses[1].Add(2 * loss);
    position.lrs.Add(0.125);
  }
  LoadedState loaded;
  loaded.path = "a.pth";
  SavePosition(position, Plan(64, 2), {"loss", "loss_fea"}, &loaded.state);
  loaded.state.optimizer.groups.resize(2);
  loaded.state.optimizer.groups[0].lr = 0.5;
  loaded.state.optimizer.groups[0].lr_scale = 0.25;
  loaded.state.optimizer.groups[1].lr = 2;
  std::vector<std::string> changes;
  const auto same = LoadPosition(loaded, Plan(64, 2), {"loss", "loss_fea"}, &changes);
  ASSERT_TRUE(same.ok()) << same.status();
  EXPECT_EQ(same->epoch, 2);
  EXPECT_EQ(same->next_micro_step, 4);
  EXPECT_EQ(same->updates, 16);
  EXPECT_EQ(same->lr, 2);
  EXPECT_EQ(same->losses[1].total(), 3.5);
  EXPECT_EQ(same->lrs.count(), 2);
  EXPECT_TRUE(changes.empty());
  const auto wider = LoadPosition(loaded, Plan(128, 1), {"loss", "loss_fea"}, &changes);
  ASSERT_TRUE(wider.ok()) << wider.status();
  EXPECT_EQ(wider->next_micro_step, 2);
  EXPECT_EQ(changes, std::vector<std::string>({"images a micro-step over all ranks: 128, was 64"}));
}

}  // namespace
}  // namespace tec
