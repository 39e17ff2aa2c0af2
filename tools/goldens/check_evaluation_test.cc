// The evaluators against stored results.

#include "gtest/gtest.h"
#include "tools/goldens/checks.h"
#include "tools/goldens/golden_test.h"

namespace tec {
namespace {

using testing::ExpectGolden;

TEST(EvaluationGoldensTest, LinearProbe) { ExpectGolden("linprobe", CheckLinearProbe); }
TEST(EvaluationGoldensTest, Knn) { ExpectGolden("knn", CheckKnn); }
TEST(EvaluationGoldensTest, Metrics) { ExpectGolden("metrics", CheckMetrics); }

}  // namespace
}  // namespace tec
