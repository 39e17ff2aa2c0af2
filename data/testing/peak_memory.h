// How much memory a test has needed.

#ifndef TEC_DATA_TESTING_PEAK_MEMORY_H_
#define TEC_DATA_TESTING_PEAK_MEMORY_H_

#include <cstdint>

namespace tec {
namespace testing {

// This process has had at most `mib` MiB resident so far. Under the address sanitizer, which keeps freed memory,
// nothing is expected.
void ExpectPeakMemoryAtMost(int64_t mib);

}  // namespace testing
}  // namespace tec

#endif  // TEC_DATA_TESTING_PEAK_MEMORY_H_
