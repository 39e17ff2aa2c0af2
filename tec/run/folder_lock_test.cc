#include "tec/run/folder_lock.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tec/base/file.h"
#include "tec/base/file_operations.h"

namespace tec {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::string Folder(const std::string& name) {
  std::string pattern = absl::StrCat(::testing::TempDir(), "/", name, "XXXXXX");
  return mkdtemp(pattern.data());
}

TEST(FolderLockTest, ASecondRunIsToldWhoHasTheFolder) {
  const std::string folder = Folder("held") + "/made";
  int taken[2];
  ASSERT_EQ(pipe(taken), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const auto lock = FolderLock::Take(folder);
    if (!lock.ok() || write(taken[1], "x", 1) != 1) _exit(1);
    for (;;) pause();
  }
  char byte;
  close(taken[1]);
  ASSERT_EQ(read(taken[0], &byte, 1), 1);
  char host[256] = "";
  gethostname(host, sizeof(host) - 1);
  const absl::Status refused = FolderLock::Take(folder).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition) << refused;
  EXPECT_THAT(std::string(refused.message()),
              AllOf(HasSubstr(absl::StrCat("another run writes into ", folder, ": process ", child, " on host ", host,
                                           ", since 2")),
                    HasSubstr("--output_dir")));
  // Killed: nothing is left but a text, which keeps nobody out.
  ASSERT_EQ(kill(child, SIGKILL), 0);
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  EXPECT_TRUE(ReadFile(folder + "/run.lock").ok());
  const auto lock = FolderLock::Take(folder);
  ASSERT_TRUE(lock.ok()) << lock.status();
  EXPECT_THAT(*ReadFile(folder + "/run.lock"), HasSubstr(absl::StrCat("process ", getpid(), " on host ")));
}

TEST(FolderLockTest, IsGoneWithItsHolder) {
  const std::string folder = Folder("gone");
  for (int i = 0; i < 2; ++i) {
    const auto lock = FolderLock::Take(folder);
    ASSERT_TRUE(lock.ok()) << lock.status();
    EXPECT_FALSE(FolderLock::Take(folder).ok());
    EXPECT_TRUE(ReadFile(folder + "/run.lock").ok());
  }
  EXPECT_EQ(ReadFile(folder + "/run.lock").status().code(), absl::StatusCode::kNotFound);
}

TEST(FolderLockTest, WithoutLocksTheFolderIsTakenAndThatIsSaid) {
  const std::string folder = Folder("nolocks");
  file_operations::SetFaultHook(
      [](file_operations::Operation operation) { return operation == file_operations::Operation::kLock ? ENOLCK : 0; });
  ::testing::internal::CaptureStderr();
  const auto first = FolderLock::Take(folder), second = FolderLock::Take(folder);
  file_operations::SetFaultHook(nullptr);
  const std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_TRUE(first.ok()) << first.status();
  EXPECT_TRUE(second.ok()) << second.status();
  EXPECT_THAT(log, HasSubstr("has no locks"));
}

}  // namespace
}  // namespace tec
