// One step of each small model against the reference.

#include "gtest/gtest.h"
#include "tools/goldens/checks.h"
#include "tools/goldens/golden_test.h"

namespace tec {
namespace {

using testing::ExpectGolden;

TEST(ModelGoldensTest, NewModel) { ExpectGolden("tec_tiny", CheckTec); }
TEST(ModelGoldensTest, NewModelWithoutTokenMlpAndRelations) { ExpectGolden("tec_tiny_plain", CheckTec); }
TEST(ModelGoldensTest, BaseModel) { ExpectGolden("teacher_tiny", CheckBaseModel); }
TEST(ModelGoldensTest, Classifier) { ExpectGolden("finetune_tiny", CheckFinetuneModel); }

// The reference's code with mlp_ratio 2: in blocks, decoder blocks and the input adaptor, whose numbers are so compared
// at another width than the one that is four times as large.
TEST(ModelGoldensTest, NewModelOfAnotherMlpRatio) { ExpectGolden("tec_tiny", CheckTec, "tools/goldens/mlp_ratio"); }
TEST(ModelGoldensTest, BaseModelOfAnotherMlpRatio) {
  ExpectGolden("teacher_tiny", CheckBaseModel, "tools/goldens/mlp_ratio");
}

}  // namespace
}  // namespace tec
