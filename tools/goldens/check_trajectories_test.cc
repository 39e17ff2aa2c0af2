// Training against the reference, update by update.

#include "gtest/gtest.h"
#include "tools/goldens/checks.h"
#include "tools/goldens/golden_test.h"

namespace tec {
namespace {

using testing::ExpectGolden;

TEST(TrajectoryGoldensTest, Pretraining) { ExpectGolden("pretrain_trajectory", CheckPretrainTrajectory); }
TEST(TrajectoryGoldensTest, PretrainingWithAnotherMlpRatio) {
  ExpectGolden("pretrain_trajectory", CheckPretrainTrajectory, "tools/goldens/mlp_ratio");
}
TEST(TrajectoryGoldensTest, Finetuning) { ExpectGolden("finetune_trajectory", CheckFinetuneTrajectory); }

}  // namespace
}  // namespace tec
