#include "tec/config/cost.h"

#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tec/config/config.h"
#include "tec/config/finetune.h"

namespace tec {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

config::Experiment Row(const char* name) {
  absl::StatusOr<config::Experiment> experiment = LoadExperiment(name);
  EXPECT_TRUE(experiment.ok()) << experiment.status();
  return Resolve(*experiment);
}

config::Finetune FinetuneRow(const char* name) {
  absl::StatusOr<config::Finetune> finetune = LoadFinetune(name);
  EXPECT_TRUE(finetune.ok()) << finetune.status();
  return Resolve(*finetune);
}

// GFLOP. The sums by component that these are compared with leave out the class token's MLP, 0.03 and 0.05 GFLOP, and
// are rounded to the last digit given.
double WithoutInputAdaptor(config::Experiment experiment) {
  experiment.mutable_model()->set_mlp_token(false);
  return TrainingFlopsPerImage(experiment) * 1e-9;
}

TEST(TrainingFlopsPerImage, AreTheSumsByComponent) {
  EXPECT_NEAR(WithoutInputAdaptor(Row("vit_b_mae_300ep")), 84.72, 0.01);
  EXPECT_NEAR(WithoutInputAdaptor(Row("vit_l_mae_300ep")), 275.88, 0.01);
  EXPECT_NEAR(TrainingFlopsPerImage(Row("mae_vit_b_1600ep")) * 1e-9, 58.5, 0.1);
  EXPECT_NEAR(TrainingFlopsPerImage(FinetuneRow("vit_b_mae_300ep")) * 1e-9, 105.2, 0.1);
  EXPECT_NEAR(TrainingFlopsPerImage(FinetuneRow("vit_l_mae_300ep")) * 1e-9, 369.0, 0.1);
}

TEST(TrainingFlopsPerImage, FallWithoutTheRelations) {
  config::Experiment experiment = Row("vit_b_mae_300ep");
  experiment.mutable_model()->set_pred_att(false);
  EXPECT_NEAR(WithoutInputAdaptor(experiment), 84.72 - 8.975, 0.01);  // The whole relation decoder.
}

// Twice the multiply-adds that timm lists for these models, 17.56e9 and 61.55e9 without the classifier.
TEST(EncoderFlopsPerImage, AreTwiceTheMultiplyAdds) {
  const config::Experiment base = Row("vit_b_mae_300ep"), large = Row("vit_l_mae_300ep");
  EXPECT_NEAR(EncoderFlopsPerImage(base.model().encoder(), base.data()) * 1e-9, 35.13, 0.01);
  EXPECT_NEAR(EncoderFlopsPerImage(large.model().encoder(), large.data()) * 1e-9, 123.1, 0.1);
}

// A channel more is a value more of each of a patch's 256 pixels.
TEST(TrainedParameters, GrowWithTheChannels) {
  config::Experiment experiment = Row("vit_b_mae_300ep");
  experiment.mutable_data()->set_channels(4);
  EXPECT_EQ(TrainedParameters(experiment), 118342144 + 256 * 768);
  // Student forward and for its weights, base model forward.
  EXPECT_EQ(TrainingFlopsPerImage(experiment) - TrainingFlopsPerImage(Row("vit_b_mae_300ep")),
            3.0 * 2 * 196 * 256 * 768);
  experiment = Row("mae_vit_b_1600ep");
  const double parameters = TrainedParameters(experiment);
  experiment.mutable_data()->set_channels(4);
  EXPECT_EQ(TrainedParameters(experiment), parameters + 256 * 768 + 256 * 512 + 256);  // And the predicted pixels.
  config::Finetune finetune = FinetuneRow("vit_b_mae_300ep");
  finetune.mutable_data()->set_channels(1);
  EXPECT_EQ(TrainedParameters(finetune), 91138792 - 2 * 256 * 768);
}

// timm's numbers of ViT-B/16 and ViT-L/16 without the classifier and the last norm.
TEST(EncoderParameters, AreThoseOfTimm) {
  const config::Experiment base = Row("vit_b_mae_300ep"), large = Row("vit_l_mae_300ep");
  EXPECT_EQ(EncoderParameters(base.model().encoder(), base.data()), 85798656 - 2 * 768);
  EXPECT_EQ(EncoderParameters(large.model().encoder(), large.data()), 303301632 - 2 * 1024);
}

TEST(DescribeCost, TellsEachBaseModel) {
  config::Experiment experiment = Row("vit_b_mae_300ep");
  experiment.mutable_base_model()->set_label("mae");
  const std::string one = DescribeCost(experiment);
  EXPECT_THAT(one, HasSubstr("base model mae: 35.13 GFLOP an image, 343.2 MB\n"));
  EXPECT_THAT(one, HasSubstr("in all, new models with their gradients and moments: 84.74 GFLOP an image, 2236.7 MB\n"));
  config::BaseModel* second = experiment.add_further_base_models();
  *second->mutable_encoder() = Row("vit_l_mae_300ep").base_model().encoder();
  second->set_name("custom");
  second->set_label("large");
  experiment = Resolve(experiment);
  const std::string two = DescribeCost(experiment);
  EXPECT_THAT(two, HasSubstr("base model mae: 35.13 GFLOP an image, 343.2 MB\n"));
  EXPECT_THAT(two, HasSubstr("base model large: 123.11 GFLOP an image, 1213.2 MB\n"));
  // What is told of each adds up to what is told of all.
  const auto sum = [](const std::string& text, const char* unit) {
    double sum = 0, all = 0;
    for (const absl::string_view line : absl::StrSplit(text, '\n')) {
      const size_t end = line.find(unit);
      if (end == absl::string_view::npos) continue;
      double value = 0;
      EXPECT_TRUE(
          absl::SimpleAtod(line.substr(line.rfind(' ', end - 1) + 1, end - line.rfind(' ', end - 1) - 1), &value));
      (absl::StartsWith(line, "in all") ? all : sum) += value;
    }
    return std::make_pair(sum, all);
  };
  for (const char* unit : {" GFLOP", " MB"}) {
    const auto [parts_of_two, all_of_two] = sum(two, unit);
    const auto [parts_of_one, all_of_one] = sum(one, unit);
    EXPECT_NEAR(all_of_two - all_of_one, parts_of_two - parts_of_one, 0.2) << unit;
  }
  EXPECT_THAT(DescribeCost(Row("mae_vit_b_1600ep")), Not(HasSubstr("base model")));
}

TEST(TrainedParameters, AreThoseOfTheReference) {
  EXPECT_EQ(TrainedParameters(Row("vit_b_mae_300ep")), 118342144);
  EXPECT_EQ(TrainedParameters(Row("vit_l_mae_300ep")), 405200384);
  EXPECT_EQ(TrainedParameters(FinetuneRow("vit_b_mae_300ep")), 91138792);
  EXPECT_EQ(TrainedParameters(FinetuneRow("vit_l_mae_300ep")), 312518632);
}

}  // namespace
}  // namespace tec
