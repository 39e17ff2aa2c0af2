#include "tec/checkpoint/training_state.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tec/base/file.h"
#include "tec/base/version.h"
#include "tec/checkpoint/pth.h"

namespace tec {
namespace {

// A folder of its own for every test.
std::string TempFolder() {
  const auto* info = testing::UnitTest::GetInstance()->current_test_info();
  const std::string path = absl::StrCat(testing::TempDir(), "/", info->name());
  EXPECT_EQ(system(absl::StrCat("rm -rf ", path).c_str()), 0);
  EXPECT_TRUE(MakeDirectories(path).ok());
  return path;
}

TrainingState Example(int64_t epoch) {
  TrainingState state;
  const float e = epoch;
  EXPECT_TRUE(state.model.Add("cls_token", TensorView::FromFloats({1, 1, 4}, {e, 1, 2, 3})).ok());
  EXPECT_TRUE(state.model.Add("norm.weight", TensorView::FromFloats({4}, {1, e, 1, 1})).ok());
  OptimizerGroup plain, decayed;
  plain.lr = decayed.lr = 1e-3 / 3;
  plain.beta2 = decayed.beta2 = 0.95;
  plain.num_parameters = 1;
  decayed.num_parameters = 2;
  decayed.weight_decay = 0.05;
  decayed.lr_scale = 0.65;
  state.optimizer.groups = {plain, decayed};
  state.optimizer.moments[0] = {epoch, TensorView::FromFloats({4}, {0, 1, e, 3}),
                                TensorView::FromFloats({4}, {0, 1, 4, 9})};
  state.optimizer.moments[2] = {epoch + 1, TensorView::FromFloats({1, 1, 4}, {5, 6, 7, e}),
                                TensorView::FromFloats({1, 1, 4}, {5, 6, 7, 8})};
  state.epoch = epoch;
  state.next_micro_step = 6;
  state.scaler = ScalerState{32768, 2, 0.5, 2000, 17};
  state.args.Set("lr", Value::Double(1e-3));
  state.args.Set("log_dir", Value::None());
  state.args.Set("pin_mem", Value::Bool(true));
  state.args.Set("model", Value::String("mae_vit_tiny"));
  state.method = "tec";
  state.experiment = "model { depth: 6 }\n";
  state.counters["updates"] = 1234567890123;
  state.numbers["loss_sum"] = 0.1 + 0.2;
  EXPECT_TRUE(state.extra.Add("grad.norm.weight", TensorView::FromFloats({4}, {1, 2, 3, 4})).ok());
  EXPECT_TRUE(state.model_ema.Add("norm.weight", TensorView::FromFloats({4}, {1, e / 2, 1, 1})).ok());
  return state;
}

int64_t EpochOf(const std::string& path) {
  const auto state = LoadTrainingState(path);
  EXPECT_TRUE(state.ok()) << state.status();
  return state.ok() ? state->epoch : -99;
}

void Flip(const std::string& path, size_t at) {
  std::string bytes = *ReadFile(path);
  bytes[at] ^= 4;
  std::ofstream(path, std::ios::binary) << bytes;
}

TEST(TrainingStateTest, EverythingComesBack) {
  const std::string folder = TempFolder(), path = folder + "/state.pth", again = folder + "/again.pth";
  const TrainingState state = Example(7);
  ASSERT_TRUE(SaveTrainingState(path, state).ok());
  const auto read = LoadTrainingState(path);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(FirstDifference(read->model, state.model), "");
  EXPECT_EQ(FirstDifference(read->extra, state.extra), "");
  EXPECT_EQ(FirstDifference(read->model_ema, state.model_ema), "");
  EXPECT_NE(ReadPth(path)->Find("model_ema"), nullptr);
  ASSERT_EQ(read->optimizer.groups.size(), 2);
  EXPECT_EQ(read->optimizer.groups[1].lr, 1e-3 / 3);
  EXPECT_EQ(read->optimizer.groups[1].lr_scale, 0.65);
  EXPECT_FALSE(read->optimizer.groups[0].lr_scale.has_value());
  ASSERT_EQ(read->optimizer.moments.size(), 2);
  EXPECT_EQ(read->optimizer.moments.at(2).step, 8);
  EXPECT_TRUE(BitEqual(read->optimizer.moments.at(2).exp_avg, state.optimizer.moments.at(2).exp_avg));
  EXPECT_EQ(read->epoch, 7);
  EXPECT_EQ(read->next_micro_step, 6);
  EXPECT_EQ(read->scaler->growth_tracker, 17);
  EXPECT_EQ(*read->args.GetString("model"), "mae_vit_tiny");
  EXPECT_EQ(read->experiment, state.experiment);
  EXPECT_EQ(read->method, "tec");
  EXPECT_EQ(*ReadPth(path)->Find("tec")->GetString("version"), kVersion);
  EXPECT_EQ(read->counters, state.counters);
  EXPECT_EQ(read->numbers, state.numbers);
  // What was read, saved again, is the same file: nothing is lost on the way.
  ASSERT_TRUE(SaveTrainingState(again, *read).ok());
  EXPECT_EQ(*ReadFile(again), *ReadFile(path));
}

TEST(TrainingStateTest, WithoutScalerAndFromTheStart) {
  const std::string path = TempFolder() + "/state.pth";
  TrainingState state = Example(0);
  state.epoch = -1;
  state.scaler.reset();
  state.optimizer.moments.clear();
  state.model_ema = StateDict();
  ASSERT_TRUE(SaveTrainingState(path, state).ok());
  EXPECT_EQ(ReadPth(path)->Find("model_ema"), nullptr);
  const auto read = LoadTrainingState(path);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->epoch, -1);
  EXPECT_FALSE(read->scaler.has_value());
  // The reference's scripts find what a new GradScaler has.
  auto root = ReadPth(path);
  ASSERT_TRUE(root.ok()) << root.status();
  const Value* scaler = root->Find("scaler");
  EXPECT_EQ(*scaler->GetDouble("scale"), 65536);
  EXPECT_EQ(*scaler->GetDouble("growth_factor"), 2);
  EXPECT_EQ(*scaler->GetDouble("backoff_factor"), 0.5);
  EXPECT_EQ(*scaler->GetInt("growth_interval"), 2000);
  EXPECT_EQ(*scaler->GetInt("_growth_tracker"), 0);
  // So did files that have an empty dict there.
  root->Set("scaler", Value::Dict());
  EXPECT_FALSE(TrainingStateFromValue(*root)->scaler.has_value());
  EXPECT_TRUE(read->optimizer.moments.empty());
}

TEST(TrainingStateTest, ACheckpointOfTheReferenceIsRead) {
  const auto read = LoadTrainingState("tec/testing/goldens/weight_convert/pretrain.pth");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->epoch, 12);
  EXPECT_EQ(read->optimizer.groups.size(), 2);
  EXPECT_EQ(read->optimizer.groups[0].num_parameters, 52);
  EXPECT_EQ(read->optimizer.moments.size(), 81);
  EXPECT_EQ(*read->args.GetInt("topkatt"), 3);
  EXPECT_EQ(read->scaler->growth_tracker, 2);
  // Written by us it keeps the reference's keys, so its scripts find what they look for.
  const Value ours = ToValue(*read);
  const auto theirs = ReadPth("tec/testing/goldens/weight_convert/pretrain.pth");
  ASSERT_TRUE(theirs.ok());
  const auto keys = [](const Value& value) {
    std::string text;
    for (const auto& [key, item] : value.entries()) absl::StrAppend(&text, key.text(), " ");
    return text;
  };
  EXPECT_EQ(keys(ours), keys(*theirs) + "tec ");
  EXPECT_EQ(keys(*ours.Find("optimizer")), keys(*theirs->Find("optimizer")));
  EXPECT_EQ(keys(*ours.Find("scaler")), keys(*theirs->Find("scaler")));
  EXPECT_EQ(keys(ours.Find("optimizer")->Find("param_groups")->items()[0]),
            keys(theirs->Find("optimizer")->Find("param_groups")->items()[0]));
}

