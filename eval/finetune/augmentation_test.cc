#include "eval/finetune/augmentation.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tec/config/finetune.h"

namespace tec {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(AugmentationTest, TheRowsAreTheRecipe) {
  for (const std::string& name : FinetuneNames()) {
    SCOPED_TRACE(name);
    const absl::StatusOr<FinetuneAugmentation> made = AugmentationOf(Resolve(*LoadFinetune(name)));
    ASSERT_TRUE(made.ok()) << made.status();
    EXPECT_EQ(made->transform->size(), 224);
    EXPECT_EQ(made->transform->options().crop.crop.scale_min, 0.08);
    EXPECT_EQ(made->transform->options().rand_augment->magnitude, 9);
    EXPECT_EQ(made->transform->options().rand_augment->magnitude_std, 0.5);
    EXPECT_TRUE(made->transform->options().rand_augment->increasing);
    EXPECT_EQ(made->transform->options().style.fill, (std::array<uint8_t, 3>{124, 116, 104}));
    EXPECT_EQ(made->erasing.probability, 0.25);
    EXPECT_EQ(made->erasing.mode, EraseMode::kPixel);
    EXPECT_EQ(made->erasing.most, 1);
    EXPECT_EQ(made->mixing.mixup_alpha, 0.8);
    EXPECT_EQ(made->mixing.cutmix_alpha, 1);
    EXPECT_EQ(made->mixing.probability, 1);
    EXPECT_EQ(made->mixing.switch_probability, 0.5);
    EXPECT_EQ(made->mixing.mode, MixMode::kBatch);
    EXPECT_FALSE(made->mixing.cutmix_minmax.has_value());
  }
}

TEST(AugmentationTest, OtherSettingsArriveToo) {
  config::Finetune settings = Resolve(ReferenceFinetune());
  EXPECT_FALSE(AugmentationOf(settings)->mixing.any());
  config::Augmentation* augmentation = settings.mutable_augmentation();
  augmentation->set_color_jitter(0.4);
  EXPECT_EQ(AugmentationOf(settings)->transform->options().color_jitter, 0);  // Only where aa is empty.
  augmentation->set_aa("");
  augmentation->set_remode("const");
  augmentation->set_recount(3);
  augmentation->set_mixup_mode("pair");
  augmentation->add_cutmix_minmax(0.25);
  augmentation->add_cutmix_minmax(0.5);
  settings.mutable_encoder()->set_image_size(64);
  const absl::StatusOr<FinetuneAugmentation> made = AugmentationOf(settings);
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(made->transform->size(), 64);
  EXPECT_EQ(made->transform->options().color_jitter, 0.4);
  EXPECT_FALSE(made->transform->options().rand_augment.has_value());
  EXPECT_EQ(made->erasing.mode, EraseMode::kConst);
  EXPECT_EQ(made->erasing.most, 3);
  EXPECT_EQ(made->mixing.mode, MixMode::kPair);
  EXPECT_EQ(made->mixing.cutmix_minmax->second, 0.5);
}

TEST(AugmentationTest, OtherChannelsGoWithoutColours) {
  config::Finetune settings = Resolve(ReferenceFinetune());
  config::Data* data = settings.mutable_data();
  data->set_channels(2);
  data->clear_mean();
  data->clear_std();
  for (int c = 0; c < 2; ++c) {
    data->add_mean(0.5);
    data->add_std(0.25);
  }
  EXPECT_EQ(std::string(Validate(settings).message()),
            "augmentation.aa (--aa) is \"rand-m9-mstd0.5-inc1\": RandAugment is for RGB pictures, but data.channels "
            "(--channels) is 2; give --aa=");
  settings.mutable_augmentation()->set_aa("");
  settings.mutable_augmentation()->set_color_jitter(0.4);
  EXPECT_EQ(std::string(Validate(settings).message()),
            "augmentation.color_jitter (--color_jitter) is 0.4: colour jitter is for RGB pictures, but data.channels "
            "(--channels) is 2; give --color_jitter=0");
  settings.mutable_augmentation()->set_color_jitter(0);
  ASSERT_TRUE(Validate(settings).ok()) << Validate(settings);
  const absl::StatusOr<FinetuneAugmentation> made = AugmentationOf(settings);
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(made->transform->channels(), 2);
  EXPECT_EQ(made->erasing.channels, 2);
}

TEST(AugmentationTest, SaysWhatIsWrong) {
  config::Finetune settings = Resolve(ReferenceFinetune());
  settings.mutable_augmentation()->set_aa("augmix-m3");
  EXPECT_THAT(std::string(AugmentationOf(settings).status().message()), AllOf(HasSubstr("--aa"), HasSubstr("augmix")));
  settings.mutable_augmentation()->set_aa("");
  settings.mutable_augmentation()->add_cutmix_minmax(0.5);
  settings.mutable_augmentation()->add_cutmix_minmax(0.501);
  EXPECT_THAT(std::string(AugmentationOf(settings).status().message()), HasSubstr("--cutmix_minmax"));
}

}  // namespace
}  // namespace tec
