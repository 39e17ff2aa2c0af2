// Weight files that must be read, and those that must be refused.

#include "gtest/gtest.h"
#include "tools/goldens/checks.h"
#include "tools/goldens/golden_test.h"

namespace tec {
namespace {

using testing::ExpectGolden;

TEST(CheckpointGoldensTest, AcceptAndRefuse) { ExpectGolden("checkpoints", CheckCheckpoints); }

}  // namespace
}  // namespace tec
