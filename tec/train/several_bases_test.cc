// Several base models at once: what is learnt from two equal ones is what is learnt from one; dropping keeps the mean;
// a run with them goes on as if it had never stopped.

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tec/base/logging.h"
#include "tec/checkpoint/training_state.h"
#include "tec/config/base_model_settings.h"
#include "tec/config/config.h"
#include "tec/models/base_model.h"
#include "tec/models/tec_model.h"
#include "tec/nn/initialise.h"
#include "tec/nn/masking.h"
#include "tec/nn/module_state.h"
#include "tec/testing/tensor_matchers.h"
#include "tec/train/base_model_drop.h"
#include "tec/train/objective.h"
#include "tec/train/pretrain_program.h"
#include "tec/train/small_run.h"
#include "tec/train/trainer.h"

namespace tec {
namespace {

using ::testing::ElementsAre;
using testing::EmptyFolder;
using testing::FileBytes;
using ::testing::HasSubstr;
using testing::Lines;
using testing::TensorNear;

constexpr int64_t kImages = 6, kPatches = 16;

TecOptions Options(size_t base_models) {
  TecOptions options;
  options.encoder = {32, 8, 32, 3, 2};
  options.decoder = {16, 1, 2};
  options.mlp_token = options.pred_att = true;
  for (size_t i = 1; i < base_models; ++i) options.further_targets.push_back({32, 2});
  return options;
}

// Further adaptors and decoders begin as the first one's, so that equal base models are predicted alike.
void TieToFirst(TecModel& model) {
  at::NoGradGuard no_gradient;
  const NamedTensors state = NamedState(model);
  const TensorMap all(state.begin(), state.end());
  for (const auto& [name, tensor] : state) {
    const std::string prefix = "further_bases.1.";
    if (name.rfind(prefix, 0) == 0) at::Tensor(tensor).copy_(all.at(name.substr(prefix.size())));
  }
}

TensorMap GradientsOf(TecModel& model) {
  TensorMap gradients;
  for (const auto& [name, tensor] : NamedTrainable(model)) gradients[name] = tensor.grad();
  return gradients;
}

// Of the encoder, the part that both have.
bool IsShared(const std::string& name) {
  return name.rfind("encoder_adaptor", 0) != 0 && name.rfind("forward_", 0) != 0 && name.rfind("decoder_", 0) != 0 &&
         name.rfind("further_bases", 0) != 0;
}

TEST(SeveralBases, TwoEqualHalvesGiveTheGradientOfOneInFloat64) {
  const at::Tensor images = at::arange(kImages * 3 * 32 * 32, at::kDouble).sin().view({kImages, 3, 32, 32});
  const at::Tensor noise = MaskingNoise(1, 0, std::vector<int64_t>{0, 1, 2, 3, 4, 5}, kPatches).to(at::kDouble);
  const at::Tensor idx = at::arange(kImages * 5, at::kLong).remainder(kPatches).view({kImages, 1, 5});
  TensorMap gradients[2];
  for (size_t bases = 1; bases <= 2; ++bases) {
    TecModel model(Options(bases));
    InitialisePretraining(model, 4);
    TieToFirst(model);
    model.to(at::kDouble);
    const TecModel::Encoded encoded = model.Encode(images, noise, 0.75);
    for (size_t base = 0; base < bases; ++base) {
      const TecOutput output = model.Decode(model.Adapt(encoded.latents, base), encoded.ids_restore, idx, base);
      const at::Tensor loss = output.feature_prediction.square().mean() + output.relation_logits.sin().mean();
      (loss / static_cast<double>(bases)).backward({}, /*retain_graph=*/true);
    }
    gradients[bases - 1] = GradientsOf(model);
  }
  int compared = 0;
  for (const auto& [name, gradient] : gradients[0]) {
    if (!IsShared(name)) continue;
    ++compared;
    EXPECT_TRUE(TensorNear(gradients[1][name], gradient, 1e-12 * (1 + gradient.abs().max().item<double>()))) << name;
  }
  EXPECT_EQ(compared, 1 + 2 + 3 * 12 + 2 + 4);
}

class SeveralBasesRun : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    pictures_ = new std::string(EmptyFolder("pictures"));
    testing::MakePictures(*pictures_);
    for (int seed : {1, 2}) {
      config::Experiment mae = testing::Parsed(testing::MaeText(*pictures_, EmptyFolder(absl::StrCat("base", seed))));
      mae.set_seed(seed);
      const auto result = Run(mae);
      ASSERT_TRUE(result.ok()) << result.status();
      bases_.push_back(result->checkpoint);
    }
  }

