#include "tec/config/config.h"

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "google/protobuf/util/message_differencer.h"
#include "gtest/gtest.h"
#include "tec/base/file.h"
#include "tec/config/text.h"

namespace tec {
namespace {

using google::protobuf::util::MessageDifferencer;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using ::testing::UnorderedElementsAre;

constexpr Machine kOldMachine{/*cpu_bfloat16=*/false, /*gpu_bfloat16=*/false};
constexpr Machine kNewMachine{/*cpu_bfloat16=*/true, /*gpu_bfloat16=*/true};

config::Experiment Parsed(const std::string& text) {
  absl::StatusOr<config::Experiment> experiment = ParseExperiment(text, "test");
  EXPECT_TRUE(experiment.ok()) << experiment.status();
  return experiment.ok() ? *experiment : config::Experiment();
}

// An experiment without problems.
config::Experiment Sound() {
  return Parsed("model { name: 'mae_vit_base_patch16' } base_model { path: '/base.pth' } data { path: '/pictures' }");
}

// Paths of unset fields, anywhere.
void Unset(const google::protobuf::Message& message, const std::string& prefix, std::vector<std::string>* unset) {
  const google::protobuf::Descriptor* descriptor = message.GetDescriptor();
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const google::protobuf::FieldDescriptor* field = descriptor->field(i);
    const bool set = field->is_repeated() ? message.GetReflection()->FieldSize(message, field) > 0
                                          : message.GetReflection()->HasField(message, field);
    if (!set) unset->push_back(prefix + field->name());
    if (set && field->message_type() != nullptr) {
      Unset(message.GetReflection()->GetMessage(message, field), prefix + field->name() + ".", unset);
    }
  }
}

// recipe.md sections 6, 7 and 9, as numbers.
TEST(ReferenceExperiment, IsMainPretrain) {
  const config::Experiment e = ReferenceExperiment();
  EXPECT_EQ(e.method(), config::TEC);
  EXPECT_EQ(e.seed(), 5);
  EXPECT_EQ(e.model().name(), "mae_vit_large_patch16");
  EXPECT_EQ(e.model().encoder().image_size(), 224);
  EXPECT_FALSE(e.model().mlp_token());
  EXPECT_FALSE(e.model().pred_att());
  EXPECT_EQ(e.base_model().name(), "mae1kbase");
  EXPECT_EQ(e.base_model().last_layers(), 2);
  EXPECT_EQ(e.base_model().topkatt(), 15);
  EXPECT_EQ(e.masking().mask_ratio(), 0.75);
  EXPECT_EQ(e.losses().att_tau(), 1.8);
  EXPECT_EQ(e.losses().feature_weight(), 1);
  EXPECT_EQ(e.losses().relation_weight(), 1);
  EXPECT_FALSE(e.losses().norm_pix_loss());
  EXPECT_EQ(e.data().path(), "/datasets01/imagenet_full_size/061417/");
  EXPECT_EQ(e.data().crop_scale_min(), 0.2);
  EXPECT_EQ(e.data().crop_scale_max(), 1);
  EXPECT_EQ(e.data().crop_ratio_min(), 3.0 / 4);
  EXPECT_EQ(e.data().crop_ratio_max(), 4.0 / 3);
  EXPECT_EQ(e.data().flip_probability(), 0.5);
  EXPECT_THAT(e.data().mean(), ElementsAre(0.485, 0.456, 0.406));
  EXPECT_THAT(e.data().std(), ElementsAre(0.229, 0.224, 0.225));
  EXPECT_EQ(e.data().max_bad_fraction(), 0.001);
  EXPECT_EQ(e.data().num_workers(), 0);
  EXPECT_TRUE(e.data().pin_mem());
  EXPECT_EQ(e.optimizer().batch_size(), 64);
  EXPECT_EQ(e.optimizer().accum_iter(), 1);
  EXPECT_EQ(e.optimizer().lr(), 0);
  EXPECT_EQ(e.optimizer().blr(), 1e-3);
  EXPECT_EQ(e.optimizer().weight_decay(), 0.05);
  EXPECT_EQ(e.optimizer().beta1(), 0.9);
  EXPECT_EQ(e.optimizer().beta2(), 0.95);
  EXPECT_EQ(e.optimizer().epsilon(), 1e-8);
  EXPECT_EQ(e.optimizer().clip_grad(), 0);
  EXPECT_EQ(e.schedule().epochs(), 400);
  EXPECT_EQ(e.schedule().warmup_epochs(), 40);
  EXPECT_EQ(e.schedule().min_lr(), 0);
  EXPECT_EQ(e.schedule().start_epoch(), 0);
  EXPECT_EQ(e.checkpointing().resume(), "");
  EXPECT_EQ(e.checkpointing().save_period(), 50);
  EXPECT_EQ(e.checkpointing().save_every_minutes(), 0);
  EXPECT_EQ(e.logging().output_dir(), "./output_dir");
  EXPECT_EQ(e.logging().print_freq(), 20);
  EXPECT_EQ(e.runtime().device(), "cuda");
}

// recipe.md section 8.
TEST(Experiments, AreTheTableRows) {
  struct Row {
    const char *name, *basemodel, *model;
    int64_t epochs, topkatt;
    double att_tau;
  };
  const Row rows[] = {
      {"vit_b_mae300ep_100ep", "mae1k300ep", "mae_vit_base_patch16", 100, 15, 1.8},
      {"vit_b_mae_300ep", "mae1kbase", "mae_vit_base_patch16", 300, 15, 1.8},
      {"vit_b_mae_800ep", "mae1kbase", "mae_vit_base_patch16", 800, 15, 1.8},
      {"vit_b_ibot_300ep", "ibot1kbase", "mae_vit_base_patch16", 300, 9, 1.0},
      {"vit_b_ibot_800ep", "ibot1kbase", "mae_vit_base_patch16", 800, 9, 1.0},
      {"vit_l_mae_300ep", "mae1klarge", "mae_vit_large_patch16", 300, 15, 1.4},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    absl::StatusOr<config::Experiment> loaded = LoadExperiment(row.name);
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    // All else is the reference's default.
    config::Experiment expected = ReferenceExperiment();
    expected.set_name(row.name);
    expected.mutable_model()->set_name(row.model);
    expected.mutable_model()->set_mlp_token(true);
    expected.mutable_model()->set_pred_att(true);
    expected.mutable_base_model()->set_name(row.basemodel);
    expected.mutable_base_model()->set_topkatt(row.topkatt);
    expected.mutable_losses()->set_att_tau(row.att_tau);
    expected.mutable_optimizer()->set_batch_size(256);
    expected.mutable_optimizer()->set_accum_iter(2);
    expected.mutable_optimizer()->set_blr(1.5e-4);
    expected.mutable_schedule()->set_epochs(row.epochs);
    EXPECT_TRUE(MessageDifferencer::Equals(*loaded, expected)) << loaded->DebugString();
    EXPECT_DOUBLE_EQ(LearningRate(loaded->optimizer(), /*world_size=*/8), 2.4e-3);
    loaded->mutable_base_model()->set_path("/base.pth");
    EXPECT_TRUE(Validate(Resolve(*loaded)).ok()) << Validate(Resolve(*loaded));
  }
}

TEST(Experiments, AllAreSound) {
  EXPECT_THAT(ExperimentNames(),
              ElementsAre("mae_vit_b_1600ep", "vit_b_ibot_300ep", "vit_b_ibot_800ep", "vit_b_mae300ep_100ep",
                          "vit_b_mae_300ep", "vit_b_mae_800ep", "vit_l_mae_300ep"));
  for (const std::string& name : ExperimentNames()) {
    absl::StatusOr<config::Experiment> loaded = LoadExperiment(name);
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    EXPECT_EQ(loaded->name(), name);
    EXPECT_TRUE(Validate(Resolve(*loaded), Paths::kOptional).ok()) << name;
  }
  const config::Experiment mae = *LoadExperiment("mae_vit_b_1600ep");
  EXPECT_EQ(mae.method(), config::MAE);
  EXPECT_EQ(mae.schedule().epochs(), 1600);
  EXPECT_TRUE(mae.losses().norm_pix_loss());
  EXPECT_DOUBLE_EQ(LearningRate(mae.optimizer(), 8), 2.4e-3);
}

TEST(LoadExperiment, MistypedNameGetsTheNearestAndTheList) {
  const absl::Status status = LoadExperiment("vit_b_mae_300").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(
      std::string(status.message()),
      AllOf(StartsWith("no experiment and no file is named \"vit_b_mae_300\"; did you mean \"vit_b_mae_300ep\"?"),
            HasSubstr("vit_l_mae_300ep")));
  EXPECT_THAT(std::string(LoadExperiment("/nowhere/a.textproto").status().message()),
              HasSubstr("/nowhere/a.textproto"));
}

TEST(LoadExperiment, ReadsAFileAndTellsWhereItIsWrong) {
  const std::string path = ::testing::TempDir() + "/mine.textproto";
  ASSERT_TRUE(WriteFile(path, "seed: 11\ndata { mean: [0.5, 0.5, 0.5] }").ok());
  absl::StatusOr<config::Experiment> loaded = LoadExperiment(path);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->name(), "mine");
  EXPECT_EQ(loaded->seed(), 11);
  EXPECT_THAT(loaded->data().mean(), ElementsAre(0.5, 0.5, 0.5));
  EXPECT_EQ(loaded->schedule().epochs(), 400);

