#include "tec/config/own_images.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tec/config/config.h"

namespace tec {
namespace {

using ::testing::HasSubstr;

config::Vit Shape(int64_t image_size, int64_t patch_size, int64_t width, int64_t depth, int64_t heads) {
  config::Vit vit;
  vit.set_image_size(image_size);
  vit.set_patch_size(patch_size);
  vit.set_width(width);
  vit.set_depth(depth);
  vit.set_heads(heads);
  return vit;
}

OwnImagesFacts VitB(int64_t images) {
  OwnImagesFacts facts;
  facts.base = Shape(224, 16, 768, 12, 12);
  facts.family = "mae";
  facts.images = images;
  facts.memory = int64_t{80} << 30;
  facts.gpu = true;
  return facts;
}

config::Experiment Filled(const OwnImagesFacts& facts, config::Experiment given = {}) {
  given.mutable_data()->set_path("/pictures");
  given.mutable_base_model()->set_path("/base.pth");
  config::Experiment experiment = ReferenceExperiment();
  EXPECT_TRUE(FillOwnImages(facts, given, &experiment).ok());
  experiment = Resolve(experiment);
  EXPECT_TRUE(Validate(experiment).ok()) << Validate(experiment);
  return experiment;
}

TEST(OwnImagesTest, TheNewModelIsTheBasesSizeAndTheSettingsThePapersForAMillionImages) {
  OwnImagesFacts facts = VitB(1'000'000);
  facts.world_size = 8;
  const config::Experiment e = Filled(facts);
  EXPECT_EQ(e.model().encoder().width(), 768);
  EXPECT_EQ(e.model().encoder().heads(), 12);
  EXPECT_EQ(e.model().decoder().width(), 512);
  EXPECT_TRUE(e.model().mlp_token());
  EXPECT_TRUE(e.model().pred_att());
  EXPECT_EQ(e.base_model().encoder().width(), 768);
  EXPECT_EQ(e.base_model().topkatt(), 15);
  EXPECT_DOUBLE_EQ(e.losses().att_tau(), 1.8);
  EXPECT_EQ(e.schedule().epochs(), 300);
  EXPECT_EQ(e.schedule().warmup_epochs(), 30);
  EXPECT_EQ(8 * e.optimizer().batch_size() * e.optimizer().accum_iter(), 4096);
  EXPECT_DOUBLE_EQ(LearningRate(e.optimizer(), 8), 2.4e-3);
}

TEST(OwnImagesTest, OtherSizesNeedNoConfig) {
  OwnImagesFacts facts = VitB(20'000);
  facts.base = Shape(64, 8, 192, 12, 3);
  config::Experiment e = Filled(facts);
  EXPECT_EQ(e.model().encoder().width(), 192);
  EXPECT_EQ(e.model().encoder().image_size(), 64);
  EXPECT_EQ(e.base_model().topkatt(), 9);
  EXPECT_DOUBLE_EQ(e.losses().att_tau(), 1);
  EXPECT_EQ(e.schedule().epochs(), 1600);
  EXPECT_EQ(e.optimizer().batch_size() * e.optimizer().accum_iter(), 256);

  facts.base = Shape(224, 16, 1024, 24, 16);
  e = Filled(facts);
  EXPECT_DOUBLE_EQ(e.losses().att_tau(), 1.4);
  EXPECT_EQ(e.model().decoder().width(), 768);

  facts.family = "dino";
  e = Filled(facts);
  EXPECT_DOUBLE_EQ(e.losses().att_tau(), 1);
  EXPECT_EQ(e.base_model().topkatt(), 9);

  // DINOv2's table is for 37 x 37 patches.
  facts.base = Shape(518, 14, 384, 12, 6);
  facts.family = "dinov2";
  facts.interpolates_positions = true;
  e = Filled(facts);
  EXPECT_EQ(e.model().encoder().image_size(), 224);
  EXPECT_EQ(e.model().encoder().patch_size(), 14);
  EXPECT_EQ(e.base_model().encoder().image_size(), 224);
  EXPECT_TRUE(e.base_model().interpolate_positions());
}

TEST(OwnImagesTest, GivenValuesWinAndOthersFollowThem) {
  config::Experiment given;
  given.mutable_schedule()->set_epochs(50);
  given.mutable_optimizer()->set_batch_size(16);
  given.mutable_base_model()->set_topkatt(7);
  given.mutable_model()->set_mlp_token(false);
  given.mutable_model()->mutable_encoder()->set_image_size(96);
  const config::Experiment e = Filled(VitB(10'000), given);
  EXPECT_EQ(e.schedule().epochs(), 50);
  EXPECT_EQ(e.schedule().warmup_epochs(), 5);
  EXPECT_EQ(e.optimizer().batch_size(), 16);
  EXPECT_EQ(e.optimizer().accum_iter(), 8);
  EXPECT_EQ(e.base_model().topkatt(), 7);
  EXPECT_FALSE(e.model().mlp_token());
  EXPECT_EQ(e.model().encoder().image_size(), 96);
  EXPECT_EQ(e.base_model().encoder().image_size(), 96);
  EXPECT_TRUE(e.base_model().interpolate_positions());
  given.mutable_optimizer()->set_blr(1e-4);
  EXPECT_EQ(Filled(VitB(10'000), given).optimizer().lr(), 0);
  given.mutable_model()->set_name("mae_vit_small_patch16");
  EXPECT_EQ(Filled(VitB(10'000), given).model().encoder().width(), 384);
}

TEST(OwnImagesTest, TheBatchFitsTheMemoryAndThePictures) {
  OwnImagesFacts facts = VitB(1'000'000);
  EXPECT_EQ(Filled(facts).optimizer().batch_size(), 256);
  facts.memory = int64_t{11} << 30;
  const config::Experiment small = Filled(facts);
  EXPECT_LT(small.optimizer().batch_size(), 256);
  EXPECT_EQ(small.optimizer().batch_size() * small.optimizer().accum_iter(), 4096);
  const double weights = 24 * 118.4e6;
  EXPECT_LE(static_cast<double>(small.optimizer().batch_size()) * ActivationBytesPerImage(small) + weights,
            0.6 * static_cast<double>(facts.memory));
  // At least one image, whatever the memory; at most as many as there are.
  facts.memory = int64_t{1} << 30;
  EXPECT_EQ(Filled(facts).optimizer().batch_size(), 1);
  for (const int64_t images : {1, 3, 12, 40, 700}) {
    const config::Experiment e = Filled(VitB(images));
    EXPECT_LE(e.optimizer().batch_size() * e.optimizer().accum_iter(), images);
  }
}

// docs/results.md: 256 images of ViT-B/16 in bfloat16 take 12.3 GiB, weights included.
TEST(OwnImagesTest, ActivationsAsMeasured) {
  config::Experiment e = Filled(VitB(1'000'000));
  e.mutable_runtime()->set_precision(config::BFLOAT16);
  EXPECT_NEAR(ActivationBytesPerImage(e), 48e6, 2e6);
  e.mutable_runtime()->set_precision(config::FLOAT32);
  EXPECT_NEAR(ActivationBytesPerImage(e), 96e6, 4e6);
}

TEST(OwnImagesTest, SaysWhatItTakes) {
  OwnImagesFacts facts = VitB(1'000'000);
  config::Experiment e = Filled(facts);
  // 300 epochs of 244 updates of 4096 images, 84.7e9 FLOPs each: 2.54e19, 28.2 hours at 250 TFLOP/s.
  EXPECT_EQ(DescribeOwnImages(facts, e, 250e12, 1e9),
            "own_images: 1000000 images, 300 epochs of 244 updates of 4096 images: 73200 updates, about 28 hours on "
            "cuda");
  // 3e8 images at 1000 a second.
  EXPECT_THAT(DescribeOwnImages(facts, e, 250e12, 1000), HasSubstr("about 83 hours"));
  EXPECT_THAT(DescribeOwnImages(facts, e, 0, 0), ::testing::EndsWith("73200 updates"));
  facts.world_size = 8;
  e = Filled(facts);
  EXPECT_THAT(DescribeOwnImages(facts, e, 250e12, 1e9), HasSubstr("about 3.5 hours on cuda x 8"));
}

TEST(OwnImagesTest, OtherChannelsNeedTheirStatistics) {
  OwnImagesFacts facts = VitB(1000);
  facts.channels = 5;
  config::Experiment given, experiment = ReferenceExperiment();
  given.mutable_data()->set_path("/pictures");
  given.mutable_base_model()->set_path("/base.pth");
  ASSERT_TRUE(FillOwnImages(facts, given, &experiment).ok());
  EXPECT_THAT(std::string(Validate(Resolve(experiment)).message()), HasSubstr("--mean"));
}

}  // namespace
}  // namespace tec
