#include "tec/nn/initialise.h"

#include <cmath>
#include <string>

#include "absl/strings/match.h"
#include "tec/base/logging.h"
#include "tec/base/random.h"
#include "tec/nn/module_state.h"
#include "tec/nn/parallel.h"

namespace tec {
namespace {

RandomStream ParameterStream(uint64_t seed, uint64_t index) {
  return RandomStream(RandomKey{seed, RandomPurpose::kInitialise, /*epoch=*/0, /*sample=*/index});
}

// Values are drawn in float32 and in the tensor's own order.
template <typename Draw>
void Fill(at::Tensor& tensor, Draw draw) {
  TEC_CHECK(tensor.is_contiguous() && tensor.scalar_type() == at::kFloat && tensor.device().is_cpu())
      << "initialise a model where it was made, before it moves";
  float* values = tensor.data_ptr<float>();
  for (int64_t i = 0, n = tensor.numel(); i < n; ++i) values[i] = draw();
}

void FillUniform(at::Tensor& tensor, double bound, RandomStream stream) {
  const float b = static_cast<float>(bound);
  Fill(tensor, [&] { return b * (2 * stream.NextFloat() - 1); });
}

void FillNormal(at::Tensor& tensor, double std, RandomStream stream) {
  Fill(tensor, [&] { return static_cast<float>(std * stream.Normal()); });
}

// Values of the input that one output sees: all dimensions but the first.
double FanIn(const at::Tensor& weight) { return static_cast<double>(weight.numel() / weight.size(0)); }

void FillXavierUniform(at::Tensor& weight, RandomStream stream) {
  FillUniform(weight, std::sqrt(6.0 / (FanIn(weight) + static_cast<double>(weight.size(0)))), std::move(stream));
}

// The weight that a bias belongs to, which stands before it.
double FanInOfBias(const NamedTensors& state, size_t bias) { return FanIn(state.at(bias - 1).second); }

template <typename Rule>
void Initialise(torch::nn::Module& model, Rule rule) {
  at::NoGradGuard no_grad;
  NamedTensors state = NamedState(model);
  // Each parameter has its own stream, so the split over threads does not show.
  at::parallel_for(0, static_cast<int64_t>(state.size()), 1, [&](int64_t begin, int64_t end) {
    at::NoGradGuard no_grad_in_thread;
    for (int64_t i = begin; i < end; ++i) {
      if (state[i].second.requires_grad()) rule(state, i);
    }
  });
}

}  // namespace

void FillTruncatedNormal(at::Tensor tensor, double std, uint64_t seed, uint64_t index) {
  at::NoGradGuard no_grad;
  RandomStream stream = ParameterStream(seed, index);
  Fill(tensor, [&] {
    double value;
    do {
      value = std * stream.Normal();
    } while (std::abs(value) > 2);
    return static_cast<float>(value);
  });
}

void InitialisePretraining(torch::nn::Module& model, uint64_t seed) {
  Initialise(model, [seed](NamedTensors& state, int64_t i) {
    const std::string& name = state[i].first;
    at::Tensor& tensor = state[i].second;
    if (absl::EndsWith(name, "_token")) {
      FillNormal(tensor, 0.02, ParameterStream(seed, i));
    } else if (name == "patch_embed.proj.bias") {
      FillUniform(tensor, 1 / std::sqrt(FanInOfBias(state, i)), ParameterStream(seed, i));
    } else if (tensor.dim() > 1) {
      FillXavierUniform(tensor, ParameterStream(seed, i));
    } else {
      tensor.fill_(absl::EndsWith(name, ".bias") ? 0 : 1);
    }
  });
}

void InitialiseFinetuning(torch::nn::Module& model, uint64_t seed) {
  Initialise(model, [seed](NamedTensors& state, int64_t i) {
    const std::string& name = state[i].first;
    at::Tensor& tensor = state[i].second;
    const bool bias = absl::EndsWith(name, ".bias");
    if (absl::StartsWith(name, "patch_embed.") || absl::StartsWith(name, "cls_token_mlp.")) {
      FillUniform(tensor, 1 / std::sqrt(bias ? FanInOfBias(state, i) : FanIn(tensor)), ParameterStream(seed, i));
    } else if (tensor.dim() > 1) {
      FillTruncatedNormal(tensor, 0.02, seed, i);
    } else {
      tensor.fill_(bias ? 0 : 1);
    }
  });
}

}  // namespace tec
