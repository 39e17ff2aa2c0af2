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

}  // namespace
}  // namespace tec
