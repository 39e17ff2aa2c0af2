#include "tec/run/run_saver.h"

#include <errno.h>

#include <atomic>
#include <filesystem>
#include <mutex>
#include <string>

#include "gtest/gtest.h"
#include "tec/base/file_operations.h"

namespace tec {
namespace {

std::string Folder(const std::string& name) {
  const std::string path = ::testing::TempDir() + "/" + name;
  std::filesystem::remove_all(path);
  return path;
}

TrainingState StateOf(const std::string& method, int64_t epoch) {
  TrainingState state;
  state.method = method;
  state.epoch = epoch;
  EXPECT_TRUE(state.model.Add("w", TensorView::FromFloats({1}, {1})).ok());
  return state;
}

TEST(RunSaverTest, FindsWhatItSaved) {
  absl::StatusOr<RunSaver> saver = RunSaver::Open(Folder("saver"));
  ASSERT_TRUE(saver.ok()) << saver.status();
  EXPECT_EQ(saver->WaitForNewest(), "none");
  absl::StatusOr<std::optional<LoadedState>> found = FindRunState("", &*saver, "linear", "");
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_FALSE(found->has_value());

  ASSERT_TRUE(saver->Save(StateOf("linear", 3)).ok());
  ASSERT_TRUE(saver->Wait().ok());
  EXPECT_EQ(saver->newest(), saver->folder().PathOf(CheckpointFolder::kThis));
  EXPECT_LT(saver->MinutesSinceSave(), 60);
  found = FindRunState("", &*saver, "linear", "");
  ASSERT_TRUE(found.ok() && found->has_value()) << found.status();
  EXPECT_EQ((*found)->state.epoch, 3);
  // A named file comes before the folder's.
  const std::string other = saver->folder().PathOf("other.pth");
  ASSERT_TRUE(SaveTrainingState(other, StateOf("linear", 1)).ok());
  found = FindRunState(other, nullptr, "linear", "");
  ASSERT_TRUE(found.ok() && found->has_value()) << found.status();
  EXPECT_EQ((*found)->state.epoch, 1);
}

// The state is changed, and the error of one save met, while nothing of the next can be written yet.
TEST(RunSaverTest, SavesInTheBackgroundAndNamesTheNewestWholeFile) {
  absl::StatusOr<RunSaver> saver = RunSaver::Open(Folder("background"));
  ASSERT_TRUE(saver.ok()) << saver.status();
  std::atomic<bool> fail = false;
  std::mutex held;
  file_operations::SetFaultHook([&](file_operations::Operation) {
    const std::lock_guard<std::mutex> wait(held);
    return fail ? EIO : 0;
  });
  held.lock();
  ASSERT_TRUE(saver->Save(StateOf("tec", 0), {CheckpointFolder::NumberedName(0)}).ok());
  EXPECT_EQ(saver->newest(), "");
  held.unlock();
  EXPECT_EQ(saver->WaitForNewest(), saver->folder().NumberedPath(0));
  ASSERT_TRUE(saver->Save(StateOf("tec", 1)).ok());
  EXPECT_EQ(saver->WaitForNewest(), saver->folder().PathOf(CheckpointFolder::kThis));
  fail = true;
  ASSERT_TRUE(saver->Save(StateOf("tec", 2)).ok());
  const absl::Status status = saver->Save(StateOf("tec", 3));
  file_operations::SetFaultHook(nullptr);
  EXPECT_NE(status.message().find("saving failed; the newest whole checkpoint is " + saver->newest()),
            std::string::npos)
      << status;
  const absl::StatusOr<LoadedState> newest = saver->folder().LoadNewest();
  ASSERT_TRUE(newest.ok()) << newest.status();
  EXPECT_EQ(newest->state.epoch, 1);
  EXPECT_EQ(newest->path, saver->newest());
}

TEST(RunSaverTest, RefusesAnotherMethodsState) {
  absl::StatusOr<RunSaver> saver = RunSaver::Open(Folder("refuses"));
  ASSERT_TRUE(saver.ok()) << saver.status();
  ASSERT_TRUE(saver->Save(StateOf("tec", 0)).ok());
  ASSERT_TRUE(saver->Wait().ok());
  const absl::Status status = FindRunState("", &*saver, "finetune", "give it as --finetune").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(),
            saver->newest() +
                " is a checkpoint of method tec, not of finetune; choose another --output_dir, and give it as "
                "--finetune");
  EXPECT_EQ(FindRunState("/nowhere.pth", nullptr, "finetune", "").status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace tec
