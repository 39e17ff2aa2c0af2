// The loop, run whole: what it writes is the same however it was stopped, resumed and threaded.

#include "tec/train/trainer.h"

#include <cmath>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tec/train/small_run.h"

namespace tec {
namespace {

using testing::EmptyFolder;
using testing::Exists;
using testing::FileBytes;
using testing::kUpdatesPerEpoch;
using testing::Lines;

constexpr int kEpochs = 2;  // Of small_run.

class TrainerTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    pictures_ = new std::string(EmptyFolder("pictures"));
    testing::MakePictures(*pictures_);
    const auto result = Run(testing::Parsed(testing::MaeText(*pictures_, EmptyFolder("base"))));
    ASSERT_TRUE(result.ok()) << result.status();
    base_model_ = new std::string(result->checkpoint);
  }

  static absl::StatusOr<TrainResult> Run(const config::Experiment& experiment, int64_t stop_after = -1) {
    TrainOptions options;
    options.quiet = true;
    options.stop_after_update = [stop_after](int64_t updates) { return updates == stop_after; };
    return Train(experiment, options);
  }

  static config::Experiment Tec(const std::string& output_dir) {
    return testing::Parsed(testing::TecText(*pictures_, *base_model_, output_dir));
  }

  static std::string* pictures_;
  static std::string* base_model_;
};
std::string* TrainerTest::pictures_ = nullptr;
std::string* TrainerTest::base_model_ = nullptr;

TEST_F(TrainerTest, TrainsAndLogs) {
  const std::string out = EmptyFolder("whole");
  const auto result = Run(Tec(out));
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_FALSE(result->stopped);
  EXPECT_EQ(result->updates, kEpochs * kUpdatesPerEpoch);
  EXPECT_EQ(result->epochs, kEpochs);
  EXPECT_EQ(result->checkpoint, out + "/checkpoint-1.pth");
  EXPECT_NEAR(result->loss, result->loss_fea + result->loss_att, 1e-5);
  EXPECT_EQ(ExitCodeOf(result), kExitDone);

  const std::vector<std::string> log = Lines(FileBytes(out + "/log.txt"));
  ASSERT_EQ(log.size(), kEpochs);
  // The reference's keys, in its order, before ours.
  size_t at = 0;
  for (const char* key : {"{\"train_lr\"", "\"train_loss\"", "\"train_loss_fea\"", "\"train_loss_att\"", "\"epoch\": 1",
                          "\"images_per_second\"", "\"data_wait_seconds\""}) {
    const size_t found = log[1].find(key);
    ASSERT_NE(found, std::string::npos) << key << " in " << log[1];
    EXPECT_GE(found, at) << key << " in " << log[1];
    at = found;
  }
  EXPECT_EQ(Lines(FileBytes(out + "/metrics.jsonl")).size(), kEpochs * kUpdatesPerEpoch);
  for (const char* name : {"/this_checkpoint.pth", "/checkpoint-0.pth", "/experiment.textproto"}) {
    EXPECT_TRUE(Exists(out + name)) << name;
  }
  // The first update is made at learning rate 0, the schedule's start.
  EXPECT_TRUE(absl::StrContains(Lines(FileBytes(out + "/metrics.jsonl"))[0], "\"lr\": 0,"));
}

TEST_F(TrainerTest, LossFalls) {
  config::Experiment experiment = Tec(EmptyFolder("learns"));
  experiment.mutable_schedule()->set_epochs(1);
  experiment.mutable_schedule()->set_warmup_epochs(0);
  experiment.mutable_optimizer()->set_lr(1e-9);
  const auto start = Run(experiment);
  ASSERT_TRUE(start.ok()) << start.status();
  experiment = Tec(EmptyFolder("learns"));
  experiment.mutable_schedule()->set_epochs(20);
  experiment.mutable_optimizer()->set_lr(3e-3);
  const auto end = Run(experiment);
  ASSERT_TRUE(end.ok()) << end.status();
  EXPECT_LT(end->loss_fea, 0.9 * start->loss_fea);
}

TEST_F(TrainerTest, EqualRunsWriteEqualBytes) {
  const std::string one = EmptyFolder("one"), other = EmptyFolder("other");
  config::Experiment experiment = Tec(one);
  experiment.mutable_data()->set_num_workers(1);
  ASSERT_TRUE(Run(experiment).ok());
  experiment = Tec(other);
  experiment.mutable_data()->set_num_workers(4);
  ASSERT_TRUE(Run(experiment).ok());
  for (const char* name : {"/checkpoint-0.pth", "/checkpoint-1.pth", "/this_checkpoint.pth"}) {
    EXPECT_TRUE(FileBytes(one + name) == FileBytes(other + name)) << name;
  }
  // It can fail: another seed is another run.
  experiment = Tec(EmptyFolder("seed"));
  experiment.set_seed(experiment.seed() + 1);
  const auto result = Run(experiment);
  ASSERT_TRUE(result.ok());
  EXPECT_FALSE(FileBytes(one + "/checkpoint-1.pth") == FileBytes(result->checkpoint));
}

