#include "eval/reproduce/plan.h"

#include <set>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tec/base/file.h"
#include "tec/checkpoint/families/vit_builder.h"
#include "tec/checkpoint/safetensors.h"
#include "tec/config/config.h"
#include "tec/config/finetune.h"
#include "tec/config/rows.h"

namespace tec {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

ReproduceOptions Paper(const std::string& row) {
  ReproduceOptions options;
  options.row = row;
  options.data_path = "/imagenet";
  options.base_model = "/base.pth";
  options.output_dir = "/out";
  return options;
}

ReproduceOptions Mini() {
  ReproduceOptions options;
  options.scale = Scale::kMini;
  options.data_path = "/cifar";
  options.output_dir = "/out";
  options.device = "cpu";
  options.seeds = {0, 7};
  return options;
}

std::vector<std::string> Names(const ReproducePlan& plan) {
  std::vector<std::string> names;
  for (const Stage& stage : plan.stages) names.push_back(stage.name);
  return names;
}

const Stage& Find(const ReproducePlan& plan, const std::string& name) {
  for (const Stage& stage : plan.stages) {
    if (stage.name == name) return stage;
  }
  ADD_FAILURE() << "no stage " << name;
  return plan.stages[0];
}

// What the stage's settings say once its program has read them.
config::Experiment ExperimentOf(const Stage& stage) {
  const absl::StatusOr<config::Experiment> experiment = ParseExperiment(stage.config_text, stage.config_path);
  EXPECT_TRUE(experiment.ok()) << experiment.status();
  EXPECT_TRUE(Validate(Resolve(*experiment)).ok()) << Validate(Resolve(*experiment));
  return Resolve(*experiment);
}
config::Finetune FinetuneOf(const Stage& stage) {
  const absl::StatusOr<config::Finetune> finetune = ParseFinetune(stage.config_text, stage.config_path);
  EXPECT_TRUE(finetune.ok()) << finetune.status();
  return Resolve(*finetune);
}

TEST(PaperPlan, RunsTheRowFromBaseModelToAccuracy) {
  const absl::StatusOr<ReproducePlan> plan = MakePlan(Paper("vit_b_mae_300ep"), kImageNet);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_THAT(Names(*plan), ElementsAre("pretrain", "encoder", "knn", "finetune"));
  const config::Experiment pretrain = ExperimentOf(plan->stages[0]);
  EXPECT_EQ(pretrain.base_model().path(), "/base.pth");
  EXPECT_EQ(pretrain.data().path(), "/imagenet");
  EXPECT_EQ(pretrain.seed(), 5);
  EXPECT_EQ(plan->stages[0].done_file, "/out/pretrain/checkpoint-299.pth");
  EXPECT_THAT(plan->stages[1].arguments, Contains("--resume=/out/pretrain/checkpoint-299.pth"));
  EXPECT_EQ(FinetuneOf(plan->stages[3]).finetune(), "/out/pretrain/checkpoint-299.pth");
  EXPECT_EQ(plan->stages[3].done_file, "/out/finetune/checkpoint-99.pth");
}

// The row's settings reach the programs as they are, but for paths, machine and accumulation.
TEST(PaperPlan, ChangesNothingOfTheRow) {
  for (const std::string& row : RowNames()) {
    SCOPED_TRACE(row);
    ReproduceOptions options = Paper(row);
    options.ranks = 8;
    const absl::StatusOr<ReproducePlan> plan = MakePlan(options, kImageNet);
    ASSERT_TRUE(plan.ok()) << plan.status();
    config::Experiment pretrain = ExperimentOf(Find(*plan, "pretrain")), published = Resolve(*LoadExperiment(row));
    for (config::Experiment* experiment : {&pretrain, &published}) {
      experiment->mutable_data()->clear_path();
      experiment->mutable_base_model()->clear_path();
      experiment->clear_logging();
    }
    EXPECT_EQ(pretrain.DebugString(), published.DebugString());
    config::Finetune finetune = FinetuneOf(Find(*plan, "finetune")), published_finetune = Resolve(*LoadFinetune(row));
    for (config::Finetune* settings : {&finetune, &published_finetune}) {
      settings->mutable_data()->clear_path();
      settings->clear_finetune();
      settings->clear_logging();
    }
    EXPECT_EQ(finetune.DebugString(), published_finetune.DebugString());
  }
}

TEST(PaperPlan, KeepsTheBatchOfAnUpdate) {
  for (const int ranks : {1, 2, 4, 8}) {
    ReproduceOptions options = Paper("vit_l_mae_300ep");
    options.ranks = ranks;
    const absl::StatusOr<ReproducePlan> plan = MakePlan(options, kImageNet);
    ASSERT_TRUE(plan.ok()) << plan.status();
    const config::Optimizer pretrain = ExperimentOf(Find(*plan, "pretrain")).optimizer();
    const config::Optimizer finetune = FinetuneOf(Find(*plan, "finetune")).optimizer();
    EXPECT_EQ(pretrain.batch_size() * pretrain.accum_iter() * ranks, 4096);
    EXPECT_EQ(finetune.batch_size() * finetune.accum_iter() * ranks, 1024);
  }
  ReproduceOptions options = Paper("vit_l_mae_300ep");
  options.ranks = 3;
  EXPECT_THAT(std::string(MakePlan(options, {1, 1}).status().message()), HasSubstr("among 3 processes"));
}

TEST(PaperPlan, NamesTheBaseModelThatIsMissing) {
  ReproduceOptions options = Paper("vit_b_ibot_800ep");
  options.base_model = "";
  const absl::Status status = MakePlan(options, {1, 1}).status();
  EXPECT_THAT(std::string(status.message()), HasSubstr("checkpoint_teacher.pth (project bytedance/ibot"));
}

TEST(PaperPlan, CountsFlopsOfPretrainingAndFinetuning) {
  const absl::StatusOr<ReproducePlan> plan = MakePlan(Paper("vit_b_mae_300ep"), kImageNet);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_NEAR(Find(*plan, "pretrain").flops, 3.26e19, 0.01e19);
  EXPECT_NEAR(Find(*plan, "finetune").flops, 1.35e19, 0.01e19);
  // One checkpoint an epoch and numbered ones 0, 50, ..., 250 and 299: 307 of 1.42 GB.
  EXPECT_NEAR(Find(*plan, "pretrain").written_bytes, 307 * 1.42e9, 0.01 * 307 * 1.42e9);
  // 100 epochs x 50,000 images x 35.13 GFLOP; kNN once 1,331,167 images and their comparisons.
  EXPECT_EQ(Find(*plan, "pretrain").evaluation_flops, 0);
  EXPECT_NEAR(Find(*plan, "finetune").evaluation_flops, 1.757e17, 0.001e17);
  EXPECT_NEAR(Find(*plan, "knn").evaluation_flops, 4.676e16 + 9.84e13, 0.01e16);
  // 86.57 M trained numbers and their moments, 91.1 M with the input adaptor: 100 + 100 best ones + 0, 40, 80 and 99.
  EXPECT_NEAR(Find(*plan, "finetune").written_bytes, 204 * 91138792.0 * 12, 1);
}

// By hand, on eight processes at 400 TFLOP/s: pretraining 3.256e19, finetuning 1.348e19 + 1.76e17, kNN on one 4.69e16.
TEST(PaperPlan, HoursAreOfTrainingAndEvaluation) {
  ReproduceOptions options = Paper("vit_b_mae_300ep");
  options.ranks = 8;
  const std::string text = DescribePlan(*MakePlan(options, kImageNet), DefaultThroughput(Scale::kPaper));
  EXPECT_THAT(text, HasSubstr("GB of checkpoints written, 2.83 h\n"));
  EXPECT_THAT(text, HasSubstr("4.69e+16 FLOP of evaluation, 0.0325 h\n"));
  EXPECT_THAT(text, HasSubstr("GB of checkpoints written, 1.18 h\n"));
  EXPECT_THAT(text, HasSubstr(", 4.04 h at 400 TFLOP/s a process (assumed: 40 % of an H100's peak"));
  EXPECT_THAT(DescribePlan(*MakePlan(options, kImageNet), {800e12, "as given"}),
              HasSubstr(", 2.02 h at 800 TFLOP/s a process (as given"));
}

TEST(PaperPlan, ADryRunTellsWhatIsMissing) {
  ReproduceOptions options = Paper("vit_b_ibot_800ep");
  options.base_model = options.data_path = "";
  EXPECT_FALSE(MakePlan(options, kImageNet).ok());
  options.dry_run = true;
  const absl::StatusOr<ReproducePlan> plan = MakePlan(options, kImageNet);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_THAT(plan->missing,
              ElementsAre(HasSubstr("--data_path is needed: ImageNet-1k (ILSVRC2012, image-net.org)"),
                          HasSubstr("--base_model is needed: checkpoint_teacher.pth (project bytedance/ibot")));
  EXPECT_THAT(Find(*plan, "pretrain").spelled_out, Contains("--base_model=checkpoint_teacher.pth"));
  EXPECT_THAT(Find(*plan, "pretrain").spelled_out, Contains("--data_path=DATA_PATH"));
}

TEST(MiniPlan, ComparesFourStartsForEverySeed) {
  const absl::StatusOr<ReproducePlan> plan = MakePlan(Mini(), {50000, 10000});
  ASSERT_TRUE(plan.ok()) << plan.status();
  const std::vector<std::string> names = Names(*plan);
  EXPECT_EQ(names.size(), 20u);
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), names.size());
  for (const char* stage : {"seed-7/base", "seed-7/tec", "seed-7/tec_no_relation", "seed-7/knn_base", "seed-7/knn_tec",
                            "seed-7/finetune_scratch", "seed-7/finetune_base", "seed-7/finetune_tec_no_relation"}) {
    EXPECT_THAT(names, Contains(stage));
  }
  EXPECT_EQ(ExperimentOf(Find(*plan, "seed-7/tec")).seed(), 7);
  EXPECT_EQ(Find(*plan, "seed-0/base").images, 10000.0 * ExperimentOf(Find(*plan, "seed-0/base")).schedule().epochs());
}

