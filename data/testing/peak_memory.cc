#include "data/testing/peak_memory.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

namespace tec {
namespace testing {

void ExpectPeakMemoryAtMost(int64_t mib) {
#if !defined(__SANITIZE_ADDRESS__)
  rusage usage;
  ASSERT_EQ(getrusage(RUSAGE_SELF, &usage), 0);
  EXPECT_LE(usage.ru_maxrss, mib << 10);  // Linux counts in KiB.
#else
  static_cast<void>(mib);
#endif
}

}  // namespace testing
}  // namespace tec