TEST(TrainingStateTest, WhatIsWrongIsNamed) {
  const std::string path = TempFolder() + "/state.pth";
  const auto message = [&path](const Value& root) {
    EXPECT_TRUE(WritePth(path, root).ok());
    const auto read = LoadTrainingState(path);
    EXPECT_EQ(read.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_TRUE(absl::StrContains(read.status().message(), path));
    return std::string(read.status().message());
  };
  const Value good = ToValue(Example(1));
  Value root = Value::Dict();
  root.Set("model", *good.Find("model"));
  EXPECT_TRUE(absl::StrContains(message(root), "\"optimizer\" is missing"));
  root = good;
  root.Set("epoch", Value::Double(3));
  EXPECT_TRUE(absl::StrContains(message(root), "\"epoch\" is float"));
  root = good;
  Value optimizer = *good.Find("optimizer"), moments = *optimizer.Find("state");
  moments.Set(3, *moments.Find(0));
  optimizer.Set("state", moments);
  root.Set("optimizer", optimizer);
  EXPECT_TRUE(absl::StrContains(message(root), "in no group"));
  moments = *good.Find("optimizer")->Find("state");
  Value entry = *moments.Find(0);
  entry.Set("exp_avg", Value::Tensor(TensorView::FromFloats({3}, {1, 2, 3})));
  moments.Set(0, entry);
  optimizer.Set("state", moments);
  root.Set("optimizer", optimizer);
  EXPECT_TRUE(absl::StrContains(message(root), "exp_avg is F32[3], exp_avg_sq F32[4]"));
  root = good;
  Value tec = *good.Find("tec");
  tec.Set("format_version", Value::Int(2));
  root.Set("tec", tec);
  EXPECT_TRUE(absl::StrContains(message(root), "format version 2"));
}

TEST(CheckpointFolderTest, TwoGenerationsAndTheNumbered) {
  const std::string path = TempFolder();
  const auto folder = CheckpointFolder::Open(path + "/run");
  ASSERT_TRUE(folder.ok()) << folder.status();
  EXPECT_EQ(folder->LoadNewest().status().code(), absl::StatusCode::kNotFound);
  for (int64_t epoch = 0; epoch < 4; ++epoch) {
    ASSERT_TRUE(folder->SaveThis(Example(epoch)).ok());
    ASSERT_TRUE(folder->SaveNumbered(Example(epoch), epoch * 5).ok());
  }
  EXPECT_EQ(EpochOf(folder->PathOf(CheckpointFolder::kThis)), 3);
  EXPECT_EQ(EpochOf(folder->PathOf(CheckpointFolder::kPrevious)), 2);
  const auto newest = folder->LoadNewest();
  ASSERT_TRUE(newest.ok()) << newest.status();
  EXPECT_EQ(newest->state.epoch, 3);
  EXPECT_TRUE(newest->skipped.empty());
  EXPECT_EQ(*RemoveLeftovers(path + "/run"), 0);
}

TEST(CheckpointFolderTest, DamageFallsBackStepByStep) {
  const auto folder = CheckpointFolder::Open(TempFolder());
  ASSERT_TRUE(folder.ok());
  ASSERT_TRUE(folder->SaveNumbered(Example(2), 2).ok());
  ASSERT_TRUE(folder->SaveNumbered(Example(10), 10).ok());  // Text order would put 2 behind 10.
  ASSERT_TRUE(folder->SaveThis(Example(11)).ok());
  ASSERT_TRUE(folder->SaveThis(Example(12)).ok());
  Flip(folder->PathOf(CheckpointFolder::kThis), 2000);
  auto newest = folder->LoadNewest();
  ASSERT_TRUE(newest.ok()) << newest.status();
  EXPECT_EQ(newest->state.epoch, 11);
  EXPECT_EQ(newest->path, folder->PathOf(CheckpointFolder::kPrevious));
  ASSERT_EQ(newest->skipped.size(), 1);
  EXPECT_TRUE(absl::StrContains(newest->skipped[0], folder->PathOf(CheckpointFolder::kThis)));
  // A damaged newest file does not push the good generation out. What follows is what the run started anew does.
  const std::string damaged = *ReadFile(folder->PathOf(CheckpointFolder::kThis));
  const auto started = CheckpointFolder::Open(folder->PathOf(""));
  ASSERT_TRUE(started.ok());
  ASSERT_TRUE(started->SaveThis(Example(13)).ok());
  EXPECT_EQ(EpochOf(folder->PathOf(CheckpointFolder::kThis)), 13);
  EXPECT_EQ(EpochOf(folder->PathOf(CheckpointFolder::kPrevious)), 11);
  EXPECT_EQ(*ReadFile(folder->PathOf(CheckpointFolder::kDamaged)), damaged);
  // From the second save on there are two new ones.
  ASSERT_TRUE(started->SaveThis(Example(14)).ok());
  EXPECT_EQ(EpochOf(folder->PathOf(CheckpointFolder::kPrevious)), 13);
  Flip(folder->PathOf(CheckpointFolder::kThis), 2000);
  ASSERT_EQ(truncate(folder->PathOf(CheckpointFolder::kPrevious).c_str(), 100), 0);
  newest = folder->LoadNewest();
  ASSERT_TRUE(newest.ok()) << newest.status();
  EXPECT_EQ(newest->state.epoch, 10);
  EXPECT_EQ(newest->skipped.size(), 2);
  Flip(folder->NumberedPath(10), 3000);
  Flip(folder->NumberedPath(2), 3000);
  newest = folder->LoadNewest();
  EXPECT_EQ(newest.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_TRUE(absl::StrContains(newest.status().message(), "checkpoint-2.pth"));
}

// --resume of what is no file: refused at once, whatever would come out of it or never does.
TEST(TrainingStateTest, OnlyRegularFilesAreResumedFrom) {
  const std::string folder = TempFolder(), pipe = folder + "/pipe.pth", sparse = folder + "/sparse.pth";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  for (const std::string& path : {pipe, std::string("/dev/zero"), folder}) {
    const absl::Status status = LoadTrainingState(path).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << path;
    EXPECT_TRUE(absl::StrContains(status.message(), "not a regular file")) << status;
  }
  // A terabyte of nothing, which takes minutes to read.
  ASSERT_TRUE(WriteFile(sparse, "PK\x03\x04").ok());
  ASSERT_EQ(truncate(sparse.c_str(), off_t{1} << 40), 0);
  EXPECT_FALSE(LoadTrainingState(sparse).ok());
}

TEST(CheckpointFolderTest, AFullDiskLeavesBothGenerations) {
  const auto folder = CheckpointFolder::Open(TempFolder());
  ASSERT_TRUE(folder.ok());
  ASSERT_TRUE(folder->SaveThis(Example(1)).ok());
  ASSERT_TRUE(folder->SaveThis(Example(2)).ok());
  // A limit on the size of files stands in for a full disk: write() fails in the middle of the file.
  signal(SIGXFSZ, SIG_IGN);
  rlimit before;
  getrlimit(RLIMIT_FSIZE, &before);
  for (rlim_t limit : {0, 100, 1500, 4000}) {
    rlimit small = before;
    small.rlim_cur = limit;
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
    const absl::Status status = folder->SaveThis(Example(3));
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
    EXPECT_FALSE(status.ok()) << limit;
    EXPECT_TRUE(absl::StrContains(status.message(), "cannot write")) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), "unchanged")) << status;
    EXPECT_EQ(EpochOf(folder->PathOf(CheckpointFolder::kThis)), 2);
    EXPECT_EQ(EpochOf(folder->PathOf(CheckpointFolder::kPrevious)), 1);
  }
  // No temporary file, no second name: the two generations alone.
  EXPECT_EQ(system(absl::StrCat("test $(ls ", folder->PathOf(""), " | wc -l) -eq 2").c_str()), 0);
}

