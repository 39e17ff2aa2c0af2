// A save that is killed, or whose system calls fail, at every position of the save path.

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <set>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "gtest/gtest.h"
#include "tec/base/file.h"
#include "tec/base/file_operations.h"
#include "tec/checkpoint/training_state.h"

namespace tec {
namespace {

using file_operations::Operation;
using file_operations::SetFaultHook;

TrainingState Example(int64_t epoch) {
  TrainingState state;
  const float e = epoch;
  EXPECT_TRUE(state.model.Add("cls_token", TensorView::FromFloats({1, 1, 4}, {e, 1, 2, 3})).ok());
  // Large enough that its bytes take calls of their own.
  EXPECT_TRUE(state.model.Add("blocks.0", TensorView::FromFloats({5000}, std::vector<float>(5000, e))).ok());
  OptimizerGroup group;
  group.num_parameters = 2;
  state.optimizer.groups = {group};
  state.optimizer.moments[0] = {epoch, TensorView::FromFloats({1, 1, 4}, {0, 1, e, 3}),
                                TensorView::FromFloats({1, 1, 4}, {0, 1, 4, 9})};
  state.epoch = epoch;
  return state;
}

std::string NewFolder(const std::string& name) {
  std::string pattern = absl::StrCat(testing::TempDir(), "/", name, "XXXXXX");
  return mkdtemp(pattern.data());
}

// What a save does, as bytes: equal states give equal bytes.
std::string BytesOf(const TrainingState& state) {
  const std::string path = NewFolder("bytes") + "/state.pth";
  EXPECT_TRUE(SaveTrainingState(path, state).ok());
  return *ReadFile(path);
}

// A folder with two generations: epochs 0 and 1.
CheckpointFolder TwoGenerations() {
  absl::StatusOr<CheckpointFolder> folder = CheckpointFolder::Open(NewFolder("faults"));
  EXPECT_TRUE(folder.ok()) << folder.status();
  EXPECT_TRUE(folder->SaveThis(Example(0)).ok());
  EXPECT_TRUE(folder->SaveThis(Example(1)).ok());
  return *std::move(folder);
}

// The state to go on from: whole, and of one piece.
int64_t EpochLeft(const CheckpointFolder& folder) {
  const absl::StatusOr<LoadedState> loaded = folder.LoadNewest();
  EXPECT_TRUE(loaded.ok()) << loaded.status();
  if (!loaded.ok()) return -99;
  EXPECT_TRUE(loaded->skipped.empty()) << loaded->skipped[0];
  EXPECT_EQ(BytesOf(loaded->state), BytesOf(Example(loaded->state.epoch)));
  return loaded->state.epoch;
}

std::string FolderName(const CheckpointFolder& folder) {
  return std::string(absl::StripSuffix(folder.PathOf(""), "/"));
}

int LeftoversIn(const CheckpointFolder& folder) {
  const std::string command = absl::StrCat("exit $(ls ", folder.PathOf(""), " | grep -c tmp)");
  return WEXITSTATUS(system(command.c_str()));
}

// The calls of one save over two generations.
std::vector<Operation> CallsOf(const std::function<absl::Status(const CheckpointFolder&)>& save) {
  const CheckpointFolder folder = TwoGenerations();
  std::vector<Operation> calls;
  SetFaultHook([&calls](Operation operation) {
    calls.push_back(operation);
    return 0;
  });
  EXPECT_TRUE(save(folder).ok());
  SetFaultHook(nullptr);
  return calls;
}

absl::Status SaveNext(const CheckpointFolder& folder) { return folder.SaveThis(Example(2)); }

TEST(FaultTest, ASaveMakesTheCallsThatMakeItSafe) {
  const std::vector<Operation> calls = CallsOf(SaveNext);
  const std::set<Operation> kinds(calls.begin(), calls.end());
  for (Operation operation : {Operation::kOpen, Operation::kWrite, Operation::kSync, Operation::kClose,
                              Operation::kRename, Operation::kLink, Operation::kUnlink}) {
    EXPECT_EQ(kinds.count(operation), 1) << static_cast<int>(operation);
  }
}

TEST(FaultTest, AKillBeforeAnyCallLeavesTheNewStateOrTheOldOne) {
  const size_t calls = CallsOf(SaveNext).size();
  ASSERT_GT(calls, 10);
  std::set<int64_t> left;
  for (size_t at = 0; at < calls; ++at) {
    const CheckpointFolder folder = TwoGenerations();
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      size_t made = 0;
      SetFaultHook([&made, at](Operation) {
        if (made++ == at) raise(SIGKILL);
        return 0;
      });
      SaveNext(folder).IgnoreError();
      _exit(0);
    }
    int status;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << at;
    const int64_t epoch = EpochLeft(folder);
    EXPECT_TRUE(epoch == 1 || epoch == 2) << at;
    left.insert(epoch);
    // The next start clears up, and the next save is like any other.
    ASSERT_TRUE(CheckpointFolder::Open(folder.PathOf("")).ok());
    EXPECT_EQ(LeftoversIn(folder), 0) << at;
    EXPECT_EQ(EpochLeft(folder), epoch) << at;
    ASSERT_TRUE(folder.SaveThis(Example(3)).ok());
    EXPECT_EQ(EpochLeft(folder), 3);
  }
  EXPECT_EQ(left, (std::set<int64_t>{1, 2}));
}

TEST(FaultTest, AFailingCallLeavesAWholeStateAndIsReported) {
  const std::vector<Operation> calls = CallsOf(SaveNext);
  for (int error : {ENOSPC, EIO}) {
    for (size_t at = 0; at < calls.size(); ++at) {
      const CheckpointFolder folder = TwoGenerations();
      size_t made = 0;
      SetFaultHook([&](Operation) { return made++ == at ? error : 0; });
      const absl::Status saved = SaveNext(folder);
      SetFaultHook(nullptr);
      // An unlink only clears up: what it leaves behind is removed later.
      EXPECT_EQ(saved.ok(), calls[at] == Operation::kUnlink) << at << " " << saved;
      const int64_t epoch = EpochLeft(folder);
      EXPECT_TRUE(epoch == 1 || epoch == 2) << at;
      if (saved.ok()) {
        EXPECT_EQ(epoch, 2) << at;
        continue;
      }
      const std::string message(saved.message());
      EXPECT_TRUE(absl::StrContains(message, FolderName(folder))) << message;
      EXPECT_TRUE(absl::StrContains(message, strerror(error))) << message;
      if (error == ENOSPC) {
        EXPECT_EQ(saved.code(), absl::StatusCode::kResourceExhausted) << message;
      }
    }
  }
}

// From some call on nothing works any more: a disk that is full, or gone, until the process ends.
TEST(FaultTest, ADiskThatIsGoneLeavesAWholeState) {
  const size_t calls = CallsOf(SaveNext).size();
  for (size_t from = 0; from < calls; ++from) {
    const CheckpointFolder folder = TwoGenerations();
    size_t made = 0;
    SetFaultHook([&](Operation) { return made++ >= from ? EIO : 0; });
    const absl::Status saved = SaveNext(folder);
    SetFaultHook(nullptr);
    EXPECT_FALSE(saved.ok()) << from;
    const int64_t epoch = EpochLeft(folder);
    EXPECT_TRUE(epoch == 1 || epoch == 2) << from;
    ASSERT_TRUE(CheckpointFolder::Open(folder.PathOf("")).ok());
    EXPECT_EQ(LeftoversIn(folder), 0) << from;
  }
}

// A numbered file has no generation before it: it is there whole or not at all.
TEST(FaultTest, ANumberedFileIsWholeOrNotThere) {
  const auto save = [](const CheckpointFolder& folder) { return folder.SaveNumbered(Example(7), 7); };
  const size_t calls = CallsOf(save).size();
  bool there = false, missing = false;
  for (size_t at = 0; at < calls; ++at) {
    const CheckpointFolder folder = TwoGenerations();
    size_t made = 0;
    SetFaultHook([&](Operation) { return made++ == at ? ENOSPC : 0; });
    const absl::Status saved = save(folder);
    SetFaultHook(nullptr);
    EXPECT_FALSE(saved.ok()) << at;
    const absl::StatusOr<TrainingState> state = LoadTrainingState(folder.NumberedPath(7));
    EXPECT_TRUE(state.ok() || absl::IsNotFound(state.status())) << state.status();
    (state.ok() ? there : missing) = true;
    EXPECT_EQ(EpochLeft(folder), 1);
  }
  EXPECT_TRUE(there && missing);
}

// A bad sector of the newest file: at its opening and at each read.
TEST(FaultTest, AReadErrorFallsBackToTheGenerationBefore) {
  absl::StatusOr<CheckpointFolder> folder = CheckpointFolder::Open(NewFolder("read"));
  ASSERT_TRUE(folder.ok());
  TrainingState large = Example(1);
  // More than one read takes.
  ASSERT_TRUE(large.extra.Add("large", TensorView::FromFloats({300000}, std::vector<float>(300000, 1))).ok());
  ASSERT_TRUE(folder->SaveThis(Example(0)).ok());
  ASSERT_TRUE(folder->SaveThis(large).ok());
  for (const int bad : {0, 1, 2}) {
    int made = 0;
    SetFaultHook([&](Operation) { return made++ == bad ? EIO : 0; });
    const absl::StatusOr<LoadedState> loaded = folder->LoadNewest();
    SetFaultHook(nullptr);
    ASSERT_TRUE(loaded.ok()) << bad << " " << loaded.status();
    EXPECT_EQ(loaded->path, folder->PathOf(CheckpointFolder::kPrevious)) << bad;
    EXPECT_EQ(loaded->state.epoch, 0) << bad;
    ASSERT_EQ(loaded->skipped.size(), 1);
    EXPECT_TRUE(absl::StrContains(loaded->skipped[0], folder->PathOf(CheckpointFolder::kThis))) << loaded->skipped[0];
    EXPECT_TRUE(absl::StrContains(loaded->skipped[0], strerror(EIO))) << loaded->skipped[0];
  }
  // Another error says nothing about the file.
  SetFaultHook([](Operation) { return EACCES; });
  const absl::Status refused = folder->LoadNewest().status();
  SetFaultHook(nullptr);
  EXPECT_EQ(refused.code(), absl::StatusCode::kPermissionDenied) << refused;
}

TEST(FaultTest, AFlippedBitAnywhereFallsBackToTheGenerationBefore) {
  const CheckpointFolder folder = TwoGenerations();
  const std::string path = folder.PathOf(CheckpointFolder::kThis), whole = *ReadFile(path);
  for (size_t i = 0; i < 1000; ++i) {
    std::string bytes = whole;
    const size_t at = i * whole.size() / 1000;
    bytes[at] ^= 1 << (i % 8);
    ASSERT_TRUE(WriteFile(path, bytes).ok());
    const absl::StatusOr<LoadedState> loaded = folder.LoadNewest();
    ASSERT_TRUE(loaded.ok()) << at << " " << loaded.status();
    EXPECT_EQ(loaded->state.epoch, 0) << at;
    EXPECT_EQ(loaded->path, folder.PathOf(CheckpointFolder::kPrevious));
    ASSERT_EQ(loaded->skipped.size(), 1);
    EXPECT_TRUE(absl::StrContains(loaded->skipped[0], path));
  }
}

}  // namespace
}  // namespace tec
