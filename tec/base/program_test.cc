#include "tec/base/program.h"

#include <new>
#include <stdexcept>

#include "gtest/gtest.h"

namespace tec {
namespace {

TEST(ProgramTest, ReportsInLinesThatSteerNoTerminal) {
  testing::internal::CaptureStderr();
  EXPECT_EQ(ReportStatus("knn", absl::NotFoundError("no \x1b[31m\n  caf\xE9")), kExitBadInput);
  EXPECT_EQ(ReportStatus("knn", absl::OkStatus()), kExitDone);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "knn: no \\x1b[31m\n  caf\\xe9\n");
}

TEST(ProgramTest, TurnsExceptionsIntoALine) {
  char name[] = "/some/where/knn";
  char* argv[] = {name};
  testing::internal::CaptureStderr();
  EXPECT_EQ(RunProgram(1, argv, [](int, char**) -> int { throw std::runtime_error("type_error.316"); }), kExitFailed);
  EXPECT_EQ(RunProgram(1, argv, [](int, char**) -> int { throw std::bad_alloc(); }), kExitFailed);
  EXPECT_EQ(RunProgram(1, argv, [](int, char**) { return 3; }), 3);
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "knn: unexpected error of a library: type_error.316\nknn: not enough memory\n");
}

}  // namespace
}  // namespace tec