TEST(CheckpointFolderTest, TooLittleSpaceIsSaidBeforehand) {
  const std::string path = TempFolder();
  TrainingState state = Example(1);
  // A tensor of 2^60 bytes that is never read.
  TensorView huge;
  huge.shape = {int64_t{1} << 58};
  huge.bytes = absl::string_view(path.data(), size_t{1} << 60);
  ASSERT_TRUE(state.extra.Add("huge", huge).ok());
  const absl::Status status = SaveTrainingState(path + "/state.pth", state);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(absl::StrContains(status.message(), "MiB free")) << status;
  EXPECT_NE(access((path + "/state.pth").c_str(), F_OK), 0);
}

TEST(CheckpointFolderTest, AnotherErrorThanDamageIsNoFallback) {
  const auto folder = CheckpointFolder::Open(TempFolder());
  ASSERT_TRUE(folder.ok());
  ASSERT_TRUE(folder->SaveThis(Example(1)).ok());
  ASSERT_TRUE(folder->SaveThis(Example(2)).ok());
  // A loop of links: the file may be whole, it only cannot be opened. (A missing permission would not stop root.)
  const std::string path = folder->PathOf(CheckpointFolder::kThis);
  ASSERT_EQ(unlink(path.c_str()), 0);
  ASSERT_EQ(symlink(path.c_str(), path.c_str()), 0);
  const auto newest = folder->LoadNewest();
  EXPECT_FALSE(newest.ok());
  EXPECT_NE(newest.status().code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(absl::StrContains(newest.status().message(), path)) << newest.status();
}

TEST(CheckpointFolderTest, AKilledSaveLeavesAWholeState) {
  const auto folder = CheckpointFolder::Open(TempFolder());
  ASSERT_TRUE(folder.ok());
  ASSERT_TRUE(folder->SaveThis(Example(0)).ok());
  int64_t seen = 0;
  for (int round = 0; round < 40; ++round) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      for (int64_t epoch = seen + 1;; ++epoch) {
        if (!folder->SaveThis(Example(epoch)).ok()) _exit(1);
      }
    }
    usleep(500 + 397 * round);
    kill(child, SIGKILL);
    int status;
    waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status));
    const auto newest = folder->LoadNewest();
    ASSERT_TRUE(newest.ok()) << newest.status();
    EXPECT_TRUE(newest->skipped.empty());
    EXPECT_GE(newest->state.epoch, seen);
    seen = newest->state.epoch;
    // Of one piece: the tensors are of the epoch they say.
    EXPECT_EQ(newest->state.model.Find("cls_token")->Values<float>()[0], seen);
    EXPECT_TRUE(LoadTrainingState(folder->PathOf(CheckpointFolder::kThis)).ok());
  }
  EXPECT_GT(seen, 0);
  ASSERT_TRUE(CheckpointFolder::Open(folder->PathOf("")).ok());
  EXPECT_EQ(system(absl::StrCat("test $(ls ", folder->PathOf(""), " | wc -l) -le 2").c_str()), 0);
}

TEST(CheckpointFolderTest, AThousandFlippedBitsAreFound) {
  const std::string path = TempFolder() + "/state.pth";
  ASSERT_TRUE(SaveTrainingState(path, Example(3)).ok());
  std::string bytes = *ReadFile(path);
  ASSERT_GT(bytes.size(), 3000);
  for (int i = 0; i < 1000; ++i) {
    const size_t at = i * bytes.size() / 1000;
    bytes[at] ^= 1 << (i % 8);
    EXPECT_FALSE(ParsePth(MappedFile::FromBytes(bytes)).ok()) << at;
    bytes[at] ^= 1 << (i % 8);
  }
}

}  // namespace
}  // namespace tec