  static absl::StatusOr<TrainResult> Run(const config::Experiment& experiment, int64_t stop_after = -1) {
    TrainOptions options;
    options.quiet = true;
    options.stop_after_update = [stop_after](int64_t updates) { return updates == stop_after; };
    return Train(experiment, options);
  }

  // Against both; the second one's weight is 1/3 of the first one's.
  static config::Experiment Two(const std::string& output_dir) {
    config::Experiment experiment = testing::Parsed(testing::TecText(*pictures_, bases_[0], output_dir));
    config::BaseModel* further = experiment.add_further_base_models();
    *further = experiment.base_model();
    further->set_path(bases_[1]);
    further->set_label("second");
    further->set_topkatt(3);
    further->set_att_tau(1.2);
    experiment.mutable_base_model()->set_weight(3);
    experiment.mutable_base_model()->set_label("first");
    return experiment;
  }

  static std::string* pictures_;
  static std::vector<std::string> bases_;
};
std::string* SeveralBasesRun::pictures_ = nullptr;
std::vector<std::string> SeveralBasesRun::bases_;

TEST_F(SeveralBasesRun, LogsEachAndTheirWeightedSum) {
  const std::string out = EmptyFolder("two");
  const auto result = Run(Two(out));
  ASSERT_TRUE(result.ok()) << result.status();
  const std::string line = Lines(FileBytes(out + "/log.txt")).back();
  const auto value = [&line](const std::string& key) {
    const size_t at = line.find(absl::StrCat("\"train_", key, "\": "));
    EXPECT_NE(at, std::string::npos) << key << " in " << line;
    return at == std::string::npos ? NAN : std::atof(line.c_str() + line.find(": ", at) + 2);
  };
  EXPECT_NEAR(value("loss"),
              0.75 * (value("loss_fea_first") + value("loss_att_first")) +
                  0.25 * (value("loss_fea_second") + value("loss_att_second")),
              1e-5);
  EXPECT_NE(value("loss_fea_first"), value("loss_fea_second"));
}

TEST_F(SeveralBasesRun, GoesOnBitEqualWithDroppingAndOtherMasks) {
  const auto settings = [this](const std::string& out) {
    config::Experiment experiment = Two(out);
    experiment.set_drop_base_models(0.4);
    experiment.mutable_masking()->set_kind("attention");
    experiment.mutable_masking()->set_mask_ratio_end(0.5);
    experiment.mutable_model()->set_init_from_base(true);
    return experiment;
  };
  const std::string whole = EmptyFolder("whole"), stopped = EmptyFolder("stopped");
  ASSERT_TRUE(Run(settings(whole)).ok());
  for (int64_t updates : {1, 4}) {
    const auto part = Run(settings(stopped), updates);
    ASSERT_TRUE(part.ok()) << part.status();
    EXPECT_TRUE(part->stopped);
  }
  ASSERT_TRUE(Run(settings(stopped)).ok());
  EXPECT_TRUE(FileBytes(whole + "/checkpoint-1.pth") == FileBytes(stopped + "/checkpoint-1.pth"));
}

TEST_F(SeveralBasesRun, RefusesAnotherNumberOfThem) {
  const std::string out = EmptyFolder("number");
  ASSERT_TRUE(Run(Two(out), 2).ok());
  config::Experiment one = Two(out);
  one.clear_further_base_models();
  const auto result = Run(one);
  EXPECT_THAT(std::string(result.status().message()), HasSubstr("further_base_models: 0, was 1"));
}

TEST_F(SeveralBasesRun, BlockMasksTrain) {
  config::Experiment experiment = Two(EmptyFolder("block"));
  experiment.mutable_masking()->set_kind("block");
  EXPECT_TRUE(Run(experiment).ok());
}

