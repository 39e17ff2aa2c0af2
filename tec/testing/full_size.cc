#include "tec/testing/full_size.h"

#include <cmath>

#include "ATen/Parallel.h"
#include "ATen/core/grad_mode.h"
#include "ATen/ops/empty.h"
#include "absl/strings/match.h"
#include "tec/base/logging.h"
#include "tec/nn/module_state.h"
#include "tec/testing/golden.h"

namespace tec::testing {
namespace {

// The formula of full_base.json, "hash": 24 random bits of element i of stream j.
int64_t Hash(uint64_t seed, uint64_t j, uint64_t i) {
  uint64_t z = (seed << 56 | j << 32 | i) + 0x9E3779B97F4A7C15;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
  z = (z ^ z >> 27) * 0x94D049BB133111EB;
  z ^= z >> 31;
  return static_cast<int64_t>(z >> 40);
}

void Fill(at::Tensor tensor, uint64_t seed, uint64_t j, int64_t offset, double scale, float shift) {
  float* values = tensor.data_ptr<float>();
  at::parallel_for(0, tensor.numel(), 1 << 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      values[i] = shift + static_cast<float>(static_cast<double>(Hash(seed, j, i) - offset) * scale);
    }
  });
}

at::Tensor Input(at::IntArrayRef sizes, uint64_t seed, uint64_t j, int64_t offset, double scale) {
  at::Tensor tensor = at::empty(sizes);
  Fill(tensor, seed, j, offset, scale, 0);
  return tensor;
}

constexpr int64_t kCentre = int64_t{1} << 23;

// Stream j belongs to the j-th name in byte-wise sorted order, which is that of std::map.
void FillParameters(torch::nn::Module& model, const nlohmann::json& names, uint64_t seed, uint64_t first_j) {
  TensorMap own;
  for (const auto& [name, tensor] : NamedState(model)) own.emplace(name, tensor);
  at::NoGradGuard no_grad;
  uint64_t j = first_j;
  for (const auto& parameter : names) {
    const std::string name = parameter[0];
    const uint64_t stream = j++;
    const auto found = own.find(name);
    if (found == own.end()) continue;  // The base model's norm and head, which we do not have.
    TEC_CHECK(nlohmann::json(found->second.sizes().vec()) == parameter[1]) << name << " has another shape";
    if (absl::EndsWith(name, "pos_embed")) continue;  // The sin-cos table that is there already.
    const bool norm = found->second.dim() == 1 && absl::EndsWith(name, ".weight");
    Fill(found->second, seed, stream, kCentre, std::ldexp(1, -28), norm ? 1 : 0);
  }
}

}  // namespace

FullSize MakeFullSize(const std::string& stem) {
  FullSize real;
  real.json = GoldenJson(stem + ".json");
  const nlohmann::json& config = real.json["config"];
  const nlohmann::json& streams = real.json["hash"]["j"];
  const uint64_t seed = config["seed"];
  // Named ViT sizes: patch 16, head width 64; the decoder has 2 blocks of 16 heads.
  const int64_t width = config["embed_dim"], size = config["img_size"], batch = config["batch"];
  BaseModelOptions base_options;
  int64_t depth = 0;
  for (const auto& parameter : real.json["parameters"]) {
    depth += absl::StartsWith(std::string(parameter[0]), "blocks.") &&
             absl::EndsWith(std::string(parameter[0]), "norm1.bias");
  }
  base_options.encoder = {size, 16, width, depth, width / 64};
  base_options.last_layers = config["last_layers"];
  base_options.top_patches = config["topk"];
  TecOptions options;
  options.encoder = base_options.encoder;
  options.decoder = {config["decoder_embed_dim"], 2, 16};
  options.mlp_token = options.pred_att = true;
  TEC_CHECK_EQ(options.groups(), config["num_adap"].get<int64_t>());

  real.base_model = std::make_unique<BaseModel>(base_options);
  FillParameters(*real.base_model, real.json["teacher_parameters"], seed, streams["teacher_parameter"]);
  real.model = std::make_unique<TecModel>(options);
  TEC_CHECK_EQ(real.json["parameters"].size(), NamedState(*real.model).size());
  FillParameters(*real.model, real.json["parameters"], seed, /*first_j=*/0);
  real.images = Input({batch, 3, size, size}, seed, streams["images"], kCentre, std::ldexp(1, -22));
  real.noise = Input({batch, options.encoder.patches()}, seed, streams["noise"], 0, std::ldexp(1, -24));
  real.mask_ratio = config["mask_ratio"];
  real.att_tau = config["att_tau"];
  return real;
}

}  // namespace tec::testing
