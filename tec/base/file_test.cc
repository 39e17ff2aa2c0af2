#include "tec/base/file.h"

#include <errno.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "tec/base/file_operations.h"
#include "tec/base/status.h"
#include "tec/base/system_error.h"

namespace tec {
namespace {

using ::testing::HasSubstr;
using ::testing::TempDir;

std::string Folder(const std::string& name) {
  std::string pattern = TempDir() + "/" + name + "XXXXXX";
  return mkdtemp(pattern.data());
}

// Unavailable tells the system's errors from those of data: none that does not pass may have that code.
TEST(FileTest, WhatIsUnavailableMayPass) {
  int unavailable = 0;
  for (int error = 1; error < 200; ++error) {
    if (!absl::IsUnavailable(ErrnoToStatus(error, "read", "a"))) continue;
    EXPECT_TRUE(MayPass(error)) << strerror(error);
    ++unavailable;
  }
  EXPECT_GT(unavailable, 5);
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
  // Numbers that other processes have by now: one that always lives, and this one.
  ASSERT_TRUE(WriteFile(folder + "/a.1.tmp", "half").ok());
  ASSERT_TRUE(WriteFile(absl::StrCat(folder, "/b.", getpid(), ".tmp"), "half").ok());
  // No save leaves these.
  const std::string link = folder + "/c.1.tmp", pipe = folder + "/d.1.tmp";
  ASSERT_EQ(symlink((folder + "/mine.tmp").c_str(), link.c_str()), 0);
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_EQ(*RemoveLeftovers(folder), 3);
  EXPECT_TRUE(ReadFile(link).ok());
  EXPECT_EQ(access(pipe.c_str(), F_OK), 0);
  EXPECT_EQ(*RemoveLeftovers(folder), 0);
}

// The file's name gives the number of a process that does not exist here, as that of another machine may.
TEST(FileTest, WhatIsBeingWrittenStaysUntilItsWriterDies) {
  const std::string folder = Folder("file"), temporary = folder + "/a.999999999.tmp";
  int opened[2];
  ASSERT_EQ(pipe(opened), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    auto writer = AtomicFileWriter::Open(folder + "/a");
    if (!writer.ok() || !(*writer)->Write("half").ok()) _exit(1);
    const std::string own = absl::StrCat(folder, "/a.", getpid(), ".tmp");
    if (rename(own.c_str(), temporary.c_str()) != 0 || write(opened[1], "x", 1) != 1) _exit(1);
    for (;;) pause();
  }
  char byte;
  close(opened[1]);
  ASSERT_EQ(read(opened[0], &byte, 1), 1);
  EXPECT_EQ(*RemoveLeftovers(folder), 0);
  EXPECT_EQ(*ReadFile(temporary), "half");
  // Another one writes the same file meanwhile, and removes nothing either.
  ASSERT_TRUE(WriteFile(folder + "/a", "whole").ok());
  EXPECT_EQ(*ReadFile(temporary), "half");
  ASSERT_EQ(kill(child, SIGKILL), 0);
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  EXPECT_EQ(*RemoveLeftovers(folder), 1);
  EXPECT_EQ(*ReadFile(folder + "/a"), "whole");
}

// The finished file has its old name until it is renamed: no moment of it is without a lock.
TEST(FileTest, AFileIsLockedUntilItHasItsName) {
  const std::string folder = Folder("file");
  int asked = 0;
  file_operations::SetFaultHook([&](file_operations::Operation operation) {
    if (operation != file_operations::Operation::kRename) return 0;
    ++asked;
    EXPECT_EQ(*RemoveLeftovers(folder), 0);
    return 0;
  });
  const absl::Status written = WriteFile(folder + "/a", "whole");
  file_operations::SetFaultHook(nullptr);
  EXPECT_TRUE(written.ok()) << written;
  EXPECT_EQ(asked, 1);
}

// A writer may finish one file and begin the next between another's opening of the first and its lock.
TEST(FileTest, ALeftoverWhoseNameWentToAnotherFileStays) {
  const std::string folder = Folder("file"), name = folder + "/a.1.tmp", next = folder + "/next";
  ASSERT_TRUE(WriteFile(name, "whole").ok());
  ASSERT_TRUE(WriteFile(next, "begun").ok());
  file_operations::SetFaultHook([&](file_operations::Operation operation) {
    if (operation != file_operations::Operation::kLock) return 0;
    EXPECT_EQ(std::rename(next.c_str(), name.c_str()), 0);
    return 0;
  });
  EXPECT_EQ(*RemoveLeftovers(folder), 0);
  file_operations::SetFaultHook(nullptr);
  EXPECT_EQ(*ReadFile(name), "begun");
  EXPECT_EQ(*RemoveLeftovers(folder), 1);
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
  // No small size is "0.0 MiB". /proc has no room at all.
  const auto message = [](uint64_t size) {
    return std::string(AtomicFileWriter::Open("/proc/a", size).status().message());
  };
  EXPECT_EQ(message(100), "cannot write /proc/a: it takes up to 100 bytes and /proc has 0 bytes free");
  EXPECT_EQ(message(2048), "cannot write /proc/a: it takes up to 2.0 KiB and /proc has 0 bytes free");
}

TEST(FileTest, ErrorsNameThePath) {
  const absl::Status missing = ReadFile("/nowhere/at/all").status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(missing.message()), HasSubstr("/nowhere/at/all"));
  EXPECT_EQ(WriteFile("/nowhere/at/all", "x").code(), absl::StatusCode::kNotFound);
}

TEST(FileTest, AFullDiskIsReportedAndTheOldFileIsLeft) {
  const std::string folder = Folder("file");
  ASSERT_TRUE(WriteFile(folder + "/a", "old").ok());
  file_operations::SetFaultHook([](file_operations::Operation operation) {
    return operation == file_operations::Operation::kWrite ? ENOSPC : 0;
  });
  const absl::Status status = WriteFile(folder + "/a", "x");
  file_operations::SetFaultHook(nullptr);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(*ReadFile(folder + "/a"), "old");
}

// In a folder where others may write, a link under the temporary file's name would send the bytes to a file that they
// chose.
TEST(FileTest, ATemporaryFileFollowsNoLink) {
  const std::string folder = Folder("file"), victim = folder + "/victim";
  ASSERT_TRUE(WriteFile(victim, "precious").ok());
  const std::string temporary = absl::StrCat(folder, "/a.", getpid(), ".tmp");
  ASSERT_EQ(symlink(victim.c_str(), temporary.c_str()), 0);
  const absl::Status status = WriteFile(folder + "/a", "x");
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), HasSubstr(temporary));
  EXPECT_EQ(*ReadFile(victim), "precious");
  // A second name of a file: the name goes, the file stays.
  ASSERT_EQ(unlink(temporary.c_str()), 0);
  ASSERT_EQ(link(victim.c_str(), temporary.c_str()), 0);
  EXPECT_TRUE(WriteFile(folder + "/a", "x").ok());
  EXPECT_EQ(*ReadFile(victim), "precious");
  EXPECT_EQ(*ReadFile(folder + "/a"), "x");
}