// New models that share the base model's passes are, to the bit, what each would be alone; and all go on as one.
TEST_F(SeveralBasesRun, SeveralNewModelsAreWhatEachWouldBeAlone) {
  const auto settings = [](const std::string& out) {
    config::Experiment experiment = Two(out);
    // Wider, deeper, with other patches: 64 pixels in 16 patches.
    const auto parsed = ParseExperiment(R"(further_models {
        name: "custom" label: "wide"
        encoder { image_size: 64 patch_size: 16 width: 48 depth: 4 heads: 3 }
        decoder { width: 24 depth: 1 heads: 2 }
      }
      further_models {
        name: "custom" label: "narrow"
        encoder { patch_size: 8 width: 16 depth: 2 heads: 2 }
        decoder { width: 16 depth: 1 heads: 2 }
      })",
                                        "test");
    TEC_CHECK_OK(parsed);
    *experiment.mutable_further_models() = parsed->further_models();
    experiment = Resolve(experiment);
    TEC_CHECK_OK(Validate(experiment));
    return experiment;
  };
  const std::string together = EmptyFolder("together"), stopped = EmptyFolder("together_stopped");
  ASSERT_TRUE(Run(settings(together)).ok());
  for (int64_t model = 0; model < 2; ++model) {  // "wide" sees resized crops here, and crops of 64 pixels alone.
    const std::string alone = EmptyFolder(absl::StrCat("alone", model));
    const int64_t number = model == 0 ? 0 : 2;
    ASSERT_TRUE(Run(AloneWithModel(settings(alone), number)).ok());
    const auto expected = LoadTrainingState(alone + "/checkpoint-1.pth");
    const auto got = LoadTrainingState(together + (number == 0 ? "" : "/narrow") + "/checkpoint-1.pth");
    ASSERT_TRUE(expected.ok() && got.ok()) << expected.status() << got.status();
    ASSERT_EQ(got->model.size(), expected->model.size());
    for (const auto& [name, view] : expected->model) {
      const TensorView* own = got->model.Find(name);
      ASSERT_NE(own, nullptr) << name;
      EXPECT_TRUE(own->bytes == view.bytes) << name;
    }
    EXPECT_EQ(got->experiment == expected->experiment, number != 0);  // The first one's says who is beside it.
  }
  EXPECT_TRUE(testing::Exists(together + "/wide/checkpoint-1.pth"));
  for (int64_t updates : {1, 4}) {
    const auto part = Run(settings(stopped), updates);
    ASSERT_TRUE(part.ok()) << part.status();
  }
  ASSERT_TRUE(Run(settings(stopped)).ok());
  // Killed without a word, in mid-epoch, where it saves after each update.
  const std::string killed = EmptyFolder("together_killed"), file = EmptyFolder("killed_settings") + "/run.textproto";
  config::Experiment saving = settings(killed);
  saving.mutable_checkpointing()->set_save_every_minutes(1e-6);
  testing::WriteText(file, ToText(saving));
  testing::Program program({"--config=" + file, "--noreport"});
  ASSERT_TRUE(testing::WaitForUpdates(program, killed, 2)) << program.Output();
  program.Signal(SIGKILL);
  ASSERT_EQ(program.Wait(), -SIGKILL) << program.Output();
  ASSERT_TRUE(Run(saving).ok());
  for (const std::string& out : {stopped, killed}) {
    for (const char* name : {"/checkpoint-1.pth", "/wide/checkpoint-1.pth", "/narrow/checkpoint-1.pth"}) {
      EXPECT_TRUE(FileBytes(together + name) == FileBytes(out + name)) << out << name;
    }
  }
}

// Through the loss that is trained, with its shares, which is in float32 whatever the weights are: to the bit, since a
// half of a number has its digits. The second half computes on a device of its own.
TEST_F(SeveralBasesRun, EqualHalvesOfTheLossGiveTheGradientOfOne) {
  config::Experiment one = testing::Parsed(testing::TecText(*pictures_, bases_[0], EmptyFolder("halves")));
  config::Experiment two = one;
  *two.add_further_base_models() = one.base_model();
  two.mutable_further_base_models(0)->set_label("half");
  two.mutable_further_base_models(0)->set_device("cpu");
  TensorMap gradients[2];
  double losses[2];
  for (int further = 0; further < 2; ++further) {
    std::vector<std::shared_ptr<BaseModel>> bases;
    for (int i = 0; i <= further; ++i) {
      bases.push_back(std::make_shared<BaseModel>(BaseModelOptions{Options(1).encoder, 2, 5}));
      at::NoGradGuard no_gradient;
      for (const auto& [name, tensor] : NamedState(*bases[i])) {
        at::Tensor(tensor).copy_((at::arange(tensor.numel(), at::kFloat) * 0.7).cos().mul(0.2).view(tensor.sizes()));
      }
    }
    auto model = std::make_shared<TecModel>(Options(1 + further));
    InitialisePretraining(*model, 4);
    TieToFirst(*model);
    const auto objective = Objective::ForTec(further == 0 ? one : two, at::kCPU, bases, {model});
    Objective::Images images;
    images.pixels = at::arange(kImages * 3 * 32 * 32, at::kFloat).sin().view({kImages, 3, 32, 32});
    images.noise = MaskingNoise(1, 0, std::vector<int64_t>{0, 1, 2, 3, 4, 5}, kPatches);
    const at::Tensor total = objective->Compute(images).total();
    total.backward();
    losses[further] = total.item<double>();
    gradients[further] = GradientsOf(*model);
  }
  EXPECT_EQ(losses[1], losses[0]);
  for (const auto& [name, gradient] : gradients[0]) {
    // What learns from each is half as much; the encoder has both halves.
    const at::Tensor expected = IsShared(name) ? gradient : gradient / 2;
    EXPECT_TRUE(TensorNear(gradients[1][name], expected, 0)) << name;
  }
}

