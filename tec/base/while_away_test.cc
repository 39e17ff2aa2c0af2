#include "tec/base/while_away.h"

#include <cstdlib>
#include <filesystem>

#include "gtest/gtest.h"
#include "tec/base/file.h"
#include "tec/base/steady_seconds.h"

namespace tec {
namespace {

std::string NewFolder() {
  std::string pattern = testing::TempDir() + "/awayXXXXXX";
  return mkdtemp(pattern.data());
}

TEST(WhileAwayTest, AFolderThatComesBackIsWaitedFor) {
  const std::string folder = NewFolder();
  std::filesystem::rename(folder, folder + ".away");
  int calls = 0;
  const absl::Status status = RetryWhileAway(folder, [&] {
    if (++calls == 3) std::filesystem::rename(folder + ".away", folder);
    return WriteFile(folder + "/file", "text");
  });
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(calls, 3);
  EXPECT_EQ(*ReadFile(folder + "/file"), "text");
}

TEST(WhileAwayTest, OneThatStaysAwayIsAnErrorInTheEnd) {
  const std::string folder = NewFolder() + "/none";
  int calls = 0;
  const double start = SteadySeconds();
  const absl::Status status = RetryWhileAway(folder, [&] {
    ++calls;
    return WriteFile(folder + "/file", "text");
  });
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound) << status;
  EXPECT_EQ(calls, 6);
  EXPECT_GE(SteadySeconds() - start, 5.4);
}

TEST(WhileAwayTest, OtherErrorsAreNotWaitedFor) {
  int calls = 0;
  const absl::Status status = RetryWhileAway(NewFolder(), [&] {
    ++calls;
    return absl::ResourceExhaustedError("the disk is full");
  });
  EXPECT_EQ(status.message(), "the disk is full");
  EXPECT_EQ(calls, 1);
}

}  // namespace
}  // namespace tec