  ASSERT_TRUE(WriteFile(path, "seed: 11\nscheduel { }").ok());
  EXPECT_EQ(std::string(LoadExperiment(path).status().message()),
            path + ":2:1: Experiment has no field named \"scheduel\"; did you mean \"schedule\"?");
  EXPECT_EQ(LoadExperiment("quickstart").status().code(), absl::StatusCode::kInvalidArgument);
}

// recipe.md sections 3.2 and 15; tiny, small and huge as config.cc gives them.
TEST(Resolve, KnowsTheNamedSizes) {
  struct Size {
    const char* name;
    config::Method method;
    int64_t patch, width, depth, heads, decoder_width, decoder_depth, decoder_heads, groups;
  };
  const Size sizes[] = {
      {"mae_vit_tiny_patch16", config::TEC, 16, 192, 12, 3, 128, 2, 4, 4},
      {"mae_vit_small_patch16", config::TEC, 16, 384, 12, 6, 256, 2, 8, 4},
      {"mae_vit_base_patch16", config::TEC, 16, 768, 12, 12, 512, 2, 16, 4},
      {"mae_vit_large_patch16", config::TEC, 16, 1024, 24, 16, 768, 2, 16, 8},
      {"mae_vit_huge_patch14", config::TEC, 14, 1280, 32, 16, 1024, 2, 16, 8},
      {"mae_vit_tiny_patch16", config::MAE, 16, 192, 12, 3, 128, 8, 4, 4},
      {"mae_vit_small_patch16", config::MAE, 16, 384, 12, 6, 256, 8, 8, 4},
      {"mae_vit_base_patch16", config::MAE, 16, 768, 12, 12, 512, 8, 16, 4},
      {"mae_vit_large_patch16", config::MAE, 16, 1024, 24, 16, 512, 8, 16, 8},
      {"mae_vit_huge_patch14", config::MAE, 14, 1280, 32, 16, 512, 8, 16, 8},
  };
  for (const Size& size : sizes) {
    SCOPED_TRACE(size.name);
    config::Experiment e = Sound();
    e.set_method(size.method);
    e.mutable_model()->set_name(size.name);
    e = Resolve(e);
    EXPECT_EQ(e.model().encoder().image_size(), 224);
    EXPECT_EQ(e.model().encoder().patch_size(), size.patch);
    EXPECT_EQ(e.model().encoder().width(), size.width);
    EXPECT_EQ(e.model().encoder().depth(), size.depth);
    EXPECT_EQ(e.model().encoder().heads(), size.heads);
    EXPECT_EQ(e.model().decoder().width(), size.decoder_width);
    EXPECT_EQ(e.model().decoder().depth(), size.decoder_depth);
    EXPECT_EQ(e.model().decoder().heads(), size.decoder_heads);
    EXPECT_EQ(e.model().adaptor_groups(), size.groups);
    // Huge has 16 x 16 patches; no named base model has those.
    if (size.patch == 16 || size.method == config::MAE) {
      EXPECT_TRUE(Validate(e).ok()) << Validate(e);
    }
  }
}