TEST_F(SeveralBasesRun, SaysThatADeviceIsNotThere) {
  config::Experiment experiment = Two(EmptyFolder("device"));
  experiment.mutable_further_base_models(0)->set_device("cuda:99");
  const auto result = Run(experiment);
  EXPECT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument) << result.status();
  EXPECT_THAT(std::string(result.status().message()),
              HasSubstr(absl::StrCat("base model ", bases_[1], ": device cuda:99 of a base model is not there")));
}

// Over all draws, the loss with dropping is that without: each image counts by the inverse of its probability.
TEST_F(SeveralBasesRun, DroppingKeepsTheMean) {
  config::Experiment experiment = Two(EmptyFolder("mean"));
  const double rate = 0.4;
  experiment.set_drop_base_models(rate);
  std::vector<std::shared_ptr<BaseModel>> bases;
  for (int i = 0; i < 2; ++i) {
    auto base = std::make_shared<BaseModel>(BaseModelOptions{Options(1).encoder, 2, i == 0 ? 5 : 3});
    at::NoGradGuard no_gradient;
    for (const auto& [name, tensor] : NamedState(*base)) {
      at::Tensor(tensor).copy_(
          (at::arange(tensor.numel(), at::kFloat) * (0.7 + i)).cos().mul(0.2).view(tensor.sizes()));
    }
    bases.push_back(base);
  }
  auto model = std::make_shared<TecModel>(Options(2));
  InitialisePretraining(*model, 4);
  const auto objective = Objective::ForTec(experiment, at::kCPU, bases, {model});
  Objective::Images images;
  images.pixels = at::arange(2 * 3 * 32 * 32, at::kFloat).sin().view({2, 3, 32, 32});
  images.noise = MaskingNoise(1, 0, std::vector<int64_t>{0, 1}, kPatches);
  at::NoGradGuard no_gradient;
  const double whole = objective->Compute(images).total().item<double>();
  // All outcomes of two images and two base models, by their probability.
  const double first = (1 - rate) * rate + rate * rate / 2;
  const double probabilities[3] = {first, first, (1 - rate) * (1 - rate)};  // Only the first, only the second, both.
  double mean = 0, sum = 0;
  for (int a = 0; a < 3; ++a) {
    for (int b = 0; b < 3; ++b) {
      images.kept = at::empty({2, 2}, at::kBool);
      int row = 0;
      for (const int kind : {a, b}) {
        images.kept[row][0] = kind != 1;
        images.kept[row][1] = kind != 0;
        ++row;
      }
      const double probability = probabilities[a] * probabilities[b];
      sum += probability;
      mean += probability * objective->Compute(images).total().item<double>();
    }
  }
  EXPECT_NEAR(sum, 1, 1e-12);
  EXPECT_NEAR(mean, whole, 1e-5 * whole);
}

TEST(KeptBaseModelsTest, KeepsOneAndHasItsProbability) {
  std::vector<int64_t> samples(20000);
  for (size_t i = 0; i < samples.size(); ++i) samples[i] = static_cast<int64_t>(i);
  const at::Tensor kept = KeptBaseModels(3, 1, samples, 3, 0.5);
  EXPECT_TRUE(kept.any(1).all().item<bool>());
  // Standard error of a rate of 0.54 over 20,000 draws: 0.0035.
  for (int64_t base = 0; base < 3; ++base) {
    EXPECT_NEAR(kept.select(1, base).to(at::kFloat).mean().item<double>(), KeptProbability(3, 0.5), 4 * 0.0035);
  }
  EXPECT_TRUE(kept.slice(0, 5, 6).equal(KeptBaseModels(3, 1, std::vector<int64_t>{5}, 3, 0.5)));
  EXPECT_FALSE(KeptBaseModels(3, 1, samples, 3, 0).defined());
}

}  // namespace
}  // namespace tec
