#include "tec/base/file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>

#include "tec/base/status.h"

namespace tec {
namespace {

using ::testing::HasSubstr;
using ::testing::TempDir;

std::string Folder(const std::string& name) {
  std::string pattern = TempDir() + "/" + name + "XXXXXX";
  return mkdtemp(pattern.data());
}

TEST(FileTest, ReplacesTheOldFileWhole) {
  const std::string path = Folder("file") + "/a";
  ASSERT_TRUE(WriteFile(path, "old").ok());
  ASSERT_TRUE(WriteFile(path, std::string("new\0bytes", 9)).ok());
  EXPECT_EQ(*ReadFile(path), std::string("new\0bytes", 9));
}

TEST(FileTest, WithoutCommitTheOldFileStaysAndNothingElse) {
  const std::string folder = Folder("file"), path = folder + "/a";
  ASSERT_TRUE(WriteFile(path, "old").ok());
  {
    auto writer = AtomicFileWriter::Open(path);
    ASSERT_TRUE(writer.ok());
    ASSERT_TRUE((*writer)->Write("half").ok());
  }
  EXPECT_EQ(*ReadFile(path), "old");
  EXPECT_EQ(*RemoveLeftovers(folder), 0);
}

TEST(FileTest, RemovesWhatADeadProcessLeftAndNothingElse) {
  const std::string folder = Folder("file");
  ASSERT_TRUE(WriteFile(folder + "/a.999999999.tmp", "half").ok());
  ASSERT_TRUE(WriteFile(folder + "/mine.tmp", "not ours").ok());
  ASSERT_TRUE(WriteFile(folder + "/a.1.tmp", "of a living process").ok());
  EXPECT_EQ(*RemoveLeftovers(folder), 1);
  EXPECT_FALSE(ReadFile(folder + "/a.999999999.tmp").ok());
  EXPECT_TRUE(ReadFile(folder + "/mine.tmp").ok());
  EXPECT_TRUE(ReadFile(folder + "/a.1.tmp").ok());
}

TEST(FileTest, AWriterRemovesWhatAKilledOneOfTheSameFileLeft) {
  const std::string folder = Folder("file");
  for (const char* name : {"/a.999999999.tmp", "/ab.999999999.tmp", "/a.b.999999999.tmp"}) {
    ASSERT_TRUE(WriteFile(folder + name, "half").ok());
  }
  ASSERT_TRUE(WriteFile(folder + "/a", "whole").ok());
  EXPECT_FALSE(ReadFile(folder + "/a.999999999.tmp").ok());
  EXPECT_TRUE(ReadFile(folder + "/ab.999999999.tmp").ok());
  EXPECT_TRUE(ReadFile(folder + "/a.b.999999999.tmp").ok());
}

TEST(FileTest, TooLittleSpaceIsSaidBeforehand) {
  const std::string folder = Folder("file");
  ASSERT_TRUE(WriteFile(folder + "/a", "old").ok());
  const absl::Status status = AtomicFileWriter::Open(folder + "/a", uint64_t{1} << 60).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("cannot write " + folder + "/a: it takes up to"));
  EXPECT_EQ(*ReadFile(folder + "/a"), "old");
  EXPECT_EQ(*RemoveLeftovers(folder), 0);
}

TEST(FileTest, ErrorsNameThePath) {
  const absl::Status missing = ReadFile("/nowhere/at/all").status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(missing.message()), HasSubstr("/nowhere/at/all"));
  EXPECT_EQ(WriteFile("/nowhere/at/all", "x").code(), absl::StatusCode::kNotFound);
}

TEST(FileTest, AFullDiskIsReportedAndTheOldFileIsLeft) {
  // /dev/full accepts an open and fails each write with ENOSPC; the rename is never reached.
  const std::string folder = Folder("file");
  ASSERT_EQ(symlink("/dev/full", (folder + "/a." + std::to_string(getpid()) + ".tmp").c_str()), 0);
  ASSERT_TRUE(MakeDirectories(folder + "/deep/er").ok());
  auto writer = AtomicFileWriter::Open(folder + "/a");
  ASSERT_TRUE(writer.ok());
  EXPECT_EQ((*writer)->Write("x").code(), absl::StatusCode::kResourceExhausted);
}

TEST(StatusTest, AnnotateKeepsTheCode) {
  const absl::Status status = Annotate(absl::NotFoundError("b"), "a");
  EXPECT_EQ(status, absl::NotFoundError("a: b"));
  EXPECT_TRUE(Annotate(absl::OkStatus(), "a").ok());
}

}  // namespace
}  // namespace tec
