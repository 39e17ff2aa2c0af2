// Each row has its three targets; each starts the right program with the right settings, and flags and relative paths
// reach it.

#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "eval/testing/program.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tec/config/rows.h"

namespace tec {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::ProgramResult;

TEST(RowTargets, StartTheStepOfTheirRow) {
  for (const std::string& row : RowNames()) {
    SCOPED_TRACE(row);
    const std::string target = "tec/experiments/" + row;
    const std::string name = absl::StrCat("name: \"", row, "\"");
    const ProgramResult pretrain = testing::RunProgram(target + ".pretrain", "--print_config");
    EXPECT_EQ(pretrain.exit_code, 0);
    EXPECT_THAT(pretrain.output, AllOf(HasSubstr(name), HasSubstr("proto-message: tec.config.Experiment")));
    const ProgramResult finetune = testing::RunProgram(target + ".finetune", "--print_config");
    EXPECT_EQ(finetune.exit_code, 0);
    EXPECT_THAT(finetune.output, AllOf(HasSubstr(name), HasSubstr("proto-message: tec.config.Finetune")));
    const ProgramResult reproduce = testing::RunProgram(target + ".reproduce", "--dry_run");
    EXPECT_EQ(reproduce.exit_code, 0);
    EXPECT_THAT(reproduce.output, HasSubstr(absl::StrCat(" --config=", row, " ")));
  }
}

// As `bazel run` tells where the user stands.
TEST(RowTargets, TakeFlagsAndPathsFromWhereTheUserStands) {
  ASSERT_EQ(setenv("BUILD_WORKING_DIRECTORY", "/where/I/stand", 1), 0);
  const std::string target = "tec/experiments/vit_b_mae_300ep";
  EXPECT_THAT(testing::RunProgram(target + ".pretrain", "--print_config --base_model=base.pth --epochs=7").output,
              AllOf(HasSubstr("path: \"/where/I/stand/base.pth\""), HasSubstr("epochs: 7\n")));
  EXPECT_THAT(testing::RunProgram(target + ".finetune", "--print_config --finetune=./a.pth").output,
              HasSubstr("finetune: \"/where/I/stand/a.pth\""));
  EXPECT_THAT(testing::RunProgram(target + ".reproduce", "--dry_run --data_path=pictures").output,
              HasSubstr("--data_path=/where/I/stand/pictures"));
  ASSERT_EQ(unsetenv("BUILD_WORKING_DIRECTORY"), 0);
}

}  // namespace
}  // namespace tec
