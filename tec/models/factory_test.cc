#include "tec/models/factory.h"

#include <string>

#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"
#include "tec/config/cost.h"
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

// int(width * mlp_ratio) of all MLPs but the adaptor's, and as many parameters as the run is told to have.
TEST(FactoryTest, MakesMlpsOfTheRatio) {
  const auto trained = [](const torch::nn::Module& model) {
    double count = 0;
    for (const auto& [name, tensor] : NamedTrainable(model)) count += static_cast<double>(tensor.numel());
    return count;
  };
  config::Experiment experiment = Experiment();
  experiment.mutable_model()->set_mlp_ratio(2.3);
  const auto model = MakeTecModel(experiment);
  ASSERT_TRUE(model.ok()) << model.status();
  const auto rows = [](const torch::nn::Module& of, const std::string& name) {
    return of.named_parameters()[name + ".mlp.fc1.weight"].size(0);
  };
  EXPECT_EQ(rows(**model, "blocks.1"), 55);          // 55.2
  EXPECT_EQ(rows(**model, "decoder_blocks.0"), 36);  // 36.8
  EXPECT_EQ((*model)->named_parameters()["cls_token_mlp.fc1.weight"].size(0), 55);
  EXPECT_EQ((*model)->named_parameters()["encoder_adaptor.adap_mlps.0.fc1.weight"].size(0), 64);
  EXPECT_EQ(TrainedParameters(experiment), trained(**model));
  EXPECT_LT(TrainingFlopsPerImage(experiment), TrainingFlopsPerImage(Experiment()));
  EXPECT_EQ(VitOptionsFrom(experiment.model(), experiment.data()).variant.hidden, 55);
  experiment.set_method(config::MAE);
  const auto mae = MakeMaeModel(experiment);
  ASSERT_TRUE(mae.ok()) << mae.status();
  EXPECT_EQ(rows(**mae, "blocks.1"), 55);
  EXPECT_EQ(rows(**mae, "decoder_blocks.0"), 36);
  EXPECT_EQ(TrainedParameters(experiment), trained(**mae));
  experiment.mutable_model()->set_mlp_ratio(4);
  EXPECT_EQ(VitOptionsFrom(experiment.model(), experiment.data()).variant.hidden, 0);
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
