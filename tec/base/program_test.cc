#include "tec/base/program.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
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

TEST(ProgramDeathTest, AMappedFileThatIsCutShortIsALine) {
  char name[] = "/some/where/finetune";
  char* argv[] = {name};
  const auto body = [](int, char**) -> int {
    std::string path = testing::TempDir() + "/cutXXXXXX";
    const int fd = mkstemp(path.data());
    if (ftruncate(fd, 100000) != 0) return 1;
    const auto* bytes = static_cast<const volatile char*>(mmap(nullptr, 100000, PROT_READ, MAP_PRIVATE, fd, 0));
    if (ftruncate(fd, 0) != 0) return 1;
    return bytes[50000];
  };
  EXPECT_EXIT(std::exit(RunProgram(1, argv, body)), testing::ExitedWithCode(kExitFailed),
              "^finetune: a file that is mapped into memory has become shorter");
}

}  // namespace
}  // namespace tec
