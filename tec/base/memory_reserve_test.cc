#include "tec/base/memory_reserve.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstddef>
#include <fstream>

#include "gtest/gtest.h"

namespace tec {
namespace {

// Whether the system gives addresses for so much.
bool Gives(size_t bytes) {
  void* const given = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (given != MAP_FAILED) munmap(given, bytes);
  return given != MAP_FAILED;
}

TEST(MemoryReserveTest, GivesBackWhatNothingElseCouldHave) {
  constexpr size_t kBytes = size_t{64} << 20;
  MemoryReserve reserve(kBytes);
  ASSERT_TRUE(reserve.held());
  size_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_AS, &before), 0);
  const rlimit what_there_is = {pages * sysconf(_SC_PAGESIZE), before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_AS, &what_there_is), 0);
  const bool before_release = Gives(kBytes), another = MemoryReserve(kBytes).held();
  reserve.Release();
  const bool after_release = Gives(kBytes);
  ASSERT_EQ(setrlimit(RLIMIT_AS, &before), 0);
  EXPECT_FALSE(before_release);
  EXPECT_FALSE(another);
  EXPECT_TRUE(after_release);
}

}  // namespace
}  // namespace tec
