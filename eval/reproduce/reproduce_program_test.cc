// The program's command line: what it prints without running anything, and what it says to bad input.

#include <iterator>
#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "eval/reproduce/plan.h"
#include "eval/reproduce/report.h"
#include "eval/testing/program.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tec/base/exit_code.h"
#include "tec/base/file.h"
#include "tec/base/path.h"
#include "tec/config/config.h"
#include "tec/config/finetune.h"
#include "tec/config/rows.h"

namespace tec {
namespace {

using ::testing::HasSubstr;
using ::testing::IsSupersetOf;
using ::testing::Not;
using testing::ProgramResult;

ProgramResult Reproduce(const std::string& arguments) {
  return testing::RunProgram("eval/reproduce/reproduce", arguments);
}

// The flags of the command in `text` that starts the program, "--name=value" and "--switch" alike.
std::vector<std::string> FlagsOf(const std::string& text, const std::string& program) {
  const std::string start = absl::StrCat("  bazel-bin/", program, " ");
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    if (absl::StartsWith(line, start)) return absl::StrSplit(line.substr(start.size()), ' ', absl::SkipEmpty());
  }
  ADD_FAILURE() << "no command starts " << program << " in\n" << text;
  return {};
}

// recipe.md section 8, in the reference's spelling: its two tables, with what is common to their rows.
struct TableRow {
  const char* name;
  const char *basemodel, *model, *epochs, *topkatt, *att_tau;
  const char *finetune_model, *batch_size, *accum_iter, *finetune_epochs, *blr, *lr, *layer_decay, *warmup_epochs,
      *min_lr, *checkpoint;
};
constexpr TableRow kTable[] = {
    {"vit_b_mae300ep_100ep", "mae1k300ep", "mae_vit_base_patch16", "100", "15", "1.8", "vit_base_patch16", "128", "1",
     "100", "5e-4", "2e-3", "0.65", "5", "1e-6", "checkpoint-99"},
    {"vit_b_mae_300ep", "mae1kbase", "mae_vit_base_patch16", "300", "15", "1.8", "vit_base_patch16", "128", "1", "100",
     "5e-4", "2e-3", "0.65", "20", "1e-6", "checkpoint-299"},
    {"vit_b_mae_800ep", "mae1kbase", "mae_vit_base_patch16", "800", "15", "1.8", "vit_base_patch16", "128", "1", "100",
     "5e-4", "2e-3", "0.55", "20", "1e-6", "checkpoint-799"},
    {"vit_b_ibot_300ep", "ibot1kbase", "mae_vit_base_patch16", "300", "9", "1", "vit_base_patch16", "128", "1", "100",
     "5e-4", "2e-3", "0.5", "5", "1e-6", "checkpoint-299"},
    {"vit_b_ibot_800ep", "ibot1kbase", "mae_vit_base_patch16", "800", "9", "1", "vit_base_patch16", "128", "1", "100",
     "5e-4", "2e-3", "0.55", "20", "1e-6", "checkpoint-799"},
    {"vit_l_mae_300ep", "mae1klarge", "mae_vit_large_patch16", "300", "15", "1.4", "vit_large_patch16", "64", "2", "50",
     "1e-3", "4e-3", "0.65", "5", "1e-5", "checkpoint-299"},
};

TEST(ReproduceProgram, DryRunsPrintTheReferencesSettings) {
  EXPECT_EQ(RowNames().size(), std::size(kTable));
  for (const TableRow& row : kTable) {
    SCOPED_TRACE(row.name);
    const ProgramResult result = Reproduce(absl::StrCat("--dry_run --output_dir=/out --row=", row.name));
    ASSERT_EQ(result.exit_code, kExitDone) << result.output;
    EXPECT_THAT(FlagsOf(result.output, "tec/pretrain"),
                IsSupersetOf(std::vector<std::string>{
                    absl::StrCat("--basemodel=", row.basemodel), absl::StrCat("--model=", row.model),
                    absl::StrCat("--epochs=", row.epochs), absl::StrCat("--topkatt=", row.topkatt),
                    absl::StrCat("--att_tau=", row.att_tau), "--mlp_token", "--pred_att", "--last_layers=2",
                    "--batch_size=256", "--accum_iter=2", "--mask_ratio=0.75", "--warmup_epochs=40", "--blr=1.5e-4",
                    "--weight_decay=0.05", "--min_lr=0", "--seed=5"}));
    EXPECT_THAT(result.output, HasSubstr("  lr 2.4e-3 = blr 1.5e-4 x 4096 images an update / 256\n"));
    EXPECT_THAT(FlagsOf(result.output, "eval/finetune/finetune"),
                IsSupersetOf(std::vector<std::string>{
                    absl::StrCat("--model=", row.finetune_model), absl::StrCat("--batch_size=", row.batch_size),
                    absl::StrCat("--accum_iter=", row.accum_iter), absl::StrCat("--epochs=", row.finetune_epochs),
                    absl::StrCat("--blr=", row.blr), absl::StrCat("--layer_decay=", row.layer_decay),
                    absl::StrCat("--warmup_epochs=", row.warmup_epochs), absl::StrCat("--min_lr=", row.min_lr),
                    absl::StrCat("--finetune=/out/pretrain/", row.checkpoint, ".pth"), "--mlp_token",
                    "--weight_decay=0.05", "--drop_path=0.1", "--mixup=0.8", "--cutmix=1", "--reprob=0.25",
                    "--dist_eval", "--smoothing=0.1", "--aa=rand-m9-mstd0.5-inc1", "--seed=5"}));
    EXPECT_THAT(result.output,
                HasSubstr(absl::StrCat("  lr ", row.lr, " = blr ", row.blr, " x 1024 images an update / 256\n")));
  }
}

// What a dry run prints makes the very settings that a run starts its programs with.
void ExpectSpelledOutSettings(const ReproducePlan& plan) {
  for (const Stage& stage : plan.stages) {
    if (stage.config_text.empty()) continue;
    SCOPED_TRACE(stage.name);
    const ProgramResult printed = testing::RunProgram(
        PathOf(stage.program), absl::StrCat(absl::StrJoin(stage.spelled_out, " "), " --print_config"));
    ASSERT_EQ(printed.exit_code, kExitDone) << printed.output;
    if (stage.program == Program::kPretrain) {
      config::Experiment expected = Resolve(*ParseExperiment(stage.config_text, stage.name));
      // Programs keep paths as absolute ones.
      expected.mutable_data()->set_path(AbsoluteUserPath(expected.data().path()));
      expected.mutable_base_model()->set_path(AbsoluteUserPath(expected.base_model().path()));
      EXPECT_EQ(printed.output, ToText(expected));
    } else {
      config::Finetune expected = Resolve(*ParseFinetune(stage.config_text, stage.name));
      expected.mutable_data()->set_path(AbsoluteUserPath(expected.data().path()));
      EXPECT_EQ(printed.output, ToText(expected));
    }
  }
}

TEST(ReproduceProgram, PrintedCommandsMakeTheSettingsThatRun) {
  ReproduceOptions options;
  options.dry_run = true;
  options.output_dir = "/out";
  options.seeds = {3};
  options.threads = 2;
  for (const std::string& row : RowNames()) {
    SCOPED_TRACE(row);
    options.row = row;
    ExpectSpelledOutSettings(*MakePlan(options, kImageNet));
  }
  options.scale = Scale::kMini;
  ExpectSpelledOutSettings(*MakePlan(options, {1000, 100}));
}

TEST(ReproduceProgram, DryRunPrintsCommandsAndCosts) {
  const std::string folder = testing::FreshFolder("dry");
  const ProgramResult result = Reproduce(absl::StrCat(
      "--row=vit_l_mae_300ep --data_path=/imagenet --base_model=/large.pth --nproc=8 --tflops=300 --dry_run "
      "--output_dir=",
      folder, "/out"));
  EXPECT_EQ(result.exit_code, kExitDone) << result.output;
  EXPECT_THAT(result.output, HasSubstr("bazel-bin/tec/pretrain --config=vit_l_mae_300ep "));
  EXPECT_THAT(result.output, HasSubstr("(x 8 processes)"));
  EXPECT_THAT(result.output, HasSubstr("1.06e+20 FLOP"));  // 1,281,167 x 300 x 275.9 GFLOP.
  EXPECT_THAT(result.output, HasSubstr(" h at 300 TFLOP/s a process (as given"));
  EXPECT_THAT(result.output, Not(HasSubstr("is needed")));
  EXPECT_FALSE(ReadFile(folder + "/out/reproduce.json").ok());  // Nothing was begun.

  const ProgramResult bare = Reproduce("--row=vit_l_mae_300ep --dry_run");
  EXPECT_EQ(bare.exit_code, kExitDone) << bare.output;
  EXPECT_THAT(bare.output, HasSubstr("--base_model is needed: mae_pretrain_vit_large.pth (project facebookresearch"));
  EXPECT_THAT(bare.output, HasSubstr(" h at 400 TFLOP/s a process (assumed"));
  const ProgramResult mini = Reproduce("--scale=mini --dry_run");
  EXPECT_EQ(mini.exit_code, kExitDone) << mini.output;
  EXPECT_THAT(mini.output, HasSubstr("--data_path is needed: small pictures, for instance CIFAR-10"));
  EXPECT_THAT(mini.output, HasSubstr(" h at 0.153 TFLOP/s a process (measured"));
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

// All stages done before, with results of our own.
TEST(ReproduceProgram, AVerdictIsToldFromAFailureByTheExitCode) {
  const std::string folder = testing::FreshFolder("verdict");
  for (const std::string path : {"/data/train/ant/1.png", "/data/val/ant/1.png", "/base.pth"}) {
    ASSERT_TRUE(MakeDirectories(folder + path.substr(0, path.rfind('/'))).ok());
    ASSERT_TRUE(WriteFile(folder + path, "x").ok());
  }
  ReproduceOptions options;
  options.row = "vit_b_mae_300ep";
  options.data_path = folder + "/data";
  options.base_model = folder + "/base.pth";
  options.output_dir = folder + "/out";
  const absl::StatusOr<ReproducePlan> plan = MakePlan(options, kImageNet);
  ASSERT_TRUE(plan.ok()) << plan.status();
  for (const Stage& stage : plan->stages) {
    ASSERT_TRUE(MakeDirectories(stage.done_file.substr(0, stage.done_file.rfind('/'))).ok());
    const bool knn = absl::EndsWith(stage.done_file, "/results.json");
    ASSERT_TRUE(WriteFile(stage.done_file, knn ? "{\"results\": [{\"k\": 20, \"top1\": 50.0}]}" : "x").ok());
  }
  const std::string log = absl::StrCat(options.output_dir, "/", plan->stages.back().name, "/log.txt");
  for (const auto& [line, exit_code, answer] : std::vector<std::tuple<std::string, int, std::string>>{
           {"{\"epoch\": 0, \"test_acc1\": 99.0}\n", kExitDone, "Above the published result"},
           {"{\"epoch\": 0, \"test_acc1\": 12.5}\n", kExitNotReproduced, "Not reproduced: 12.50 %"},
           {"{\"epoch\": 0}\n", kExitBadInput, "has no test_acc1"}}) {
    ASSERT_TRUE(WriteFile(log, line).ok());
    const ProgramResult result =
        Reproduce(absl::StrCat("--row=vit_b_mae_300ep --data_path=", options.data_path,
                               " --base_model=", options.base_model, " --output_dir=", options.output_dir));
    EXPECT_EQ(result.exit_code, exit_code) << result.output;
    EXPECT_THAT(result.output, HasSubstr(answer));
  }
}

TEST(ReproduceProgram, AnswersBadUseWithOneLine) {
  for (const auto& [arguments, answer] : std::vector<std::pair<std::string, std::string>>{
           {"--row=vit_b_mae_30ep --data_path=/x", "did you mean \"vit_b_mae_300ep\"?"},
           {"--scale=tiny", "--scale=tiny: it must be paper or mini"},
           {"--scale=mini", "--data_path is needed: small pictures"},
           {"--scale=mini --data_path=/no/such", "--data_path=/no/such is not there"},
           {"--scale=mini --data_path=/x --seeds=1,a", "\"a\" is not a whole number"},
           {"--scale=mini --data_path=/x --seeds=1,1", "1 is there twice"},
           {"--dry_run --tflops=-1", "--tflops=-1: it must be at least 0"},
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
