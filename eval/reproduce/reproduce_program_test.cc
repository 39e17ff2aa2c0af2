// The program's command line: what it prints without running anything, and what it says to bad input. The whole small
// chain takes minutes and is run by .ci/run.

#include <string>

#include "absl/strings/str_cat.h"
#include "eval/testing/program.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tec/base/exit_code.h"
#include "tec/base/file.h"

namespace tec {
namespace {

using ::testing::HasSubstr;
using testing::ProgramResult;

ProgramResult Reproduce(const std::string& arguments) {
  return testing::RunProgram("eval/reproduce/reproduce", arguments);
}

TEST(ReproduceProgram, DryRunPrintsCommandsAndCosts) {
  const std::string folder = testing::FreshFolder("dry");
  const ProgramResult result = Reproduce(absl::StrCat(
      "--row=vit_l_mae_300ep --data_path=/imagenet --base_model=/large.pth --nproc=8 --tflops=400 --dry_run "
      "--output_dir=",
      folder, "/out"));
  EXPECT_EQ(result.exit_code, kExitDone) << result.output;
  EXPECT_THAT(result.output, HasSubstr("bazel-bin/tec/train/pretrain --config="));
  EXPECT_THAT(result.output, HasSubstr("(x 8 processes)"));
  EXPECT_THAT(result.output, HasSubstr("1.06e+20 FLOP"));  // 1,281,167 x 300 x 275.9 GFLOP.
  EXPECT_THAT(result.output, HasSubstr(" h at 400 TFLOP/s a process"));
  EXPECT_FALSE(ReadFile(folder + "/out/reproduce.json").ok());  // Nothing was begun.
}

TEST(ReproduceProgram, SaysWhichFileIsMissingAndWhereItIsPublished) {
  const ProgramResult none = Reproduce("--row=vit_b_mae_300ep --data_path=/imagenet");
  EXPECT_EQ(none.exit_code, kExitBadInput);
  EXPECT_THAT(none.output,
              HasSubstr("--base_model is needed: mae_pretrain_vit_base.pth (project facebookresearch/mae"));
  const ProgramResult missing = Reproduce("--row=vit_b_mae_300ep --data_path=/imagenet --base_model=/no/such.pth");
  EXPECT_EQ(missing.exit_code, kExitBadInput);
  EXPECT_THAT(missing.output, HasSubstr("--base_model=/no/such.pth is not there; it is mae_pretrain_vit_base.pth"));
}

TEST(ReproduceProgram, AnswersBadUseWithOneLine) {
  for (const auto& [arguments, answer] : std::vector<std::pair<std::string, std::string>>{
           {"--row=vit_b_mae_30ep --data_path=/x", "did you mean \"vit_b_mae_300ep\"?"},
           {"--scale=tiny", "--scale=tiny: it must be paper or mini"},
           {"--scale=mini", "--data_path is needed: small pictures"},
           {"--scale=mini --data_path=/no/such", "--data_path=/no/such is not there"},
           {"--scale=mini --data_path=/x --seeds=1,a", "\"a\" is not a whole number"},
           {"--scale=mini --data_path=/x --seeds=1,1", "1 is there twice"},
           {"--scale=mini --data_path=/x --nproc=2", "the small scale runs in one process"},
       }) {
    const ProgramResult result = Reproduce(arguments);
    EXPECT_EQ(result.exit_code, kExitBadInput) << arguments;
    EXPECT_THAT(result.output, HasSubstr(answer)) << arguments;
  }
}

TEST(ReproduceProgram, HelpNamesTheRows) {
  const ProgramResult result = Reproduce("--help");
  EXPECT_EQ(result.exit_code, kExitDone);
  EXPECT_THAT(result.output, HasSubstr("Rows: vit_b_ibot_300ep, "));
}

}  // namespace
}  // namespace tec
