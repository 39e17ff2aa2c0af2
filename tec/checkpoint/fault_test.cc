// A save that is killed, or whose system calls fail, at every position of the save path.

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "gtest/gtest.h"
#include "tec/base/file.h"
#include "tec/base/file_operations.h"
#include "tec/base/status.h"
#include "tec/checkpoint/background_saver.h"
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

// The file of Example(epoch): equal states give equal bytes.
const std::string& BytesOf(int64_t epoch) {
  static auto* bytes = new std::map<int64_t, std::string>;
  std::string& result = (*bytes)[epoch];
  if (result.empty()) {
    const std::string path = NewFolder("bytes") + "/state.pth";
    EXPECT_TRUE(SaveTrainingState(path, Example(epoch)).ok());
    result = *ReadFile(path);
  }
  return result;
}

// A folder with two generations: epochs 0 and 1. It is always the same one, whose files are put back without the
// syncing that a save takes its time with.
CheckpointFolder TwoGenerations() {
  static const CheckpointFolder* folder = [] {
    absl::StatusOr<CheckpointFolder> opened = CheckpointFolder::Open(NewFolder("faults"));
    EXPECT_TRUE(opened.ok()) << opened.status();
    EXPECT_TRUE(opened->SaveThis(Example(0)).ok());
    EXPECT_TRUE(opened->SaveThis(Example(1)).ok());
    return new CheckpointFolder(*std::move(opened));
  }();
  for (const auto& file : std::filesystem::directory_iterator(folder->PathOf(""))) std::filesystem::remove(file);
  std::ofstream(folder->PathOf(CheckpointFolder::kPrevious), std::ios::binary) << BytesOf(0);
  std::ofstream(folder->PathOf(CheckpointFolder::kThis), std::ios::binary) << BytesOf(1);
  return *folder;
}

// The state to go on from: whole, and of one piece.
int64_t EpochLeft(const CheckpointFolder& folder) {
  const absl::StatusOr<LoadedState> loaded = folder.LoadNewest();
  EXPECT_TRUE(loaded.ok()) << loaded.status();
  if (!loaded.ok()) return -99;
  EXPECT_TRUE(loaded->skipped.empty()) << loaded->skipped[0];
  EXPECT_TRUE(*ReadFile(loaded->path) == BytesOf(loaded->state.epoch)) << loaded->path;
  return loaded->state.epoch;
}

std::string FolderName(const CheckpointFolder& folder) {
  return std::string(absl::StripSuffix(folder.PathOf(""), "/"));
}

int LeftoversIn(const CheckpointFolder& folder) {
  const std::string command = absl::StrCat("exit $(ls ", folder.PathOf(""), " | grep -c tmp)");
  return WEXITSTATUS(system(command.c_str()));
}

// What a run saves after an epoch: in the background the best file, the numbered one and this_checkpoint.
absl::Status SaveAll(const CheckpointFolder& folder) {
  BackgroundSaver saver(folder);
  TEC_RETURN_IF_ERROR(
      saver.Save({{Example(2), {"best_checkpoint.pth", CheckpointFolder::NumberedName(2), CheckpointFolder::kThis}}}));
  return saver.Wait();
}

absl::Status SaveThisOne(const CheckpointFolder& folder) { return folder.SaveThis(Example(2)); }

// A save of epoch 2 over two generations.
struct Way {
  const char* name;
  absl::Status (*save)(const CheckpointFolder&);
  bool links = true;  // Of the file system; without them a call to link() is answered so and not counted.
};
constexpr Way kWays[] = {{"this_checkpoint", SaveThisOne},
                         {"all files, in the background", SaveAll},
                         {"this_checkpoint without links", SaveThisOne, false},
                         {"all files without links", SaveAll, false}};

// `fault` gets the number of the call.
void SetFault(const Way& way, std::function<int(size_t, Operation)> fault) {
  SetFaultHook([links = way.links, fault = std::move(fault), made = size_t{0}](Operation operation) mutable {
    if (!links && operation == Operation::kLink) return EOPNOTSUPP;
    return fault(made++, operation);
  });
}