TEST(Resolve, KnowsTheBaseModels) {
  for (const char* name : {"mae1kbase", "mae1k300ep", "ibot1kbase", "mae1klarge"}) {
    config::Experiment e = Sound();
    e.mutable_base_model()->set_name(name);
    e.mutable_model()->mutable_encoder()->set_image_size(160);
    e = Resolve(e);
    const bool large = std::string(name) == "mae1klarge";
    EXPECT_EQ(e.base_model().encoder().image_size(), 160) << name;
    EXPECT_EQ(e.base_model().encoder().patch_size(), 16) << name;
    EXPECT_EQ(e.base_model().encoder().width(), large ? 1024 : 768) << name;
    EXPECT_EQ(e.base_model().encoder().depth(), large ? 24 : 12) << name;
    EXPECT_EQ(e.base_model().encoder().heads(), large ? 16 : 12) << name;
    EXPECT_TRUE(Validate(e).ok()) << Validate(e);  // Width and heads may differ from the new model's.
  }
}

TEST(Resolve, WhatIsGivenOverridesTheName) {
  config::Experiment e = Sound();
  MergeOver(Parsed("model { encoder { depth: 8 } decoder { width: 96 } }"), &e);
  e.mutable_model()->set_name("mae_vit_base_patch16");
  e = Resolve(e);
  EXPECT_EQ(e.model().encoder().depth(), 8);
  EXPECT_EQ(e.model().encoder().width(), 768);
  EXPECT_EQ(e.model().decoder().width(), 96);
  EXPECT_EQ(e.model().adaptor_groups(), 2);  // 8 // 3
}

