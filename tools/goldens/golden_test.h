// A check as a test: each comparison that fails is a failure.

#ifndef TEC_TOOLS_GOLDENS_GOLDEN_TEST_H_
#define TEC_TOOLS_GOLDENS_GOLDEN_TEST_H_

#include <string>

#include "tools/goldens/golden_item.h"

namespace tec::testing {

// Runs the check of an item on the folder, of which the test lists in its `data` what the check reads.
void ExpectGolden(const std::string& name, GoldenCheck check, const std::string& folder = "tec/testing/goldens");

}  // namespace tec::testing

#endif  // TEC_TOOLS_GOLDENS_GOLDEN_TEST_H_