std::vector<Operation> CallsOf(const Way& way) {
  const CheckpointFolder folder = TwoGenerations();
  std::vector<Operation> calls;
  SetFault(way, [&calls](size_t, Operation operation) {
    calls.push_back(operation);
    return 0;
  });
  EXPECT_TRUE(way.save(folder).ok());
  SetFaultHook(nullptr);
  EXPECT_EQ(EpochLeft(folder), 2);
  return calls;
}

// After a save that did not end well: the state to go on from is the new one or the old one, and the files that have no
// generation before them are whole or not there, and there if this_checkpoint.pth is.
int64_t CheckWhatIsLeft(const CheckpointFolder& folder, const Way& way) {
  const int64_t epoch = EpochLeft(folder);
  EXPECT_TRUE(epoch == 1 || epoch == 2) << epoch;
  if (way.save != SaveAll) return epoch;
  for (const std::string& name : {std::string("best_checkpoint.pth"), CheckpointFolder::NumberedName(2)}) {
    const absl::StatusOr<TrainingState> state = LoadTrainingState(folder.PathOf(name));
    EXPECT_TRUE(state.ok() || (absl::IsNotFound(state.status()) && epoch == 1)) << name << " " << state.status();
    if (state.ok()) {
      EXPECT_TRUE(*ReadFile(folder.PathOf(name)) == BytesOf(2)) << name;
    }
  }
  return epoch;
}

TEST(FaultTest, ASaveMakesTheCallsThatMakeItSafe) {
  for (const Way& way : kWays) {
    const std::vector<Operation> calls = CallsOf(way);
    for (Operation operation : {Operation::kOpen, Operation::kWrite, Operation::kSync, Operation::kClose,
                                Operation::kRename, Operation::kLink, Operation::kUnlink, Operation::kLock}) {
      EXPECT_EQ(absl::c_linear_search(calls, operation), way.links || operation != Operation::kLink)
          << way.name << " " << static_cast<int>(operation);
    }
  }
}

TEST(FaultTest, AKillBeforeAnyCallLeavesTheNewStateOrTheOldOne) {
  for (const Way& way : kWays) {
    SCOPED_TRACE(way.name);
    const size_t calls = CallsOf(way).size();
    ASSERT_GT(calls, 10);
    std::set<int64_t> left;
    for (size_t at = 0; at < calls; ++at) {
      SCOPED_TRACE(at);
      const CheckpointFolder folder = TwoGenerations();
      const pid_t child = fork();
      ASSERT_GE(child, 0);
      if (child == 0) {
        SetFault(way, [at](size_t made, Operation) {
          if (made == at) kill(getpid(), SIGKILL);
          return 0;
        });
        way.save(folder).IgnoreError();
        _exit(0);
      }
      int status;
      ASSERT_EQ(waitpid(child, &status, 0), child);
      ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
      const int64_t epoch = CheckWhatIsLeft(folder, way);
      left.insert(epoch);
      // The next start clears up, and the next save is like any other.
      ASSERT_TRUE(CheckpointFolder::Open(folder.PathOf("")).ok());
      EXPECT_EQ(LeftoversIn(folder), 0);
      EXPECT_EQ(EpochLeft(folder), epoch);
      ASSERT_TRUE(folder.SaveThis(Example(3)).ok());
      EXPECT_EQ(EpochLeft(folder), 3);
    }
    EXPECT_EQ(left, (std::set<int64_t>{1, 2}));
  }
}

