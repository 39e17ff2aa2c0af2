#include "eval/testing/tiny.h"

#include <algorithm>
#include <memory>

#include "absl/strings/str_cat.h"
#include "data/image/encode.h"
#include "data/image/image.h"
#include "tec/base/file.h"
#include "tec/base/logging.h"
#include "tec/base/random.h"
#include "tec/checkpoint/safetensors.h"
#include "tec/checkpoint/torch_tensors.h"
#include "tec/checkpoint/training_state.h"
#include "tec/config/config.h"
#include "tec/models/encoder_state.h"
#include "tec/models/factory.h"
#include "tec/nn/module_state.h"

namespace tec::testing {
namespace {

constexpr char kExperiment[] = R"(
  model {
    name: "custom"
    encoder { image_size: 16 patch_size: 4 width: 16 depth: 3 heads: 2 }
    decoder { width: 8 depth: 1 heads: 2 }
    pred_att: true
  }
  base_model {
    name: "custom"
    path: "base.pth"
    encoder { patch_size: 4 width: 16 depth: 3 heads: 2 }
    topkatt: 3
  }
  runtime { device: "cpu" precision: FLOAT32 }
)";

config::Experiment TinyExperiment() {
  absl::StatusOr<config::Experiment> experiment = ParseExperiment(kExperiment, "tiny");
  TEC_CHECK_OK(experiment);
  return Resolve(*experiment);
}

void Save(const std::string& path, const torch::nn::Module& model, const config::Experiment& experiment,
          const std::string& method) {
  TrainingState state;
  state.model = ViewsOf(NamedState(model));
  state.epoch = 0;
  state.method = method;
  state.experiment = ToText(experiment);
  TEC_CHECK_OK(SaveTrainingState(path, state));
}

}  // namespace

void WritePictures(const std::string& directory, const std::vector<std::string>& classes, int images_a_class,
                   uint64_t seed, int channels) {
  constexpr int kSize = 16;
  for (size_t c = 0; c < classes.size(); ++c) {
    TEC_CHECK_OK(MakeDirectories(absl::StrCat(directory, "/", classes[c])));
    for (int i = 0; i < images_a_class; ++i) {
      RandomStream stream(RandomKey{seed, RandomPurpose::kPictures, c, static_cast<uint64_t>(i)});
      Image image(kSize, kSize, channels);
      for (int y = 0; y < kSize; ++y) {
        for (int x = 0; x < kSize; ++x) {
          const bool on = c % 3 == 0 ? x % 4 < 2 : c % 3 == 1 ? y % 4 < 2 : (x / 2 + y / 2) % 2 == 0;
          for (int channel = 0; channel < channels; ++channel) {
            const double value = (on ? 190 : 60) + (channel == static_cast<int>(c / 3) ? 40 : 0) + 10 * stream.Normal();
            image.row(y)[channels * x + channel] = static_cast<uint8_t>(std::clamp(value, 0.0, 255.0));
          }
        }
      }
      absl::StatusOr<std::string> png = EncodePng(image);
      TEC_CHECK_OK(png);
      TEC_CHECK_OK(WriteFile(absl::StrCat(directory, "/", classes[c], "/", i, ".png"), *png));
    }
  }
}

void WriteTecCheckpoint(const std::string& path, bool mlp_token) {
  config::Experiment experiment = TinyExperiment();
  experiment.mutable_model()->set_mlp_token(mlp_token);
  absl::StatusOr<std::shared_ptr<TecModel>> model = MakeTecModel(experiment);
  TEC_CHECK_OK(model);
  Save(path, **model, experiment, "tec");
}

void WriteConvertedEncoder(const std::string& path) {
  config::Experiment experiment = TinyExperiment();
  experiment.mutable_model()->set_mlp_token(true);
  absl::StatusOr<std::shared_ptr<TecModel>> model = MakeTecModel(experiment);
  TEC_CHECK_OK(model);
  TensorMap whole;
  for (const auto& [name, tensor] : NamedState(**model)) whole.emplace(name, tensor.detach());
  absl::StatusOr<TensorMap> encoder = EncoderState(whole);
  TEC_CHECK_OK(encoder);
  NamedTensors tensors;
  for (const auto& [name, tensor] : *encoder) {
    if (name != "norm.weight" && name != "norm.bias") tensors.emplace_back(name, tensor);
  }
  TEC_CHECK_OK(WriteSafetensors(path, ViewsOf(tensors)));
}

void WriteMaeCheckpoint(const std::string& path) {
  config::Experiment experiment = TinyExperiment();
  experiment.set_method(config::MAE);
  absl::StatusOr<std::shared_ptr<MaeModel>> model = MakeMaeModel(experiment);
  TEC_CHECK_OK(model);
  Save(path, **model, experiment, "mae");
}

}  // namespace tec::testing