TEST(FileTest, ALeftoverOfThisProcessNumberStopsNobodyWhereThereAreNoLocks) {
  const std::string folder = Folder("file");
  ASSERT_TRUE(WriteFile(absl::StrCat(folder, "/a.", getpid(), ".tmp"), "half").ok());
  file_operations::SetFaultHook(
      [](file_operations::Operation operation) { return operation == file_operations::Operation::kLock ? ENOLCK : 0; });
  const absl::Status status = WriteFile(folder + "/a", "whole");
  file_operations::SetFaultHook(nullptr);
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(*ReadFile(folder + "/a"), "whole");
}

TEST(FileTest, OnlyRegularFilesAreRead) {
  const std::string folder = Folder("file"), pipe = folder + "/pipe", large = folder + "/large";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  const auto refused = [](const std::string& path, const char* why) {
    for (const absl::Status& status : {ReadFile(path).status(), CheckReadable(path)}) {
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
      EXPECT_THAT(std::string(status.message()), HasSubstr(path + " is " + why));
    }
  };
  refused(pipe, "a FIFO, not a regular file");
  refused("/dev/zero", "a device, not a regular file");
  refused(folder, "a folder, not a regular file");
  // Sparse: nothing on the disk.
  ASSERT_TRUE(WriteFile(large, "x").ok());
  ASSERT_EQ(truncate(large.c_str(), off_t{1} << 40), 0);
  EXPECT_THAT(std::string(ReadFile(large).status().message()), HasSubstr("1024 GiB"));
  // Holes are not read: the reads are those of the first page.
  int reads = 0;
  file_operations::SetFaultHook([&](file_operations::Operation operation) {
    if (operation == file_operations::Operation::kRead) ++reads;
    return 0;
  });
  EXPECT_TRUE(CheckReadable(large).ok());
  file_operations::SetFaultHook(nullptr);
  EXPECT_LE(reads, 2);
}

TEST(StatusTest, AnnotateKeepsTheCode) {
  const absl::Status status = Annotate(absl::NotFoundError("b"), "a");
  EXPECT_EQ(status, absl::NotFoundError("a: b"));
  EXPECT_TRUE(Annotate(absl::OkStatus(), "a").ok());
}

}  // namespace
}  // namespace tec
