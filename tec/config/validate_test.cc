// What Validate says to settings that cannot be trained with.

#include <string>

#include "absl/strings/match.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tec/config/config.h"
#include "tec/config/text.h"

namespace tec {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

// An experiment without problems.
config::Experiment Sound() {
  absl::StatusOr<config::Experiment> experiment = ParseExperiment(
      "model { name: 'mae_vit_base_patch16' } base_model { path: '/base.pth' } data { path: '/pictures' }", "test");
  EXPECT_TRUE(experiment.ok()) << experiment.status();
  return experiment.ok() ? *experiment : config::Experiment();
}

std::string ProblemsIn(const config::Experiment& experiment) {
  const absl::Status status = Validate(Resolve(experiment, Machine{/*cpu_bfloat16=*/false, /*gpu_bfloat16=*/false}));
  EXPECT_NE(status.code(), absl::StatusCode::kOk);
  return std::string(status.message());
}

TEST(Validate, SoundIsSound) { EXPECT_TRUE(Validate(Resolve(Sound())).ok()) << Validate(Resolve(Sound())); }

// One change to a sound experiment and what the only problem must say.
TEST(Validate, FindsEachProblem) {
  struct Case {
    const char* change;
    const char* problem;
  };
  const Case cases[] = {
      {"model { encoder { width: 100 } }", "model.encoder.width 100 is not a multiple of heads 12"},
      {"model { encoder { width: 90 heads: 9 } }", "model.encoder.width 90 is not a multiple of 4"},
      {"model { decoder { width: 102 heads: 2 } }", "model.decoder.width 102 is not a multiple of 4"},
      {"model { decoder { heads: 7 } }", "model.decoder.width 512 is not a multiple of heads 7"},
      {"model { encoder { depth: 0 } }", "model.encoder.depth is 0; it must be from 1"},
      {"model { adaptor_groups: 5 }", "model.adaptor_groups 5 does not divide model.encoder.depth 12"},
      {"model { adaptor_groups: -1 }", "model.adaptor_groups -1 does not divide"},
      {"model { name: 'mae_vit_bse_patch16' }", "did you mean \"mae_vit_base_patch16\"?"},
      {"base_model { name: 'mae1kbas' }", "did you mean \"mae1kbase\"?"},
      {"model { encoder { patch_size: 32 } }",
       "the base model sees 14 x 14 patches of 16 pixels, the new model 7 x 7 of 32"},
      {"base_model { encoder { image_size: 448 patch_size: 16 } }", "the base model sees 28 x 28 patches of 16 pixels"},
      {"base_model { last_layers: 13 }",
       "base_model.last_layers (--last_layers) is 13; it must be from 1 to the base model's depth 12"},
      {"base_model { last_layers: 0 }", "--last_layers) is 0"},
      {"model { pred_att: true } base_model { topkatt: 197 }",
       "--topkatt) is 197; it must be from 1 to the number of patches 196"},
      {"model { pred_att: true } base_model { topkatt: 0 }", "--topkatt) is 0"},
      {"base_model { path: '' }", "base_model.path is empty"},
      {"data { path: '' }", "data.path is empty"},
      {"masking { mask_ratio: 1.5 }", "masking.mask_ratio (--mask_ratio) is 1.5"},
      {"masking { mask_ratio: 1 }", "leaves 0 of 196 patches visible"},
      {"masking { mask_ratio: 0 }", "leaves 196 of 196 patches visible"},
      {"losses { att_tau: 0 }", "losses.att_tau (--att_tau) is 0"},
      {"optimizer { lr: nan }", "optimizer.lr is nan"},
      {"optimizer { weight_decay: inf }", "optimizer.weight_decay is inf"},
      {"data { mean: [0.5, nan, 0.5] }", "data.mean is nan"},
      {"data { mean: [0.5] }", "data.mean has 1 values"},
      {"data { std: [0.5, 0, 0.5] }", "data.std has the value 0"},
      {"data { channels: 1 }",
       "data.mean has 3 values and data.std 3, but data.channels (--channels) is 1; give --mean and --std"},
      {"data { crop_scale_min: 0.9 crop_scale_max: 0.5 }", "data.crop_scale_min 0.9 is larger than crop_scale_max 0.5"},
      {"optimizer { batch_size: 0 }", "optimizer.batch_size (--batch_size) is 0"},
      {"optimizer { batch_size: -64 }", "optimizer.batch_size (--batch_size) is -64"},
      {"optimizer { accum_iter: 0 }", "--accum_iter) is 0"},
      {"optimizer { beta2: 1 }", "optimizer.beta2 is 1"},
      {"optimizer { blr: 0 }", "both 0"},
      {"schedule { epochs: 0 }", "--epochs) is 0"},
      {"schedule { start_epoch: 401 }", "schedule.start_epoch 401 is beyond epochs 400"},
      {"checkpointing { resume: 'https://a/b.pth' }", "download the file and give its path"},
      {"checkpointing { save_period: 0 }", "--save_period) is 0"},
      {"runtime { device: 'cpu' precision: FLOAT16 }", "needs --device=cuda"},
      {"runtime { device: 'gpu' }", "runtime.device (--device) is \"gpu\"; it must be cuda or cpu"},
      {"runtime { device: 'cuda:1' }", "CUDA_VISIBLE_DEVICES"},
      {"runtime { precision: 9 }", "runtime.precision (--precision) must be"},
      {"method: 9", "method (--method) must be TEC or MAE"},
      {"method: MAE model { mlp_token: true }", "give --nomlp_token"},
      {"method: MAE model { pred_att: true }", "give --nopred_att"},
      {"losses { norm_pix_loss: true }", "give --nonorm_pix_loss"},
      {"seed: -1", "seed (--seed) is -1"},
  };
  for (const Case& one : cases) {
    config::Experiment e = Sound(), change;
    ASSERT_TRUE(ParseText(one.change, "change", &change).ok()) << one.change;
    MergeOver(change, &e);
    const std::string problems = ProblemsIn(e);
    EXPECT_THAT(problems, HasSubstr(one.problem)) << one.change;
    EXPECT_FALSE(absl::StrContains(problems, "\n")) << one.change << " gave more than one problem: " << problems;
  }
}

TEST(Validate, PicturesHaveChannels) {
  config::Experiment e = Sound();
  e.mutable_data()->set_channels(0);
  e.mutable_data()->clear_mean();
  e.mutable_data()->clear_std();
  EXPECT_EQ(ProblemsIn(e), "data.channels (--channels) is 0; it must be from 1 to 64");
}

TEST(Validate, ListsAllProblemsAtOnce) {
  config::Experiment e = Sound(), change;
  ASSERT_TRUE(ParseText("model { encoder { image_size: 225 heads: 7 } } base_model { path: '' last_layers: 20 } "
                        "optimizer { batch_size: 0 lr: nan } losses { att_tau: -1 }",
                        "change", &change)
                  .ok());
  MergeOver(change, &e);
  const std::string problems = ProblemsIn(e);
  EXPECT_THAT(problems, StartsWith("8 problems in the experiment:\n  "));
  for (const char* field : {"model.encoder.image_size", "base_model.encoder.image_size", "heads 7", "base_model.path",
                            "--last_layers", "--batch_size", "optimizer.lr", "--att_tau"}) {
    EXPECT_THAT(problems, HasSubstr(field));
  }
}

TEST(Validate, CustomNeedsEverySize) {
  config::Experiment e = Sound();
  e.mutable_model()->set_name("custom");
  const std::string problems = ProblemsIn(e);
  for (const char* field : {"encoder.patch_size", "encoder.width", "encoder.depth", "encoder.heads", "decoder.width",
                            "decoder.depth", "decoder.heads"}) {
    EXPECT_THAT(problems, HasSubstr(std::string("model.") + field + " is not set"));
  }
}

TEST(Validate, AShortTrialOfALongRecipeIsSound) {
  config::Experiment e = Sound();
  e.mutable_schedule()->set_epochs(1);
  EXPECT_EQ(e.schedule().warmup_epochs(), 40);
  EXPECT_TRUE(Validate(Resolve(e)).ok());
}

TEST(Validate, MaeNeedsNoBaseModel) {
  config::Experiment e = Sound();
  e.set_method(config::MAE);
  e.mutable_base_model()->set_path("");
  e.mutable_base_model()->set_name("nothing");
  EXPECT_TRUE(Validate(Resolve(e)).ok()) << Validate(Resolve(e));
}

}  // namespace
}  // namespace tec
