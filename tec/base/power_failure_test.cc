// The model itself: a test of it that finds nothing would find nothing.

#include "tec/base/power_failure.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>

#include "gtest/gtest.h"
#include "tec/base/file.h"
#include "tec/base/file_operations.h"

namespace tec {
namespace {

using Names = PowerFailure::Names;

class PowerFailureTest : public ::testing::Test {
 protected:
  PowerFailureTest() {
    std::string pattern = std::filesystem::canonical(testing::TempDir()).string() + "/powerXXXXXX";
    base_ = mkdtemp(pattern.data());
    folder_ = base_ + "/folder";
    std::filesystem::create_directory(folder_);
  }
  // "<none>" for a file that is not there.
  std::string Left(PowerFailure* disk, Names names, const std::string& name) {
    EXPECT_TRUE(disk->LeaveIn(base_ + "/left", names).ok());
    return ReadFile(base_ + "/left/" + name).value_or("<none>");
  }
  void Write(const std::string& name, const std::string& text) { std::ofstream(folder_ + "/" + name) << text; }
  void Sync(const std::string& name) {
    const int fd = open((folder_ + "/" + name).c_str(), O_RDONLY);
    ASSERT_EQ(file_operations::Sync(fd), 0);
    close(fd);
  }
  std::string base_, folder_;
};

TEST_F(PowerFailureTest, KeepsWhatWasThereAndWhatWasSynced) {
  Write("old", "before");
  PowerFailure disk(folder_);
  Write("old", "after");
  Write("new", "text");
  EXPECT_EQ(Left(&disk, Names::kSynced, "old"), "before");
  EXPECT_EQ(Left(&disk, Names::kSynced, "new"), "<none>");
  EXPECT_EQ(Left(&disk, Names::kNewest, "new"), "");
  Sync("new");
  EXPECT_EQ(Left(&disk, Names::kSynced, "new"), "<none>");
  EXPECT_EQ(Left(&disk, Names::kNewest, "new"), "text");
  EXPECT_EQ(Left(&disk, Names::kNewest, "old"), "before");
  ASSERT_EQ(file_operations::SyncFolder(folder_), 0);
  EXPECT_EQ(Left(&disk, Names::kSynced, "new"), "text");
}

TEST_F(PowerFailureTest, ARenameWithoutSyncingLosesTheFile) {
  Write("file", "before");
  PowerFailure disk(folder_);
  Write("temporary", "after");
  std::filesystem::rename(folder_ + "/temporary", folder_ + "/file");
  EXPECT_EQ(Left(&disk, Names::kSynced, "file"), "before");
  EXPECT_EQ(Left(&disk, Names::kNewest, "file"), "");
}

TEST_F(PowerFailureTest, AWholeOrNothingFileIsOneOrTheOther) {
  Write("file", "before");
  PowerFailure disk(folder_);
  std::set<std::string> left;
  file_operations::SetFaultHook([&](file_operations::Operation) {
    for (const Names names : {Names::kSynced, Names::kNewest}) left.insert(Left(&disk, names, "file"));
    return 0;
  });
  const absl::Status written = WriteFile(folder_ + "/file", "after");
  file_operations::SetFaultHook(nullptr);
  ASSERT_TRUE(written.ok()) << written;
  EXPECT_EQ(left, (std::set<std::string>{"before", "after"}));
  EXPECT_EQ(Left(&disk, Names::kSynced, "file"), "after");
}

TEST_F(PowerFailureTest, AFolderIsKnownToItsParentOnceItIsMade) {
  PowerFailure disk(folder_);
  ASSERT_TRUE(MakeDirectories(folder_ + "/a/b").ok());
  ASSERT_TRUE(WriteFile(folder_ + "/a/b/file", "text").ok());
  EXPECT_EQ(Left(&disk, Names::kSynced, "a/b/file"), "text");
}

}  // namespace
}  // namespace tec