TEST(MiniPlan, EachStageStartsFromTheOneItJudges) {
  const absl::StatusOr<ReproducePlan> plan = MakePlan(Mini(), {50000, 10000});
  ASSERT_TRUE(plan.ok()) << plan.status();
  const std::string base = Find(*plan, "seed-0/base").done_file, tec = Find(*plan, "seed-0/tec").done_file;
  const std::string no_relation = Find(*plan, "seed-0/tec_no_relation").done_file;
  EXPECT_EQ(ExperimentOf(Find(*plan, "seed-0/tec")).base_model().path(), base);
  EXPECT_EQ(ExperimentOf(Find(*plan, "seed-0/tec_no_relation")).base_model().path(), base);
  EXPECT_TRUE(ExperimentOf(Find(*plan, "seed-0/tec")).model().pred_att());
  EXPECT_FALSE(ExperimentOf(Find(*plan, "seed-0/tec_no_relation")).model().pred_att());
  EXPECT_EQ(FinetuneOf(Find(*plan, "seed-0/finetune_scratch")).finetune(), "");
  EXPECT_EQ(FinetuneOf(Find(*plan, "seed-0/finetune_base")).finetune(), base);
  EXPECT_FALSE(FinetuneOf(Find(*plan, "seed-0/finetune_base")).mlp_token());
  EXPECT_EQ(FinetuneOf(Find(*plan, "seed-0/finetune_tec")).finetune(), tec);
  EXPECT_TRUE(FinetuneOf(Find(*plan, "seed-0/finetune_tec")).mlp_token());
  EXPECT_EQ(FinetuneOf(Find(*plan, "seed-0/finetune_tec_no_relation")).finetune(), no_relation);
  EXPECT_THAT(Find(*plan, "seed-0/knn_tec").arguments, Contains("--checkpoint=" + tec));
}

