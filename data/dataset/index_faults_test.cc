// A power failure while an index of a data set is written.

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "data/dataset/dataset.h"
#include "gtest/gtest.h"
#include "tec/base/file.h"
#include "tec/base/file_operations.h"
#include "tec/base/power_failure.h"

namespace tec {
namespace {

std::vector<std::string> NamesOf(const std::string& data, const std::string& index_folder) {
  DatasetOptions options;
  options.index_folder = index_folder;
  const absl::StatusOr<std::unique_ptr<Dataset>> dataset = OpenDataset(data, Split::kWhole, options);
  EXPECT_TRUE(dataset.ok()) << dataset.status();
  std::vector<std::string> names;
  for (int64_t i = 0; dataset.ok() && i < (*dataset)->size(); ++i) names.push_back((*dataset)->name(i));
  return names;
}

int IndexesIn(const std::string& folder) {
  int indexes = 0;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    indexes += absl::EndsWith(entry.path().filename().string(), ".index");
  }
  return indexes;
}

TEST(IndexFaultsTest, AfterAPowerFailureTheIndexIsWholeOrNotUsed) {
  std::string pattern = std::filesystem::canonical(::testing::TempDir()).string() + "/indexXXXXXX";
  const std::string base = mkdtemp(pattern.data()), data = base + "/data", disk_folder = base + "/disk";
  std::filesystem::create_directory(disk_folder);
  for (const char* name : {"/a", "/b"}) {
    ASSERT_TRUE(MakeDirectories(data + name).ok());
    for (int i = 0; i < 100; ++i) ASSERT_TRUE(WriteFile(absl::StrCat(data, name, "/", i, ".jpg"), "pixels").ok());
  }
  // What has changed a moment ago is not indexed.
  for (const char* name : {"/a", "/b", ""}) {
    std::filesystem::last_write_time(data + name,
                                     std::filesystem::file_time_type::clock::now() - std::chrono::hours(1));
  }
  std::vector<std::string> left;
  const auto leave = [&](PowerFailure* disk) {
    for (const auto names : {PowerFailure::Names::kSynced, PowerFailure::Names::kNewest}) {
      left.push_back(absl::StrCat(base, "/left", left.size()));
      EXPECT_TRUE(disk->LeaveIn(left.back(), names).ok());
    }
  };
  std::vector<std::string> expected;
  {
    PowerFailure disk(disk_folder);
    file_operations::SetFaultHook([&](file_operations::Operation) {
      leave(&disk);
      return 0;
    });
    expected = NamesOf(data, disk_folder + "/out");
    file_operations::SetFaultHook(nullptr);
    leave(&disk);
  }
  ASSERT_EQ(expected.size(), 200);
  ASSERT_EQ(IndexesIn(disk_folder + "/out"), 1);
  ASSERT_GT(left.size(), 10);
  // Of the failure after everything.
  EXPECT_EQ(IndexesIn(left.back() + "/out"), 1);
  for (const std::string& copy : left) EXPECT_EQ(NamesOf(data, copy + "/out"), expected) << copy;
}

}  // namespace
}  // namespace tec
