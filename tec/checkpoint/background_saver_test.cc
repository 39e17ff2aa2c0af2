#include "tec/checkpoint/background_saver.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <mutex>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "gtest/gtest.h"
#include "tec/base/file.h"
#include "tec/base/file_operations.h"
#include "tec/checkpoint/own_bytes.h"

namespace {
std::atomic<bool> no_threads{false};
}  // namespace

// Stands before the C library's in this program: what it gives is what it gives under "ulimit -u".
extern "C" int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*start)(void*),
                              void* argument) {
  using Function = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
  static const auto real = reinterpret_cast<Function>(dlsym(RTLD_NEXT, "pthread_create"));
  return no_threads ? EAGAIN : real(thread, attributes, start, argument);
}

namespace tec {
namespace {

using file_operations::Operation;
using file_operations::SetFaultHook;

CheckpointFolder NewFolder() {
  std::string pattern = testing::TempDir() + "/saverXXXXXX";
  absl::StatusOr<CheckpointFolder> folder = CheckpointFolder::Open(mkdtemp(pattern.data()));
  EXPECT_TRUE(folder.ok());
  return *std::move(folder);
}

// A state whose tensors lie in `values`, as those of a model lie in the model.
TrainingState StateOver(std::vector<float>* values, int64_t epoch) {
  TensorView view;
  view.shape = {static_cast<int64_t>(values->size())};
  view.bytes = {reinterpret_cast<const char*>(values->data()), values->size() * sizeof(float)};
  TrainingState state;
  EXPECT_TRUE(state.model.Add("weight", view).ok());
  EXPECT_TRUE(state.model_ema.Add("weight", view).ok());
  state.epoch = epoch;
  return state;
}

absl::Status Save(BackgroundSaver* saver, const TrainingState& state, std::vector<std::string> before_this = {}) {
  before_this.push_back(CheckpointFolder::kThis);
  return saver->Save({{state, before_this}});
}

// Holds the first write of a save until Release().
class Gate {
 public:
  Gate() {
    SetFaultHook([this](Operation operation) {
      if (operation != Operation::kWrite) return 0;
      std::unique_lock<std::mutex> lock(mutex_);
      changed_.wait(lock, [this] { return open_; });
      return error_;
    });
  }
  ~Gate() { SetFaultHook(nullptr); }
  void Release(int error = 0) {
    const std::lock_guard<std::mutex> lock(mutex_);
    open_ = true;
    error_ = error;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
  int error_ = 0;
};

TEST(BackgroundSaverTest, TrainingGoesOnWhileTheStateOfBeforeIsWritten) {
  const CheckpointFolder folder = NewFolder();
  std::vector<float> weights = {1, 2, 3};
  Gate gate;
  BackgroundSaver saver(folder);
  ASSERT_TRUE(Save(&saver, StateOver(&weights, 4)).ok());
  // Save has returned, though no byte can be written yet.
  EXPECT_EQ(folder.LoadNewest().status().code(), absl::StatusCode::kNotFound);
  weights = {7, 8, 9};
  gate.Release();
  ASSERT_TRUE(saver.Wait().ok());
  EXPECT_EQ(saver.newest(), folder.PathOf(CheckpointFolder::kThis));
  const absl::StatusOr<LoadedState> loaded = folder.LoadNewest();
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->state.model.Find("weight")->Values<float>(), (std::vector<float>{1, 2, 3}));
  EXPECT_EQ(loaded->state.model_ema.Find("weight")->Values<float>(), (std::vector<float>{1, 2, 3}));
}

// As a state is that was copied from a GPU: the run would stand still for the second copy.
TEST(BackgroundSaverTest, WhatIsACopyAlreadyIsNotCopiedAgain) {
  std::vector<float> weights = {1, 2, 3};
  TrainingState state = StateOver(&weights, 0);
  TensorView moment = state.model.begin()->second;
  const auto buffer = OwnBytes::Owner(std::string(moment.bytes));
  moment.bytes = *buffer;
  moment.owner = buffer;
  state.optimizer.moments[0] = {1, moment, moment};
  const TrainingState copy = CopyOf(state);
  EXPECT_EQ(copy.optimizer.moments.at(0).exp_avg.bytes.data(), buffer->data());
  EXPECT_EQ(copy.optimizer.moments.at(0).exp_avg_sq.bytes.data(), buffer->data());
  EXPECT_NE(copy.model.Find("weight")->bytes.data(), state.model.Find("weight")->bytes.data());
  EXPECT_NE(copy.model_ema.Find("weight")->bytes.data(), state.model.Find("weight")->bytes.data());
}

TEST(BackgroundSaverTest, TheNextSaveWaitsAndBothAreThere) {
  const CheckpointFolder folder = NewFolder();
  std::vector<float> weights = {1};
  {
    BackgroundSaver saver(folder);
    ASSERT_TRUE(Save(&saver, StateOver(&weights, 0), {CheckpointFolder::NumberedName(0)}).ok());
    weights = {2};
    ASSERT_TRUE(Save(&saver, StateOver(&weights, 1)).ok());
    // The end of the scope waits for the second.
  }
  EXPECT_EQ(LoadTrainingState(folder.NumberedPath(0))->epoch, 0);
  EXPECT_EQ(LoadTrainingState(folder.PathOf(CheckpointFolder::kPrevious))->epoch, 0);
  EXPECT_EQ(folder.LoadNewest()->state.epoch, 1);
}

TEST(BackgroundSaverTest, EachFileOfTheListGetsItsState) {
  const CheckpointFolder folder = NewFolder();
  std::vector<float> weights = {1}, head = {5};
  BackgroundSaver saver(folder);
  ASSERT_TRUE(saver
                  .Save({{StateOver(&head, 3), {"best_checkpoint.pth"}},
                         {StateOver(&weights, 4), {CheckpointFolder::NumberedName(4), CheckpointFolder::kThis}}})
                  .ok());
  weights = head = {0};
  ASSERT_TRUE(saver.Wait().ok());
  // The one that stays.
  EXPECT_EQ(saver.newest(), folder.NumberedPath(4));
  const auto value = [&folder](const std::string& name) {
    const absl::StatusOr<TrainingState> state = LoadTrainingState(folder.PathOf(name));
    EXPECT_TRUE(state.ok()) << state.status();
    return state.ok() ? state->model.Find("weight")->Values<float>()[0] : -1;
  };
  EXPECT_EQ(value("best_checkpoint.pth"), 5);
  EXPECT_EQ(value("checkpoint-4.pth"), 1);
  EXPECT_EQ(value(CheckpointFolder::kThis), 1);
  // The best file alone is none that a run goes on from.
  ASSERT_TRUE(saver.Save({{StateOver(&head, 5), {"best_checkpoint.pth"}}}).ok());
  ASSERT_TRUE(saver.Wait().ok());
  EXPECT_EQ(saver.newest(), folder.NumberedPath(4));
}

TEST(BackgroundSaverTest, AStateInSeveralFilesIsOnDiskOnce) {
  const CheckpointFolder folder = NewFolder();
  std::vector<float> weights = {1};
  BackgroundSaver saver(folder);
  const auto inode = [&folder](const std::string& name) {
    struct stat info = {};
    EXPECT_EQ(stat(folder.PathOf(name).c_str(), &info), 0) << name;
    return info.st_ino;
  };
  ASSERT_TRUE(Save(&saver, StateOver(&weights, 0), {"best_checkpoint.pth", CheckpointFolder::NumberedName(0)}).ok());
  ASSERT_TRUE(saver.Wait().ok());
  EXPECT_EQ(inode("best_checkpoint.pth"), inode(CheckpointFolder::kThis));
  EXPECT_EQ(inode("checkpoint-0.pth"), inode(CheckpointFolder::kThis));
  // The next save leaves the files of before as they are.
  weights = {2};
  ASSERT_TRUE(Save(&saver, StateOver(&weights, 1)).ok());
  ASSERT_TRUE(saver.Wait().ok());
  EXPECT_NE(inode("checkpoint-0.pth"), inode(CheckpointFolder::kThis));
  EXPECT_EQ(inode("checkpoint-0.pth"), inode(CheckpointFolder::kPrevious));
  EXPECT_EQ(LoadTrainingState(folder.NumberedPath(0))->model.Find("weight")->Values<float>()[0], 1);
  EXPECT_EQ(folder.LoadNewest()->state.model.Find("weight")->Values<float>()[0], 2);
  // The same name again, and a file system without links.
  ASSERT_TRUE(Save(&saver, StateOver(&weights, 1), {"best_checkpoint.pth"}).ok());
  ASSERT_TRUE(saver.Wait().ok());
  SetFaultHook([](Operation operation) { return operation == Operation::kLink ? EPERM : 0; });
  weights = {3};
  ASSERT_TRUE(Save(&saver, StateOver(&weights, 2), {"best_checkpoint.pth"}).ok());
  ASSERT_TRUE(saver.Wait().ok());
  SetFaultHook(nullptr);
  EXPECT_NE(inode("best_checkpoint.pth"), inode(CheckpointFolder::kThis));
  EXPECT_EQ(folder.LoadNewest()->state.model.Find("weight")->Values<float>()[0], 3);
}

TEST(BackgroundSaverTest, NumberedFilesAreKeptAsAskedFor) {
  const CheckpointFolder folder = NewFolder();
  std::vector<float> weights = {1};
  RetentionOptions retention;
  retention.keep_last = 2;
  retention.encoder_only = true;
  BackgroundSaver saver(folder, retention);
  for (int64_t epoch = 0; epoch < 4; ++epoch) {
    TrainingState state = StateOver(&weights, epoch);
    ASSERT_TRUE(state.model.Add("decoder_pred.weight", TensorView::FromFloats({1}, {0})).ok());
    OptimizerGroup group;
    group.num_parameters = 1;
    state.optimizer.groups = {group};
    ASSERT_TRUE(Save(&saver, state, {CheckpointFolder::NumberedName(epoch)}).ok());
    ASSERT_TRUE(saver.Wait().ok());
  }
  EXPECT_FALSE(LoadTrainingState(folder.NumberedPath(1)).ok());
  for (const int64_t epoch : {2, 3}) {
    const absl::StatusOr<TrainingState> state = LoadTrainingState(folder.NumberedPath(epoch));
    ASSERT_TRUE(state.ok()) << state.status();
    EXPECT_EQ(state->model.size(), 1);
    EXPECT_TRUE(state->optimizer.groups.empty());
    EXPECT_TRUE(IsEncoderOnly(*state));
  }
  // A run goes on from what has everything.
  EXPECT_EQ(saver.newest(), folder.PathOf(CheckpointFolder::kThis));
  EXPECT_EQ(folder.LoadNewest()->state.model.size(), 2);
  ASSERT_EQ(unlink(folder.PathOf(CheckpointFolder::kThis).c_str()), 0);
  ASSERT_EQ(unlink(folder.PathOf(CheckpointFolder::kPrevious).c_str()), 0);
  EXPECT_TRUE(absl::IsNotFound(folder.LoadNewest().status()));
}

TEST(BackgroundSaverTest, AnErrorIsToldOnceByTheNextCall) {
  const CheckpointFolder folder = NewFolder();
  std::vector<float> weights = {1};
  BackgroundSaver saver(folder);
  {
    Gate gate;
    ASSERT_TRUE(Save(&saver, StateOver(&weights, 0)).ok());
    gate.Release(ENOSPC);
    const absl::Status status = Save(&saver, StateOver(&weights, 1));
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  }
  EXPECT_TRUE(saver.Wait().ok());
  EXPECT_EQ(saver.newest(), "");
  EXPECT_TRUE(Save(&saver, StateOver(&weights, 2)).ok());
  EXPECT_TRUE(saver.Wait().ok());
  EXPECT_EQ(folder.LoadNewest()->state.epoch, 2);
}

TEST(BackgroundSaverTest, AFolderThatIsAwayIsWaitedFor) {
  const CheckpointFolder folder = NewFolder();
  const std::string path(absl::StripSuffix(folder.PathOf(""), "/"));
  std::vector<float> weights = {1};
  BackgroundSaver saver(folder);
  ASSERT_TRUE(Save(&saver, StateOver(&weights, 0)).ok());
  ASSERT_TRUE(saver.Wait().ok());
  ASSERT_EQ(rename(path.c_str(), (path + ".away").c_str()), 0);
  ASSERT_TRUE(Save(&saver, StateOver(&weights, 1)).ok());
  usleep(2000000);
  ASSERT_EQ(rename((path + ".away").c_str(), path.c_str()), 0);
  const absl::Status saved = saver.Wait();
  ASSERT_TRUE(saved.ok()) << saved;
  EXPECT_EQ(folder.LoadNewest()->state.epoch, 1);
  EXPECT_EQ(LoadTrainingState(folder.PathOf(CheckpointFolder::kPrevious))->epoch, 0);
}

TEST(BackgroundSaverTest, WithoutAThreadTheCallerSaves) {
  const CheckpointFolder folder = NewFolder();
  BackgroundSaver saver(folder);
  std::vector<float> values = {1, 2};
  no_threads = true;
  const absl::Status started = Save(&saver, StateOver(&values, 4));
  no_threads = false;
  ASSERT_TRUE(started.ok()) << started;
  // It is there before anything waits for it.
  const absl::StatusOr<TrainingState> saved = LoadTrainingState(folder.PathOf(CheckpointFolder::kThis));
  ASSERT_TRUE(saved.ok()) << saved.status();
  EXPECT_EQ(saved->epoch, 4);
  EXPECT_TRUE(saver.Wait().ok());
  EXPECT_EQ(saver.newest(), folder.PathOf(CheckpointFolder::kThis));
}

}  // namespace
}  // namespace tec