TEST(Resolve, GroupsDivideTheDepth) {
  for (const auto& [depth, groups] : std::vector<std::pair<int64_t, int64_t>>{
           {1, 1}, {2, 1}, {3, 1}, {4, 1}, {6, 2}, {7, 1}, {8, 2}, {10, 2}, {12, 4}, {24, 8}, {32, 8}}) {
    config::Experiment e = Sound();
    e.mutable_model()->mutable_encoder()->set_depth(depth);
    EXPECT_EQ(Resolve(e).model().adaptor_groups(), groups) << depth;
  }
}

TEST(Resolve, SetsEveryFieldAndStays) {
  for (const char* text :
       {"", "method: MAE model { name: 'mae_vit_tiny_patch16' }",
        "model { name: 'custom' encoder { patch_size: 8 width: 32 depth: 4 heads: 2 } decoder { width: "
        "16 depth: 1 heads: 2 } } base_model { name: 'custom' encoder { patch_size: 8 width: 64 depth: "
        "3 heads: 4 } } runtime { device: 'cpu' }"}) {
    const config::Experiment resolved = Resolve(Parsed(text), kOldMachine);
    std::vector<std::string> unset;
    Unset(resolved, "", &unset);
    // One base model unless more are named.
    EXPECT_THAT(unset, UnorderedElementsAre("model.mlp_ratio", "further_base_models", "further_models")) << text;
    // Also on a machine that would choose otherwise, and through a file.
    EXPECT_TRUE(MessageDifferencer::Equals(Resolve(resolved, kNewMachine), resolved));
    const std::string path = ::testing::TempDir() + "/experiment.textproto";
    ASSERT_TRUE(WriteFile(path, ToText(resolved)).ok());
    absl::StatusOr<config::Experiment> loaded = LoadExperiment(path);
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    if (resolved.name().empty()) loaded->set_name("");
    EXPECT_EQ(Resolve(*loaded, kNewMachine).SerializeAsString(), resolved.SerializeAsString());
  }
}

// int(width * mlp_ratio); what is four stays as it was before there was the setting.
TEST(Resolve, RatioOfMlps) {
  config::Experiment e = Sound();
  const std::string before = ToText(Resolve(e));
  e.mutable_model()->set_mlp_ratio(4);
  EXPECT_EQ(ToText(Resolve(e)), before);
  EXPECT_EQ(HiddenWidth(e.model(), 30), 120);
  EXPECT_EQ(HiddenWidth(config::Model(), 30), 120);
  e.mutable_model()->set_mlp_ratio(2.3);
  EXPECT_EQ(HiddenWidth(e.model(), 24), 55);  // 55.2
  EXPECT_EQ(Resolve(e).model().mlp_ratio(), 2.3);
  EXPECT_TRUE(Validate(Resolve(e)).ok()) << Validate(Resolve(e));
  // A further model has the first one's unless it has its own.
  e.add_further_models()->set_name("mae_vit_tiny_patch16");
  e.add_further_models()->set_name("mae_vit_small_patch16");
  e.mutable_further_models(1)->set_mlp_ratio(4);
  const config::Experiment resolved = Resolve(e);
  EXPECT_EQ(resolved.further_models(0).mlp_ratio(), 2.3);
  EXPECT_EQ(resolved.further_models(1).mlp_ratio(), 4);
  EXPECT_TRUE(MessageDifferencer::Equals(Resolve(resolved), resolved));
  for (const double wrong : {0.0, -2.0, 0.001, 65.0, std::nan("")}) {
    e = Sound();
    e.mutable_model()->set_mlp_ratio(wrong);
    EXPECT_THAT(std::string(Validate(Resolve(e)).message()), HasSubstr("model.mlp_ratio")) << wrong;
  }
  e.mutable_model()->set_mlp_ratio(0.02);
  e.mutable_model()->mutable_encoder()->set_width(48);
  EXPECT_THAT(std::string(Validate(Resolve(e)).message()), HasSubstr("channels nothing"));
}

