#include "tools/goldens/full_size.h"

#include <cmath>
#include <string>
#include <vector>

#include "ATen/ops/empty.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tec/base/status.h"
#include "tec/nn/module_state.h"
#include "tec/nn/parallel.h"
#include "tec/nn/positions.h"

namespace tec {
namespace {

// The formula of "hash": 24 random bits of element i of stream j.
int64_t Hash(uint64_t seed, uint64_t j, uint64_t i) {
  uint64_t z = (seed << 56 | j << 32 | i) + 0x9E3779B97F4A7C15;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
  z = (z ^ z >> 27) * 0x94D049BB133111EB;
  z ^= z >> 31;
  return static_cast<int64_t>(z >> 40);
}

constexpr int64_t kCentre = int64_t{1} << 23;
constexpr double kParameterScale = 0x1p-28, kPixelScale = 0x1p-22, kNoiseScale = 0x1p-24;

// shift + (hash - offset) * scale; each is exact in float32.
at::Tensor Hashed(at::IntArrayRef sizes, uint64_t seed, uint64_t j, int64_t offset, double scale, float shift) {
  at::Tensor tensor = at::empty(sizes, at::kFloat);
  float* values = tensor.data_ptr<float>();
  at::parallel_for(0, tensor.numel(), 1 << 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      values[i] = shift + static_cast<float>(static_cast<double>(Hash(seed, j, i) - offset) * scale);
    }
  });
  return tensor;
}

// The state dict of `parameters`, [name, shape] in byte-wise order: stream first_j + i for the i-th, position tables
// sin-cos.
TensorMap HashedState(const nlohmann::json& parameters, uint64_t seed, uint64_t first_j) {
  TensorMap state;
  uint64_t j = first_j;
  for (const nlohmann::json& parameter : parameters) {
    const std::string name = parameter.at(0);
    const std::vector<int64_t> shape = parameter.at(1);
    const uint64_t stream = j++;
    if (absl::EndsWith(name, "pos_embed")) {
      const int64_t grid = std::lround(std::sqrt(static_cast<double>(shape.at(1) - 1)));
      state.emplace(name, SinCosPositions(shape.at(2), grid));
    } else {
      const bool norm = shape.size() == 1 && absl::EndsWith(name, ".weight");
      state.emplace(name, Hashed(shape, seed, stream, kCentre, kParameterScale, norm ? 1 : 0));
    }
  }
  return state;
}

// Number of parameters <prefix>...<suffix>.
int64_t Count(const nlohmann::json& parameters, const std::string& prefix, const std::string& suffix) {
  int64_t count = 0;
  for (const nlohmann::json& parameter : parameters) {
    const std::string name = parameter.at(0);
    count += absl::StartsWith(name, prefix) && absl::EndsWith(name, suffix);
  }
  return count;
}

// 0 if there is no such parameter.
int64_t SizeOf(const nlohmann::json& parameters, const std::string& name, size_t axis) {
  for (const nlohmann::json& parameter : parameters) {
    if (parameter.at(0) == name) return parameter.at(1).at(axis);
  }
  return 0;
}

}  // namespace

double FullSizeParameter(uint64_t seed, uint64_t j, uint64_t i) {
  return static_cast<double>(Hash(seed, j, i) - kCentre) * kParameterScale;
}

absl::StatusOr<FullSizeSetting> FullSizeSettingOf(const nlohmann::json& json) {
  const nlohmann::json &config = json.at("config"), &parameters = json.at("parameters");
  const nlohmann::json &base_parameters = json.at("teacher_parameters"), &streams = json.at("hash").at("j");
  FullSizeSetting setting;
  setting.seed = config.at("seed");
  // From the shapes of the parameters, but for the heads, which no parameter shows: relations have them, and the
  // reference's decoders have 16.
  BaseModelOptions& base_options = setting.base_options;
  base_options.encoder = {config.at("img_size"), SizeOf(base_parameters, "patch_embed.proj.weight", 2),
                          SizeOf(base_parameters, "cls_token", 2), Count(base_parameters, "blocks.", ".norm1.bias"),
                          json.at("outputs").at("target.att").at("shape").at(3)};
  base_options.encoder.variant.hidden = SizeOf(base_parameters, "blocks.0.mlp.fc1.bias", 0);
  base_options.last_layers = config.at("last_layers");
  base_options.top_patches = config.at("topk");
  TEC_RETURN_IF_ERROR(Validate(base_options));
  TecOptions& options = setting.options;
  options.encoder = base_options.encoder;
  options.encoder.width = config.at("embed_dim");
  options.encoder.depth = Count(parameters, "blocks.", ".norm1.bias");
  options.encoder.variant.hidden = SizeOf(parameters, "blocks.0.mlp.fc1.bias", 0);
  options.decoder = {config.at("decoder_embed_dim"), Count(parameters, "decoder_blocks.", ".norm1.bias"),
                     config.value("decoder_num_heads", int64_t{16}),
                     SizeOf(parameters, "decoder_blocks.0.mlp.fc1.bias", 0)};
  options.mlp_token = SizeOf(parameters, "cls_token_mlp.fc1.bias", 0) > 0;
  options.pred_att = SizeOf(parameters, "forward_att_decoder.mask_token", 2) > 0;
  TEC_RETURN_IF_ERROR(Validate(options));
  TEC_RETURN_IF_ERROR(ValidatePair(base_options, options));

  setting.mask_ratio = config.at("mask_ratio");
  setting.att_tau = config.at("att_tau");
  if (!(setting.mask_ratio > 0 && setting.mask_ratio < 1)) {
    return absl::InvalidArgumentError(absl::StrCat("mask_ratio is ", setting.mask_ratio));
  }
  const int64_t batch = config.at("batch"), size = options.encoder.image_size;
  setting.images = Hashed({batch, 3, size, size}, setting.seed, streams.at("images"), kCentre, kPixelScale, 0);
  setting.noise = Hashed({batch, options.encoder.patches()}, setting.seed, streams.at("noise"), 0, kNoiseScale, 0);
  return setting;
}

absl::StatusOr<std::unique_ptr<BaseModel>> MakeFullSizeBaseModel(const nlohmann::json& json) {
  TEC_ASSIGN_OR_RETURN(const FullSizeSetting setting, FullSizeSettingOf(json));
  auto model = std::make_unique<BaseModel>(setting.base_options);
  TEC_RETURN_IF_ERROR(LoadBaseModel(*model, HashedState(json.at("teacher_parameters"), setting.seed,
                                                        json.at("hash").at("j").at("teacher_parameter"))));
  return model;
}

absl::StatusOr<std::unique_ptr<TecModel>> MakeFullSizeModel(const nlohmann::json& json) {
  TEC_ASSIGN_OR_RETURN(const FullSizeSetting setting, FullSizeSettingOf(json));
  auto model = std::make_unique<TecModel>(setting.options);
  TEC_RETURN_IF_ERROR(LoadState(*model, HashedState(json.at("parameters"), setting.seed, /*first_j=*/0)));
  return model;
}

}  // namespace tec
