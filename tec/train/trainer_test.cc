// The loop, run whole: what it writes is the same however it was stopped, resumed and threaded.

#include "tec/train/trainer.h"

#include <cmath>
#include <filesystem>
#include <functional>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"
#include "tec/checkpoint/training_state.h"
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
  // TensorBoard has a point an update of what tells how fast it goes and what it takes; the log has the numbers.
  std::string events;
  for (const auto& entry : std::filesystem::directory_iterator(out)) {
    if (absl::StrContains(entry.path().filename().string(), "tfevents")) events += FileBytes(entry.path());
  }
  const std::vector<std::string> updates = Lines(FileBytes(out + "/metrics.jsonl"));
  for (const char* name : {"images_per_second", "data_wait_seconds", "memory_gib", "bad_images"}) {
    const std::vector<absl::string_view> parts = absl::StrSplit(events, absl::StrCat("perf/", name));
    EXPECT_EQ(parts.size() - 1, kEpochs * kUpdatesPerEpoch) << name;
    for (const std::string& line : updates) {
      EXPECT_TRUE(absl::StrContains(line, absl::StrCat("\"", name, "\": "))) << name << " in " << line;
    }
  }
  // LibTorch alone takes a twentieth of a GiB and more.
  for (const std::string& line : updates) {
    double gib = 0;
    const std::vector<std::string> around = absl::StrSplit(line, "\"memory_gib\": ");
    ASSERT_TRUE(absl::SimpleAtod(around.at(1).substr(0, around.at(1).find_first_of(",}")), &gib)) << line;
    EXPECT_GT(gib, 0.05) << line;
    EXPECT_LT(gib, 16) << line;
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

// Files that are no pictures, by the way from the folder to the run's output: the list is the same bytes and the
// weights are the same with any number of threads, stopped or not; a run that goes on has no second allowance.
TEST_F(TrainerTest, BadFilesGiveTheSameRunWithAnyThreads) {
  const std::string pictures = EmptyFolder("some_bad");
  testing::MakePictures(pictures);
  const std::string jpeg = FileBytes(pictures + "/class0/0.jpg");
  testing::WriteText(pictures + "/class1/4.jpg", "<html>404</html>");
  testing::WriteText(pictures + "/class1/7.jpg", "");  // Beside it in the order of the data set.
  testing::WriteText(pictures + "/class2/29.jpg", jpeg.substr(0, jpeg.size() / 2));
  std::vector<std::string> lists, weights;
  for (const int threads : {1, 3, 2}) {
    config::Experiment experiment = Tec(EmptyFolder(absl::StrCat("bad_files", threads)));
    experiment.mutable_data()->set_path(pictures);
    experiment.mutable_data()->set_num_workers(threads);
    experiment.mutable_data()->set_max_bad_fraction(0.1);  // Three of 30.
    const std::string& out = experiment.logging().output_dir();
    if (threads == 2) {
      ASSERT_TRUE(Run(experiment, kUpdatesPerEpoch + 1).ok());
    }
    const auto result = Run(experiment);
    ASSERT_TRUE(result.ok()) << result.status();
    lists.push_back(FileBytes(out + "/bad_images.txt"));
    weights.push_back(FileBytes(out + "/checkpoint-1.pth"));
    EXPECT_TRUE(absl::StrContains(Lines(FileBytes(out + "/log.txt"))[1], "\"bad_images\": 3")) << threads;
    if (threads != 2) continue;
    // The list alone, without an epoch to train, tells that three are more than two.
    experiment.mutable_data()->set_max_bad_fraction(0.07);
    experiment.mutable_schedule()->set_epochs(kEpochs + 1);
    EXPECT_TRUE(absl::IsDataLoss(Run(experiment).status()));
  }
  EXPECT_EQ(Lines(lists[0]).size(), 3u) << lists[0];
  EXPECT_TRUE(absl::StrContains(lists[0], "class1/7.jpg\tthe file is empty\n")) << lists[0];
  EXPECT_EQ(lists[1], lists[0]);
  EXPECT_TRUE(weights[1] == weights[0]);
  EXPECT_EQ(lists[2], lists[0]);
  EXPECT_TRUE(weights[2] == weights[0]);
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

// A setting that changed, set in `experiment`, and the line that says so.
struct Change {
  std::function<void(config::Experiment*)> make;
  const char* line;
};

TEST_F(TrainerTest, WhatChangedIsListedAndAppliedNotRestored) {
  const std::string first = EmptyFolder("one_epoch");
  config::Experiment experiment = Tec(first);
  experiment.mutable_schedule()->set_epochs(1);
  ASSERT_TRUE(Run(experiment).ok());
  const std::string start = first + "/checkpoint-0.pth";
  const auto go_on = [&](const std::function<void(config::Experiment*)>& make, std::string* log) {
    const std::string out = EmptyFolder("goes_on");
    config::Experiment changed = Tec(out);
    changed.mutable_schedule()->set_epochs(1);
    make(&changed);
    // One more, so that something is trained.
    changed.mutable_schedule()->set_epochs(changed.schedule().epochs() + 1);
    changed.mutable_checkpointing()->set_resume(start);
    ::testing::internal::CaptureStderr();
    const auto result = Run(changed);
    *log = ::testing::internal::GetCapturedStderr();
    EXPECT_TRUE(result.ok()) << result.status();
    return out + "/this_checkpoint.pth";
  };
  std::string log;
  const std::string unchanged = FileBytes(go_on([](config::Experiment*) {}, &log));
  const std::string applied = "changed since the checkpoint, and applied from here on: ";
  EXPECT_TRUE(absl::StrContains(log, applied + "schedule.epochs: 2, was 1")) << log;
  EXPECT_EQ(log.find(applied), log.rfind(applied)) << log;
  const Change changes[] = {
      {[](config::Experiment* e) { e->mutable_optimizer()->set_blr(0.03); }, "optimizer.blr: 0.03, was 0.02"},
      {[](config::Experiment* e) { e->mutable_optimizer()->set_lr(0.25); }, "optimizer.lr: 0.25, was 0"},
      {[](config::Experiment* e) { e->mutable_optimizer()->set_beta1(0.5); }, "optimizer.beta1: 0.5, was 0.9"},
      {[](config::Experiment* e) { e->mutable_optimizer()->set_beta2(0.5); }, "optimizer.beta2: 0.5, was 0.95"},
      {[](config::Experiment* e) { e->mutable_optimizer()->set_weight_decay(0.5); },
       "optimizer.weight_decay: 0.5, was 0.05"},
      {[](config::Experiment* e) { e->mutable_optimizer()->set_batch_size(5); }, "optimizer.batch_size: 5, was 4"},
      {[](config::Experiment* e) { e->mutable_optimizer()->set_accum_iter(1); }, "optimizer.accum_iter: 1, was 2"},
      {[](config::Experiment* e) { e->set_seed(7); }, "seed: 7, was 5"},
      {[](config::Experiment* e) { e->mutable_schedule()->set_epochs(2); }, "schedule.epochs: 3, was 1"},
      {[](config::Experiment* e) { e->mutable_schedule()->set_min_lr(0.01); }, "schedule.min_lr: 0.01, was 0"},
      {[](config::Experiment* e) { e->mutable_masking()->set_mask_ratio(0.5); }, "masking.mask_ratio: 0.5, was 0.75"},
      {[](config::Experiment* e) { e->mutable_base_model()->set_topkatt(3); }, "base_model.topkatt: 3, was 5"},
      {[](config::Experiment* e) { e->mutable_losses()->set_att_tau(3); }, "losses.att_tau: 3, was 1.8"},
  };
  for (const Change& change : changes) {
    const std::string path = go_on(change.make, &log);
    EXPECT_TRUE(absl::StrContains(log, applied + change.line)) << change.line << " in " << log;
    EXPECT_FALSE(FileBytes(path) == unchanged) << change.line;
  }
  // What the optimiser counts with and saves is the new values, not the old file's.
  const auto state = LoadTrainingState(go_on(
      [](config::Experiment* e) {
        e->mutable_optimizer()->set_beta1(0.5);
        e->mutable_optimizer()->set_beta2(0.625);
        e->mutable_optimizer()->set_weight_decay(0.25);
      },
      &log));
  ASSERT_TRUE(state.ok()) << state.status();
  EXPECT_EQ(state->optimizer.groups[1].beta1, 0.5);
  EXPECT_EQ(state->optimizer.groups[1].beta2, 0.625);
  EXPECT_EQ(state->optimizer.groups[1].weight_decay, 0.25);
}

// A checkpoint of the reference's script has its arguments and the optimiser's settings, no experiment.
TEST_F(TrainerTest, WhatChangedSinceARunOfTheReferenceIsListed) {
  const std::string out = EmptyFolder("of_the_reference");
  ASSERT_TRUE(Run(Tec(out), kUpdatesPerEpoch + 1).ok());
  auto state = LoadTrainingState(out + "/checkpoint-0.pth");
  ASSERT_TRUE(state.ok()) << state.status();
  state->experiment.clear();
  state->method.clear();
  state->counters.clear();
  state->args.Set("weight_decay", Value::Double(0.125));
  state->optimizer.groups[0].beta2 = 0.75;
  const std::string path = out + "/theirs.pth";
  ASSERT_TRUE(SaveTrainingState(path, *state).ok());
  config::Experiment experiment = Tec(EmptyFolder("goes_on"));
  experiment.mutable_checkpointing()->set_resume(path);
  ::testing::internal::CaptureStderr();
  const auto result = Run(experiment);
  const std::string log = ::testing::internal::GetCapturedStderr();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->updates, kEpochs * kUpdatesPerEpoch);
  EXPECT_TRUE(absl::StrContains(log, "weight_decay: 0.05, was 0.125")) << log;
  EXPECT_TRUE(absl::StrContains(log, "optimizer.beta2: 0.95, was 0.75")) << log;
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
  const std::string before = FileBytes(out + "/this_checkpoint.pth");
  config::Experiment other_seed = Tec(out), other_batch = Tec(out);
  other_seed.set_seed(6);
  other_batch.mutable_optimizer()->set_batch_size(5);
  for (const config::Experiment& experiment : {other_seed, other_batch}) {
    const auto result = Run(experiment);
    EXPECT_TRUE(absl::IsInvalidArgument(result.status())) << result.status();
    EXPECT_TRUE(absl::StrContains(result.status().message(), "middle of an epoch")) << result.status();
    EXPECT_TRUE(FileBytes(out + "/this_checkpoint.pth") == before);
  }
}

}  // namespace
}  // namespace tec