TEST_F(TrainerTest, StoppedAndResumedIsAsIfNothingHadHappened) {
  const std::string whole = EmptyFolder("uninterrupted");
  ASSERT_TRUE(Run(Tec(whole)).ok());
  // Within the first epoch, at its last update (a micro-step is left over), right after the first one's end, and twice.
  for (const std::vector<int64_t>& stops :
       std::vector<std::vector<int64_t>>{{2}, {kUpdatesPerEpoch}, {kUpdatesPerEpoch + 1}, {1, 5}}) {
    const std::string out = EmptyFolder("interrupted");
    for (const int64_t stop : stops) {
      const auto stopped = Run(Tec(out), stop);
      ASSERT_TRUE(stopped.ok()) << stopped.status();
      EXPECT_TRUE(stopped->stopped);
      EXPECT_EQ(stopped->updates, stop);
      EXPECT_EQ(ExitCodeOf(stopped), kExitStopped);
      EXPECT_EQ(stopped->checkpoint, out + "/this_checkpoint.pth");
    }
    const auto resumed = Run(Tec(out));
    ASSERT_TRUE(resumed.ok()) << resumed.status();
    EXPECT_FALSE(resumed->stopped);
    for (const char* name : {"/checkpoint-0.pth", "/checkpoint-1.pth", "/this_checkpoint.pth"}) {
      EXPECT_TRUE(FileBytes(whole + name) == FileBytes(out + name)) << name << " stopped after " << stops[0];
    }
    // The logs, too, but for the times in them.
    const auto log = Lines(FileBytes(out + "/log.txt")), expected = Lines(FileBytes(whole + "/log.txt"));
    ASSERT_EQ(log.size(), expected.size());
    for (size_t i = 0; i < log.size(); ++i) {
      const std::string end = "\"images_per_second\"";
      EXPECT_EQ(log[i].substr(0, log[i].find(end)), expected[i].substr(0, expected[i].find(end)));
    }
    EXPECT_EQ(Lines(FileBytes(out + "/metrics.jsonl")).size(), kEpochs * kUpdatesPerEpoch);
  }
}

TEST_F(TrainerTest, StoppingAtTheEndOfAnEpoch) {
  // Without a left-over micro-step the last update of an epoch is its end.
  const std::string whole = EmptyFolder("even"), out = EmptyFolder("even_stopped");
  config::Experiment experiment = Tec(whole);
  experiment.mutable_optimizer()->set_accum_iter(1);
  ASSERT_TRUE(Run(experiment).ok());
  experiment.mutable_logging()->set_output_dir(out);
  experiment.mutable_logging()->set_log_dir(out);
  const auto stopped = Run(experiment, 7);
  ASSERT_TRUE(stopped.ok() && stopped->stopped && stopped->epochs == 1);
  ASSERT_TRUE(Run(experiment).ok());
  EXPECT_TRUE(FileBytes(whole + "/checkpoint-1.pth") == FileBytes(out + "/checkpoint-1.pth"));
}

TEST_F(TrainerTest, FinishedRunStaysFinished) {
  const std::string out = EmptyFolder("finished");
  ASSERT_TRUE(Run(Tec(out)).ok());
  const std::string before = FileBytes(out + "/this_checkpoint.pth");
  const auto again = Run(Tec(out));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->updates, kEpochs * kUpdatesPerEpoch);
  EXPECT_FALSE(again->stopped);
  EXPECT_TRUE(FileBytes(out + "/this_checkpoint.pth") == before);
  EXPECT_EQ(Lines(FileBytes(out + "/log.txt")).size(), kEpochs);
}

TEST_F(TrainerTest, ChangedHyperparametersCountFromTheConfig) {
  const std::string out = EmptyFolder("changed");
  ASSERT_TRUE(Run(Tec(out), 4).ok());
  config::Experiment experiment = Tec(out);
  experiment.mutable_optimizer()->set_lr(0.0625);
  experiment.mutable_schedule()->set_min_lr(0.0625);
  experiment.mutable_schedule()->set_warmup_epochs(0);
  ASSERT_TRUE(Run(experiment).ok());
  const auto metrics = Lines(FileBytes(out + "/metrics.jsonl"));
  ASSERT_EQ(metrics.size(), kEpochs * kUpdatesPerEpoch);
  EXPECT_FALSE(absl::StrContains(metrics[3], "\"lr\": 0.0625,")) << metrics[3];
  EXPECT_TRUE(absl::StrContains(metrics[4], "\"lr\": 0.0625,")) << metrics[4];
}

TEST_F(TrainerTest, CheckpointOfAnotherModelIsRefusedAndKept) {
  const std::string out = EmptyFolder("other_model");
  ASSERT_TRUE(Run(Tec(out), 2).ok());
  const std::string before = FileBytes(out + "/this_checkpoint.pth"),
                    experiment_before = FileBytes(out + "/experiment.textproto");
  config::Experiment experiment = Tec(out);
  experiment.mutable_model()->mutable_encoder()->set_width(64);
  auto result = Run(experiment);
  EXPECT_TRUE(absl::IsInvalidArgument(result.status())) << result.status();
  EXPECT_TRUE(absl::StrContains(result.status().message(), "model.encoder.width: 64, was 32")) << result.status();
  EXPECT_TRUE(absl::StrContains(result.status().message(), out + "/this_checkpoint.pth")) << result.status();

  result = Run(testing::Parsed(testing::MaeText(*pictures_, out)));
  EXPECT_TRUE(absl::IsInvalidArgument(result.status())) << result.status();
  EXPECT_TRUE(absl::StrContains(result.status().message(), "of method tec")) << result.status();
  EXPECT_TRUE(FileBytes(out + "/this_checkpoint.pth") == before);
  EXPECT_TRUE(FileBytes(out + "/experiment.textproto") == experiment_before);
}

TEST_F(TrainerTest, MiddleOfAnEpochNeedsTheSameData) {
  const std::string out = EmptyFolder("other_data");
  ASSERT_TRUE(Run(Tec(out), 1).ok());
  config::Experiment experiment = Tec(out);
  experiment.set_seed(6);
  const auto result = Run(experiment);
  EXPECT_TRUE(absl::IsInvalidArgument(result.status())) << result.status();
  EXPECT_TRUE(absl::StrContains(result.status().message(), "middle of an epoch")) << result.status();
}

}  // namespace
}  // namespace tec