TEST(ChainPlan, EachModelIsTrainedAgainstTheOneBefore) {
  ReproduceOptions options = Mini();
  options.seeds = {3};
  options.stages = 3;
  options.finetune = true;
  const absl::StatusOr<ReproducePlan> plan = MakePlan(options, {50000, 10000});
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->stages.size(), 12u);
  EXPECT_EQ(ExperimentOf(Find(*plan, "seed-3/stage-0")).method(), config::MAE);
  for (int link = 1; link < 3; ++link) {
    const std::string name = "seed-3/stage-" + std::to_string(link);
    EXPECT_EQ(ExperimentOf(Find(*plan, name)).base_model().path(),
              Find(*plan, "seed-3/stage-" + std::to_string(link - 1)).done_file);
    EXPECT_EQ(Find(*plan, name).link, link);
    EXPECT_THAT(Find(*plan, "seed-3/linear_stage-" + std::to_string(link)).arguments,
                Contains("--checkpoint=" + Find(*plan, name).done_file));
  }
  options.scale = Scale::kPaper;
  options.base_model = "/base.pth";
  options.seeds = {};
  EXPECT_THAT(std::string(MakePlan(options, {1, 1}).status().message()), HasSubstr("--stages=3: it must be"));
}

// Of another width, depth and patch size than the models of the small scale.
TEST(ChainPlan, BeginsWithAGivenBaseModel) {
  const std::string folder = ::testing::TempDir() + "/given", file = folder + "/model.safetensors";
  ASSERT_TRUE(MakeDirectories(folder).ok());
  ASSERT_TRUE(WriteSafetensors(file, Plain().tensors()).ok());
  ASSERT_TRUE(
      WriteFile(folder + "/config.json", R"({"architecture": "vit_base_patch16_224", "model_args": {"num_heads": 2}})")
          .ok());
  ReproduceOptions options = Mini();
  options.seeds = {3};
  options.stages = 3;
  options.base_model = file;
  const absl::StatusOr<ReproducePlan> plan = MakePlan(options, {50000, 10000});
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->stages.size(), 8u);  // The first model is judged alone; two are trained and judged.
  EXPECT_THAT(Find(*plan, "seed-3/knn_stage-0").arguments, Contains("--checkpoint=" + file));
  EXPECT_THAT(Find(*plan, "seed-3/linear_stage-0").arguments, Contains("--checkpoint=" + file));
  const config::Experiment first = ExperimentOf(Find(*plan, "seed-3/stage-1"));
  EXPECT_EQ(first.base_model().path(), file);
  EXPECT_EQ(first.base_model().encoder().width(), kWidth);
  EXPECT_EQ(first.base_model().encoder().depth(), kDepth);
  EXPECT_EQ(first.base_model().encoder().image_size(), 8 * kPatch);
  const absl::Status valid = Validate(Resolve(first), Paths::kOptional);
  EXPECT_TRUE(valid.ok()) << valid;
  const config::Experiment second = ExperimentOf(Find(*plan, "seed-3/stage-2"));
  EXPECT_EQ(second.base_model().path(), Find(*plan, "seed-3/stage-1").done_file);
  EXPECT_EQ(second.base_model().encoder().width(), first.model().encoder().width());
  const auto error = [&options](auto change) {
    ReproduceOptions changed = options;
    change(&changed);
    return std::string(MakePlan(changed, {50000, 10000}).status().message());
  };
  EXPECT_THAT(error([](ReproduceOptions* o) { o->stages = 1; }), HasSubstr("nothing is to be trained against"));
  EXPECT_THAT(error([](ReproduceOptions* o) { o->stages = 0; }), HasSubstr("with --stages it begins a chain"));
  EXPECT_THAT(error([](ReproduceOptions* o) { o->base_model = "/nowhere.pth"; }), HasSubstr("/nowhere.pth"));
}

}  // namespace
}  // namespace tec
