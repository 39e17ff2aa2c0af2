#include "tec/config/further_base_models.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tec/checkpoint/families/vit_builder.h"
#include "tec/checkpoint/safetensors.h"
#include "tec/config/base_model_settings.h"
#include "tec/config/config.h"

namespace tec {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

config::Experiment With(const std::string& base_model) {
  config::Experiment experiment = ReferenceExperiment();
  experiment.mutable_base_model()->set_path(base_model);
  return experiment;
}

TEST(SplitBaseModels, TakesPathsAndSettings) {
  config::Experiment experiment =
      With("/a.pth:topkatt=7,/b:c/d.safetensors:weight=0.5:family=ibot:entry=teacher:att_tau=1.5");
  ASSERT_TRUE(SplitBaseModels(&experiment).ok());
  EXPECT_EQ(experiment.base_model().path(), "/a.pth");
  EXPECT_EQ(experiment.base_model().topkatt(), 7);
  ASSERT_EQ(experiment.further_base_models_size(), 1);
  const config::BaseModel& further = experiment.further_base_models(0);
  EXPECT_EQ(further.path(), "/b:c/d.safetensors");
  EXPECT_EQ(further.weight(), 0.5);
  EXPECT_EQ(further.family(), "ibot");
  EXPECT_EQ(further.entry(), "teacher");
  EXPECT_EQ(further.att_tau(), 1.5);
  EXPECT_FALSE(further.has_topkatt());
}

TEST(SplitBaseModels, LeavesAFileWithAComma) {
  const std::string path = ::testing::TempDir() + "/one,two.safetensors";
  ASSERT_TRUE(WriteSafetensors(path, Plain().tensors()).ok());
  config::Experiment experiment = With(path);
  ASSERT_TRUE(SplitBaseModels(&experiment).ok());
  EXPECT_EQ(experiment.base_model().path(), path);
  EXPECT_EQ(experiment.further_base_models_size(), 0);
}

TEST(SplitBaseModels, SaysWhatIsWrong) {
  const auto error = [](const std::string& text) {
    config::Experiment experiment = With(text);
    return std::string(SplitBaseModels(&experiment).message());
  };
  EXPECT_THAT(error("/a,,/b"), HasSubstr("a file's name is missing between two commas"));
  EXPECT_THAT(error("/a,/b:wieght=1"),
              HasSubstr("\"wieght=1\" is no setting of a base model; did you mean \"weight\"?"));
  EXPECT_THAT(error("/a,/b:weight=much"), HasSubstr("weight=much is no number"));
}

TEST(ShapeFurtherBaseModels, ReadsTheFile) {
  const std::string path = ::testing::TempDir() + "/vit.safetensors";
  ASSERT_TRUE(WriteSafetensors(path, Plain().tensors()).ok());
  config::Experiment experiment = Resolve(With("/a.pth"));
  config::BaseModel* further = experiment.add_further_base_models();
  further->set_path(path);
  further->mutable_encoder()->set_heads(2);
  const absl::Status status = ShapeFurtherBaseModels(&experiment);
  ASSERT_TRUE(status.ok()) << status;
  const config::Vit& shape = experiment.further_base_models(0).encoder();
  EXPECT_EQ(shape.width(), kWidth);
  EXPECT_EQ(shape.depth(), kDepth);
  EXPECT_EQ(shape.heads(), 2);
  // 14 x 14 patches, as the new model's, of 2 pixels; the file's table is for 3 x 3.
  EXPECT_EQ(shape.image_size(), 14 * kPatch);
  EXPECT_TRUE(experiment.further_base_models(0).interpolate_positions());
  EXPECT_EQ(experiment.further_base_models(0).topkatt(), 15);
  EXPECT_EQ(experiment.further_base_models(0).att_tau(), 1.8);
  EXPECT_TRUE(Validate(Resolve(experiment), Paths::kOptional).ok()) << Validate(Resolve(experiment), Paths::kOptional);
}

TEST(BaseModelSettings, LabelsAndSharesAreEachOnes) {
  config::Experiment experiment = With("/x/mae.pth");
  experiment.add_further_base_models()->set_path("/y/mae.safetensors");
  experiment.add_further_base_models()->set_path("/z/a b.pth");
  experiment.mutable_base_model()->set_weight(2);
  EXPECT_THAT(BaseModelLabels(experiment), ElementsAre("mae", "mae_2", "a_b"));
  EXPECT_THAT(BaseModelShares(experiment), ElementsAre(0.5, 0.25, 0.25));
}

TEST(BaseModelSettings, AreChecked) {
  config::Experiment sound = Resolve(With("/a.pth"));
  sound.mutable_data()->set_path("/pictures");
  *sound.add_further_base_models() = sound.base_model();
  sound.mutable_further_base_models(0)->set_path("/b.pth");
  sound = Resolve(sound);
  ASSERT_TRUE(Validate(sound).ok()) << Validate(sound);
  const auto error = [&sound](auto change) {
    config::Experiment experiment = sound;
    change(&experiment);
    return std::string(Validate(experiment).message());
  };
  EXPECT_THAT(error([](auto* e) { e->mutable_further_base_models(0)->set_path("/a.pth"); }),
              HasSubstr("/a.pth is there twice as a base model"));
  EXPECT_THAT(error([](auto* e) {
                e->mutable_base_model()->set_weight(0);
                e->mutable_further_base_models(0)->set_weight(0);
              }),
              HasSubstr("the weights of all base models are 0"));
  EXPECT_THAT(error([](auto* e) { e->mutable_further_base_models(0)->mutable_encoder()->set_image_size(448); }),
              HasSubstr("the base model /b.pth sees 28 x 28 patches of 16 pixels, the new model 14 x 14"));
  EXPECT_THAT(error([](auto* e) { e->set_drop_base_models(1); }), HasSubstr("it must be below 1"));
  EXPECT_THAT(error([](auto* e) {
                e->clear_further_base_models();
                e->set_drop_base_models(0.2);
              }),
              HasSubstr("needs several base models"));
  EXPECT_THAT(error([](auto* e) { e->mutable_further_base_models(0)->set_device("gpu"); }),
              HasSubstr("further_base_models[0].device is \"gpu\"; it must be cpu, cuda:N"));
}

}  // namespace
}  // namespace tec
