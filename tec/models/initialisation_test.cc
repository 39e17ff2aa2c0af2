// Every parameter of freshly initialised ViT-B models against recipe.md sections 4 (pretraining) and 13.1 (finetuning):
// which distribution a name has, and that the values look drawn from it.
//
// Tolerances are those of n independent draws. A model has some 220 drawn or constant tensors with up to four checks
// each, so limits that a right program oversteps with probability 1e-6 or less fail one seed in a thousand; the seed is
// fixed.

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "ATen/ATen.h"
#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "tec/models/encoder.h"
#include "tec/models/tec_model.h"
#include "tec/nn/initialise.h"
#include "tec/nn/module_state.h"
#include "tec/nn/positions.h"
#include "tec/testing/tensor_matchers.h"

namespace tec {
namespace {

using testing::BitEqual;

const VitOptions kVitBase = {224, 16, 768, 12, 12};

// A sum of n draws is near a normal distribution: five standard deviations have probability 6e-7.
constexpr double kDeviations = 5;
// No value of n uniform draws above (1 - x / n) of the bound has probability exp(-x).
constexpr double kUniformGap = 14;
// Kolmogorov: the largest distance between the empirical and the true distribution function exceeds z / sqrt(n) with
// probability below 2 exp(-2 z^2), 5e-7 for 2.75.
constexpr double kKolmogorov = 2.75;
// Values that the shape of the distribution is judged by; sorting all of them would say no more.
constexpr int64_t kSample = 1 << 15;

double UniformDistribution(double x) { return std::clamp((x + std::sqrt(3.0)) / (2 * std::sqrt(3.0)), 0.0, 1.0); }
double NormalDistribution(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }

// `values`, divided by `std`, against the distribution function of a variable of mean 0 and standard deviation 1 whose
// fourth moment is `kurtosis`.
void ExpectDrawnFrom(const at::Tensor& values, double std, double kurtosis, double (*distribution)(double)) {
  const double n = static_cast<double>(values.numel());
  const at::Tensor wide = values.reshape({-1}).to(at::kDouble);
  const double mean = wide.mean().item<double>();
  EXPECT_NEAR(mean / std, 0, kDeviations / std::sqrt(n));
  // The variance of a sample variance is (kurtosis - 1) sigma^4 / n; the root halves relative errors.
  EXPECT_NEAR(wide.square().mean().sqrt().item<double>() / std, 1, kDeviations * std::sqrt((kurtosis - 1) / (4 * n)));
  const int64_t stride = (wide.numel() + kSample - 1) / kSample;
  const at::Tensor sorted = std::get<0>(wide.slice(0, 0, wide.numel(), stride).sort());
  const double count = static_cast<double>(sorted.numel());
  double distance = 0;
  for (int64_t i = 0; i < sorted.numel(); ++i) {
    const double expected = distribution(sorted.const_data_ptr<double>()[i] / std);
    distance =
        std::max({distance, std::abs(expected - i / count), std::abs(expected - static_cast<double>(i + 1) / count)});
  }
  EXPECT_LE(distance, kKolmogorov / std::sqrt(count));
}

void ExpectUniform(const at::Tensor& values, double bound) {
  ExpectDrawnFrom(values, bound / std::sqrt(3.0), 1.8, UniformDistribution);
  const double n = static_cast<double>(values.numel()), largest = values.abs().max().item<double>();
  EXPECT_LE(largest, bound * (1 + 1e-7));  // The bound itself is rounded to float32.
  EXPECT_GE(largest, bound * (1 - kUniformGap / n));
}

void ExpectNormal(const at::Tensor& values, double std) {
  ExpectDrawnFrom(values, std, 3, NormalDistribution);
  EXPECT_LE(values.abs().max().item<double>() / std, 7.5);  // Probability 6e-14 a value, 5e-6 over 86 M values.
}

void ExpectConstant(const at::Tensor& values, double value) {
  EXPECT_TRUE(BitEqual(values, at::full_like(values, value)));
}

bool IsNorm(const std::string& name) {
  for (const char* part : {"norm1.", "norm2.", "decoder_norm.", "adap_before.", "adap_after.", "fc_norm."}) {
    if (absl::StrContains(name, part)) return true;
  }
  return absl::StartsWith(name, "norm.");
}

double Inputs(const at::Tensor& weight) { return static_cast<double>(weight.numel() / weight.size(0)); }

// xavier_uniform: bound sqrt(6 / (fan_in + fan_out)) of the stored matrix.
double XavierBound(const at::Tensor& weight) {
  return std::sqrt(6 / (Inputs(weight) + static_cast<double>(weight.size(0))));
}

// No two drawn tensors begin alike: a stream used twice would give correlated weights.
void ExpectDifferentStreams(const NamedTensors& state) {
  std::map<std::vector<float>, std::string> seen;
  for (const auto& [name, tensor] : state) {
    if (!tensor.requires_grad() || tensor.min().item<float>() == tensor.max().item<float>()) continue;
    // The scale differs with the shape; the ratio of values does not.
    const at::Tensor first = tensor.detach().reshape({-1}).narrow(0, 0, 4);
    std::vector<float> key;
    for (int i = 1; i < 4; ++i) key.push_back(std::round(1e4f * (first[i] / first[0]).item<float>()));
    const auto [found, fresh] = seen.emplace(key, name);
    EXPECT_TRUE(fresh) << name << " begins like " << found->second;
  }
}

TEST(InitialisationTest, PretrainingVitBase) {
  TecOptions options;
  options.encoder = kVitBase;
  options.decoder = {512, 2, 16};
  options.mlp_token = options.pred_att = true;
  TecModel model(options);
  InitialisePretraining(model, 5);
  const NamedTensors state = NamedState(model);
  ASSERT_EQ(state.size(), 221u);
  int tokens = 0, norms = 0, biases = 0, matrices = 0, tables = 0;
  for (const auto& [name, parameter] : state) {
    SCOPED_TRACE(name);
    const at::Tensor values = parameter.detach();
    if (absl::EndsWith(name, "pos_embed")) {
      ++tables;
      EXPECT_FALSE(parameter.requires_grad());
      EXPECT_TRUE(BitEqual(values, SinCosPositions(values.size(2), 14)));
      continue;
    }
    EXPECT_TRUE(parameter.requires_grad());
    if (name == "cls_token" || absl::EndsWith(name, ".mask_token")) {
      ++tokens;
      ExpectNormal(values, 0.02);
    } else if (IsNorm(name)) {
      ++norms;
      ExpectConstant(values, absl::EndsWith(name, ".weight") ? 1 : 0);
    } else if (name == "patch_embed.proj.bias") {
      ExpectUniform(values, 1 / std::sqrt(3.0 * 16 * 16));
    } else if (absl::EndsWith(name, ".bias")) {
      ++biases;
      ExpectConstant(values, 0);
    } else {
      ++matrices;
      ExpectUniform(values, XavierBound(values));
    }
  }
  // 12 + 2 blocks with 4 Linears and 2 norms each; the token's MLP has 2 Linears, the adaptor 4 x 3 and 2 norms, each
  // decoder 2 and 1 norm; the final norm; the patch embedding's weight is drawn like a Linear's.
  EXPECT_EQ(tables, 2);
  EXPECT_EQ(tokens, 3);
  EXPECT_EQ(norms, 2 * (14 * 2 + 2 + 2 + 1));
  EXPECT_EQ(biases, 14 * 4 + 2 + 12 + 4);
  EXPECT_EQ(matrices, biases + 1);
  // The numbers that recipe.md has for ViT-B: qkv is one [2304, 768] matrix.
  for (const auto& [name, parameter] : state) {
    if (name == "blocks.0.attn.qkv.weight") ExpectUniform(parameter.detach(), 0.04419417);
    if (name == "patch_embed.proj.bias") ExpectUniform(parameter.detach(), 0.03608439);
  }
  ExpectDifferentStreams(state);
}

TEST(InitialisationTest, FinetuningVitBase) {
  FinetuneOptions options;
  options.encoder = kVitBase;
  options.classes = 1000;
  options.mlp_token = true;
  FinetuneModel model(options);
  InitialiseFinetuning(model, 5);
  const NamedTensors state = NamedState(model);
  int norms = 0, biases = 0, matrices = 0, defaults = 0;
  for (const auto& [name, parameter] : state) {
    SCOPED_TRACE(name);
    const at::Tensor values = parameter.detach();
    const bool bias = absl::EndsWith(name, ".bias");
    if (name == "pos_embed") {
      // The reference has zeros here until a checkpoint is read, so its models from scratch see no positions.
      EXPECT_FALSE(parameter.requires_grad());
      EXPECT_TRUE(BitEqual(values, SinCosPositions(768, 14)));
      continue;
    }
    EXPECT_TRUE(parameter.requires_grad());
    if (absl::StartsWith(name, "patch_embed.") || absl::StartsWith(name, "cls_token_mlp.")) {
      // PyTorch's defaults for Conv2d and Linear: weights and biases alike.
      ++defaults;
      const double inputs = absl::StartsWith(name, "patch_embed.")         ? 3 * 16 * 16
                            : absl::StartsWith(name, "cls_token_mlp.fc1.") ? 768
                                                                           : 4 * 768;
      ExpectUniform(values, 1 / std::sqrt(inputs));
    } else if (IsNorm(name)) {
      ++norms;
      ExpectConstant(values, bias ? 0 : 1);
    } else if (bias) {
      ++biases;
      ExpectConstant(values, 0);
    } else {
      ++matrices;  // cls_token among them. The cut at +-2, a hundred standard deviations, does not show.
      ExpectNormal(values, 0.02);
    }
  }
  EXPECT_EQ(defaults, 6);
  EXPECT_EQ(norms, 2 * (12 * 2 + 1));
  EXPECT_EQ(biases, 12 * 4 + 1);
  EXPECT_EQ(matrices, biases + 1);
  ExpectDifferentStreams(state);
}

TEST(InitialisationTest, HeadAfterLoadingAPretrainedEncoder) {
  FinetuneOptions options;
  options.encoder = {32, 8, 64, 2, 2};
  options.classes = 1000;
  options.mlp_token = true;
  FinetuneModel model(options);
  InitialiseFinetuning(model, 5);
  TecOptions pretrained_options;
  pretrained_options.encoder = options.encoder;
  pretrained_options.decoder = {32, 1, 2};
  pretrained_options.mlp_token = true;
  TecModel pretrained(pretrained_options);
  InitialisePretraining(pretrained, 6);
  TensorMap loaded;
  for (const auto& [name, tensor] : NamedState(pretrained)) loaded.emplace(name, tensor.detach());
  const absl::Status status = LoadPretrained(model, loaded, 5);
  ASSERT_TRUE(status.ok()) << status;
  for (const auto& [name, parameter] : NamedState(model)) {
    SCOPED_TRACE(name);
    if (name == "head.weight") ExpectNormal(parameter.detach(), 2e-5);
    if (name == "head.bias") ExpectConstant(parameter.detach(), 0);
  }
}

}  // namespace
}  // namespace tec
