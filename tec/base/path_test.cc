#include "tec/base/path.h"

#include <cstdlib>

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

}  // namespace
}  // namespace tec