TEST(FaultTest, AFailingCallLeavesAWholeStateAndIsReported) {
  for (const Way& way : kWays) {
    SCOPED_TRACE(way.name);
    const std::vector<Operation> calls = CallsOf(way);
    for (int error : {ENOSPC, EIO}) {
      for (size_t at = 0; at < calls.size(); ++at) {
        SCOPED_TRACE(at);
        const CheckpointFolder folder = TwoGenerations();
        SetFault(way, [at, error](size_t made, Operation) { return made == at ? error : 0; });
        const absl::Status saved = way.save(folder);
        SetFaultHook(nullptr);
        // An unlink only clears up: what it leaves behind is removed later. And there are file systems without locks.
        EXPECT_EQ(saved.ok(), calls[at] == Operation::kUnlink || calls[at] == Operation::kLock) << saved;
        const int64_t epoch = CheckWhatIsLeft(folder, way);
        if (saved.ok()) {
          EXPECT_EQ(epoch, 2);
          continue;
        }
        const std::string message(saved.message());
        EXPECT_TRUE(absl::StrContains(message, FolderName(folder))) << message;
        EXPECT_TRUE(absl::StrContains(message, strerror(error))) << message;
        if (error == ENOSPC) {
          EXPECT_EQ(saved.code(), absl::StatusCode::kResourceExhausted) << message;
        }
        // The newest state has the newest name, without links too.
        EXPECT_TRUE(LoadTrainingState(folder.PathOf(CheckpointFolder::kThis)).ok()) << message;
      }
    }
  }
}

// Another run that starts in the same folder, at any moment of a save, removes nothing that is being written.
TEST(FaultTest, AStartBesideASaveDisturbsNothing) {
  for (const Way& way : kWays) {
    SCOPED_TRACE(way.name);
    const CheckpointFolder folder = TwoGenerations();
    bool starting = false;
    int locks = 0;
    SetFault(way, [&](size_t, Operation operation) {
      // A file that a start removed before it was locked is begun again; not if that happened every time.
      if (starting || (operation == Operation::kLock && ++locks % 2 == 0)) return 0;
      starting = true;
      EXPECT_TRUE(CheckpointFolder::Open(FolderName(folder)).ok());
      starting = false;
      return 0;
    });
    const absl::Status saved = way.save(folder);
    SetFaultHook(nullptr);
    ASSERT_TRUE(saved.ok()) << saved;
    EXPECT_EQ(CheckWhatIsLeft(folder, way), 2);
    EXPECT_EQ(LoadTrainingState(folder.PathOf(CheckpointFolder::kPrevious))->epoch, 1);
  }
}

// From some call on nothing works any more: a disk that is full, or gone, until the process ends.
TEST(FaultTest, ADiskThatIsGoneLeavesAWholeState) {
  for (const Way& way : kWays) {
    SCOPED_TRACE(way.name);
    const size_t calls = CallsOf(way).size();
    for (size_t from = 0; from < calls; ++from) {
      SCOPED_TRACE(from);
      const CheckpointFolder folder = TwoGenerations();
      SetFault(way, [from](size_t made, Operation) { return made >= from ? EIO : 0; });
      const absl::Status saved = way.save(folder);
      SetFaultHook(nullptr);
      EXPECT_FALSE(saved.ok());
      CheckWhatIsLeft(folder, way);
      ASSERT_TRUE(CheckpointFolder::Open(folder.PathOf("")).ok());
      EXPECT_EQ(LeftoversIn(folder), 0);
    }
  }
}

// Neither is an error: every write in parts, and a signal during each call that a signal can end.
TEST(FaultTest, ShortWritesAndSignalsChangeNothing) {
  const std::set<Operation> interrupted = {Operation::kOpen, Operation::kWrite, Operation::kSync, Operation::kClose};
  for (const Way& way : kWays) {
    SCOPED_TRACE(way.name);
    const CheckpointFolder folder = TwoGenerations();
    SetFault(way, [](size_t, Operation operation) {
      return operation == Operation::kWrite ? file_operations::kShortWrite : 0;
    });
    const absl::Status saved = way.save(folder);
    SetFaultHook(nullptr);
    ASSERT_TRUE(saved.ok()) << saved;
    EXPECT_EQ(CheckWhatIsLeft(folder, way), 2);
    const std::vector<Operation> calls = CallsOf(way);
    for (size_t at = 0; at < calls.size(); ++at) {
      if (interrupted.count(calls[at]) == 0) continue;
      SCOPED_TRACE(at);
      const CheckpointFolder again = TwoGenerations();
      SetFault(way, [at](size_t made, Operation) { return made == at ? EINTR : 0; });
      const absl::Status status = way.save(again);
      SetFaultHook(nullptr);
      ASSERT_TRUE(status.ok()) << status;
      EXPECT_EQ(CheckWhatIsLeft(again, way), 2);
    }
  }
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
