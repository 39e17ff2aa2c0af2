#include "tec/models/factory.h"

#include <string>

#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"
#include "tec/nn/module_state.h"
#include "tec/testing/tensor_matchers.h"

namespace tec {
namespace {

config::Experiment Experiment() {
  config::Experiment experiment;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(
      R"pb(
        seed: 5
        model {
          encoder { image_size: 12 patch_size: 4 width: 24 depth: 3 heads: 2 }
          decoder { width: 16 depth: 1 heads: 4 }
          mlp_token: true
          pred_att: true
          adaptor_groups: 3
        }
        base_model {
          encoder { image_size: 12 patch_size: 4 width: 32 depth: 2 heads: 8 }
          last_layers: 2
          topkatt: 5
        }
        data { channels: 2 }
      )pb",
      &experiment));
  return experiment;
}

TEST(FactoryTest, GivesTheNewModelTheBaseModelsPredictionSizes) {
  const auto base = MakeBaseModel(Experiment());
  const auto model = MakeTecModel(Experiment());
  ASSERT_TRUE(base.ok() && model.ok());
  EXPECT_EQ((*base)->options().top_patches, 5);
  EXPECT_EQ((*base)->options().last_layers, 2);
  EXPECT_EQ((*base)->options().encoder.width, 32);
  EXPECT_EQ((*base)->options().encoder.channels, 2);
  const TecOptions& options = (*model)->options();
  EXPECT_EQ(options.prediction_width(), 32);
  EXPECT_EQ(options.prediction_heads(), 8);
  EXPECT_EQ(options.groups(), 3);
  EXPECT_TRUE(options.mlp_token && options.pred_att);
  EXPECT_EQ(options.decoder.heads, 4);
  EXPECT_EQ(options.encoder.channels, 2);
}

TEST(FactoryTest, AsksForNoRelationsWithoutPredAtt) {
  config::Experiment experiment = Experiment();
  experiment.mutable_model()->set_pred_att(false);
  EXPECT_EQ(BaseModelOptionsFrom(experiment).top_patches, 0);
}

TEST(FactoryTest, InitialisesFromTheSeed) {
  const auto value = [](const config::Experiment& experiment) {
    return NamedState(**MakeMaeModel(experiment))[0].second;
  };
  config::Experiment other = Experiment();
  other.set_seed(6);
  EXPECT_TRUE(testing::BitEqual(value(Experiment()), value(Experiment())));
  EXPECT_FALSE(testing::BitEqual(value(Experiment()), value(other)));
}

TEST(FactoryTest, RefusesABaseModelWithAnotherGridAndImpossibleSizes) {
  config::Experiment experiment = Experiment();
  experiment.mutable_base_model()->mutable_encoder()->set_patch_size(6);
  experiment.mutable_base_model()->set_topkatt(3);
  const absl::Status grid = MakeBaseModel(experiment).status();
  EXPECT_EQ(grid.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(std::string(grid.message()).find("2 x 2 patches of 6 pixels"), std::string::npos) << grid;
  experiment.mutable_model()->set_adaptor_groups(2);
  EXPECT_NE(std::string(MakeTecModel(experiment).status().message()).find("adaptor_groups 2"), std::string::npos);
}

}  // namespace
}  // namespace tec