TEST(Resolve, PrecisionIsWhatTheDeviceHas) {
  config::Experiment e = Sound();
  EXPECT_EQ(Resolve(e, kNewMachine).runtime().precision(), config::BFLOAT16);
  EXPECT_EQ(Resolve(e, kOldMachine).runtime().precision(), config::FLOAT32);
  e.mutable_runtime()->set_device("cpu");
  EXPECT_EQ(Resolve(e, {/*cpu_bfloat16=*/true, /*gpu_bfloat16=*/false}).runtime().precision(), config::BFLOAT16);
  EXPECT_EQ(Resolve(e, {/*cpu_bfloat16=*/false, /*gpu_bfloat16=*/true}).runtime().precision(), config::FLOAT32);
  e.mutable_runtime()->set_precision(config::FLOAT32);
  EXPECT_EQ(Resolve(e, kNewMachine).runtime().precision(), config::FLOAT32);
}

TEST(LearningRate, IsAbsoluteOrPer256Pictures) {
  config::Optimizer optimizer = ReferenceExperiment().optimizer();
  EXPECT_DOUBLE_EQ(LearningRate(optimizer, 1), 1e-3 * 64 / 256);
  optimizer.set_lr(0.25);
  EXPECT_EQ(LearningRate(optimizer, 8), 0.25);
}

TEST(Quickstart, IsSoundAndComplete) {
  ASSERT_TRUE(IsQuickstart("quickstart").ok());
  EXPECT_TRUE(*IsQuickstart("quickstart"));
  EXPECT_FALSE(*IsQuickstart("vit_b_mae_300ep"));
  absl::StatusOr<config::Quickstart> loaded = LoadQuickstart("quickstart");
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  loaded->set_output_dir("/out");
  const config::Quickstart resolved = Resolve(*loaded, kOldMachine);
  EXPECT_TRUE(Validate(resolved).ok()) << Validate(resolved);
  std::vector<std::string> unset;
  Unset(resolved, "", &unset);
  EXPECT_THAT(unset, UnorderedElementsAre("mae.model.mlp_ratio", "mae.further_base_models", "mae.further_models",
                                          "tec.model.mlp_ratio", "tec.further_base_models", "tec.further_models"));
  EXPECT_EQ(resolved.mae().logging().output_dir(), "/out/mae");
  EXPECT_EQ(resolved.tec().data().path(), "/out/pictures");
  EXPECT_THAT(resolved.tec().base_model().path(), AllOf(StartsWith("/out/mae/checkpoint-"), EndsWith(".pth")));
  EXPECT_TRUE(MessageDifferencer::Equals(resolved.tec().base_model().encoder(), resolved.mae().model().encoder()));
  // Saved and given back it is the same.
  const std::string path = ::testing::TempDir() + "/quickstart_copy.textproto";
  ASSERT_TRUE(WriteFile(path, ToText(resolved)).ok());
  EXPECT_TRUE(*IsQuickstart(path));
  absl::StatusOr<config::Quickstart> back = LoadQuickstart(path);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_TRUE(MessageDifferencer::Equals(Resolve(*back, kNewMachine), resolved));
}

TEST(Quickstart, ProblemsNameTheirRun) {
  config::Quickstart quickstart = *LoadQuickstart("quickstart");
  quickstart.mutable_mae()->mutable_optimizer()->set_batch_size(0);
  quickstart.set_knn_k(0);
  const std::string problems(Validate(Resolve(quickstart)).message());
  EXPECT_THAT(problems, AllOf(HasSubstr("2 problems in the quickstart"), HasSubstr("mae.optimizer.batch_size"),
                              HasSubstr("knn_k is 0")));
}

}  // namespace
}  // namespace tec
