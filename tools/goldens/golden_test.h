// A check as a test: each comparison that fails is a failure.

#ifndef TEC_TOOLS_GOLDENS_GOLDEN_TEST_H_
#define TEC_TOOLS_GOLDENS_GOLDEN_TEST_H_

#include <string>

#include "tools/goldens/golden_item.h"

namespace tec::testing {

// Runs the check of an item on tec/testing/goldens, of which the test lists in its `data` what the check reads.
void ExpectGolden(const std::string& name, GoldenCheck check);

}  // namespace tec::testing

#endif  // TEC_TOOLS_GOLDENS_GOLDEN_TEST_H_
