#include "tec/base/path.h"

#include <cstdlib>
#include <filesystem>
#include <string>

#include "gtest/gtest.h"

namespace tec {
namespace {

TEST(UserPath, IsTakenFromWhereTheUserStands) {
  ASSERT_EQ(setenv("BUILD_WORKING_DIRECTORY", "/home/user", 1), 0);
  EXPECT_EQ(UserPath("a/b"), "/home/user/a/b");
  EXPECT_EQ(UserPath("./a"), "/home/user/a");
  EXPECT_EQ(UserPath("."), "/home/user");
  EXPECT_EQ(UserPath("../a"), "/home/user/../a");
  EXPECT_EQ(UserPath("/a/b"), "/a/b");
  EXPECT_EQ(UserPath(""), "");
}

TEST(UserPath, StaysAsItIsOutsideBazelRun) {
  ASSERT_EQ(unsetenv("BUILD_WORKING_DIRECTORY"), 0);
  EXPECT_EQ(UserPath("./a"), "./a");
}

TEST(AbsoluteUserPath, MeansTheSameFromEveryFolder) {
  ASSERT_EQ(unsetenv("BUILD_WORKING_DIRECTORY"), 0);
  const std::string here = std::filesystem::current_path().string();
  EXPECT_EQ(AbsoluteUserPath("./a/../b"), here + "/b");
  EXPECT_EQ(AbsoluteUserPath("/a"), "/a");
  EXPECT_EQ(AbsoluteUserPath(""), "");
  ASSERT_EQ(setenv("BUILD_WORKING_DIRECTORY", "/home/user", 1), 0);
  EXPECT_EQ(AbsoluteUserPath("a"), "/home/user/a");
}

}  // namespace
}  // namespace tec
