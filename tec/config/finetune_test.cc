#include "tec/config/finetune.h"

#include "gmock/gmock.h"
#include "google/protobuf/util/message_differencer.h"
#include "gtest/gtest.h"
#include "tec/config/text.h"

namespace tec {
namespace {

using google::protobuf::util::MessageDifferencer;
using ::testing::AllOf;
using ::testing::HasSubstr;

// recipe.md sections 9 and 13, beyond what flags have (finetune_flags_test.cc).
TEST(ReferenceFinetune, IsMainFinetune) {
  const config::Finetune f = ReferenceFinetune();
  EXPECT_EQ(f.data().crop_scale_min(), 0.08);
  EXPECT_EQ(f.data().crop_scale_max(), 1);
  EXPECT_EQ(f.data().crop_ratio_min(), 3.0 / 4);
  EXPECT_EQ(f.data().crop_ratio_max(), 4.0 / 3);
  EXPECT_EQ(f.optimizer().beta1(), 0.9);
  EXPECT_EQ(f.optimizer().beta2(), 0.999);
  EXPECT_EQ(f.optimizer().epsilon(), 1e-8);
  EXPECT_EQ(f.checkpointing().save_period(), 40);
  EXPECT_TRUE(Validate(Resolve(f)).ok()) << Validate(Resolve(f));
}

// recipe.md section 8.
TEST(FinetuneExperiments, AreTheTableRows) {
  struct Row {
    const char *name, *model;
    int64_t batch_size, accum_iter, epochs;
    double blr, layer_decay, warmup_epochs, min_lr;
  };
  const Row rows[] = {
      {"vit_b_mae300ep_100ep", "vit_base_patch16", 128, 1, 100, 5e-4, 0.65, 5, 1e-6},
      {"vit_b_mae_300ep", "vit_base_patch16", 128, 1, 100, 5e-4, 0.65, 20, 1e-6},
      {"vit_b_mae_800ep", "vit_base_patch16", 128, 1, 100, 5e-4, 0.55, 20, 1e-6},
      {"vit_b_ibot_300ep", "vit_base_patch16", 128, 1, 100, 5e-4, 0.50, 5, 1e-6},
      {"vit_b_ibot_800ep", "vit_base_patch16", 128, 1, 100, 5e-4, 0.55, 20, 1e-6},
      {"vit_l_mae_300ep", "vit_large_patch16", 64, 2, 50, 1e-3, 0.65, 5, 1e-5},
  };
  EXPECT_EQ(FinetuneNames().size(), std::size(rows));
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    absl::StatusOr<config::Finetune> loaded = LoadFinetune(row.name);
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    config::Finetune expected = ReferenceFinetune();
    expected.set_name(row.name);
    expected.set_model(row.model);
    expected.set_mlp_token(true);
    expected.set_dist_eval(true);
    expected.set_nb_classes(1000);
    expected.mutable_augmentation()->set_mixup(0.8);
    expected.mutable_augmentation()->set_cutmix(1.0);
    expected.mutable_optimizer()->set_batch_size(row.batch_size);
    expected.mutable_optimizer()->set_accum_iter(row.accum_iter);
    expected.mutable_optimizer()->set_blr(row.blr);
    expected.set_layer_decay(row.layer_decay);
    expected.mutable_schedule()->set_epochs(row.epochs);
    expected.mutable_schedule()->set_warmup_epochs(row.warmup_epochs);
    expected.mutable_schedule()->set_min_lr(row.min_lr);
    EXPECT_TRUE(MessageDifferencer::Equals(*loaded, expected)) << loaded->DebugString();
    EXPECT_TRUE(Validate(Resolve(*loaded)).ok()) << Validate(Resolve(*loaded));
  }
}

TEST(Finetune, AugmentationOutOfRange) {
  config::Finetune f = ReferenceFinetune();
  config::Augmentation* augmentation = f.mutable_augmentation();
  augmentation->set_remode("noise");
  augmentation->set_recount(0);
  augmentation->set_mixup_mode("half");
  augmentation->add_cutmix_minmax(0.8);
  augmentation->add_cutmix_minmax(0.2);
  f.mutable_optimizer()->set_batch_size(3);
  EXPECT_THAT(std::string(Validate(Resolve(f)).message()),
              AllOf(HasSubstr("5 problems"), HasSubstr("remode (--remode) is \"noise\""), HasSubstr("recount"),
                    HasSubstr("mixup_mode (--mixup_mode) is \"half\""), HasSubstr("the smaller one first"),
                    HasSubstr("an odd number")));
  f.set_eval(true);  // Mixes nothing.
  EXPECT_THAT(std::string(Validate(Resolve(f)).message()), HasSubstr("4 problems"));
  f.set_eval(false);
  augmentation->set_remode("rand");
  augmentation->set_recount(3);
  augmentation->set_mixup_mode("elem");
  augmentation->set_cutmix_minmax(0, 0.1);
  f.mutable_optimizer()->set_batch_size(4);
  EXPECT_TRUE(Validate(Resolve(f)).ok()) << Validate(Resolve(f));
  augmentation->clear_cutmix_minmax();
  f.mutable_optimizer()->set_batch_size(3);
  EXPECT_TRUE(Validate(Resolve(f)).ok()) << Validate(Resolve(f));
}

TEST(Finetune, ResolvedTextIsAcceptedBack) {
  const config::Finetune resolved = Resolve(*LoadFinetune("vit_b_mae_300ep"), {});
  EXPECT_EQ(resolved.encoder().width(), 768);
  EXPECT_EQ(resolved.encoder().patch_size(), 16);
  absl::StatusOr<config::Finetune> back = ParseFinetune(ToText(resolved), "test");
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_TRUE(MessageDifferencer::Equals(Resolve(*back, {true, true}), resolved));
}

TEST(Finetune, ListsAllProblemsAtOnce) {
  config::Finetune f = ReferenceFinetune();
  f.set_model("vit_bas_patch16");
  f.set_drop_path(1);
  f.set_layer_decay(0);
  f.set_nb_classes(1);
  f.set_model_ema_decay(1);
  f.mutable_augmentation()->set_smoothing(1);
  f.set_finetune("https://a/b.pth");
  EXPECT_THAT(std::string(Validate(Resolve(f)).message()),
              AllOf(HasSubstr("7 problems"), HasSubstr("model_ema_decay"),
                    HasSubstr("did you mean \"vit_base_patch16\"?"), HasSubstr("drop_path"), HasSubstr("layer_decay"),
                    HasSubstr("nb_classes"), HasSubstr("smoothing"), HasSubstr("download")));
}

TEST(Finetune, TheShapeMayComeFromTheCheckpoint) {
  config::Finetune f = ReferenceFinetune();
  f.set_model("from_checkpoint");
  EXPECT_THAT(std::string(Validate(Resolve(f)).message()), HasSubstr("give --finetune=CHECKPOINT"));
  f.set_finetune("/a.pth");
  EXPECT_TRUE(Validate(Resolve(f)).ok()) << Validate(Resolve(f));
  EXPECT_FALSE(Resolve(f).encoder().has_image_size());
}

TEST(Finetune, APretrainingFileIsRefused) {
  const std::string text = ToText(ReferenceExperiment());
  EXPECT_THAT(std::string(ParseFinetune(text, "a.textproto").status().message()),
              HasSubstr("a finetuning experiment is needed"));
}

}  // namespace
}  // namespace tec
