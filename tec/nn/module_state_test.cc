// Names, loading and initial values of a small model.

#include "tec/nn/module_state.h"

#include <cmath>
#include <string>

#include "ATen/Parallel.h"
#include "gtest/gtest.h"
#include "tec/nn/initialise.h"
#include "tec/nn/modules.h"
#include "tec/nn/positions.h"
#include "tec/testing/tensor_matchers.h"

namespace tec {
namespace {

using testing::BitEqual;

struct SmallModel : torch::nn::Module {
  SmallModel() {
    register_parameter("cls_token", at::empty({1, 1, 64}));
    register_parameter("pos_embed", SinCosPositions(64, 2), /*requires_grad=*/false);
    register_module("patch_embed", std::make_shared<PatchEmbed>(16, 8, 64));
    register_module("blocks", std::make_shared<BlockList>(2, 64, 4));
    register_module("norm", std::make_shared<LayerNorm>(64));
  }
};

TensorMap Copy(const torch::nn::Module& model) {
  TensorMap copy;
  for (const auto& [name, tensor] : NamedState(model)) copy.emplace(name, tensor.detach().clone());
  return copy;
}

bool Mentions(const absl::Status& status, const std::string& text) {
  return std::string(status.message()).find(text) != std::string::npos;
}

TEST(NamedStateTest, GivesTheReferencesOrder) {
  const NamedTensors state = NamedState(SmallModel());
  const char* first[] = {"cls_token",
                         "pos_embed",
                         "patch_embed.proj.weight",
                         "patch_embed.proj.bias",
                         "blocks.0.norm1.weight",
                         "blocks.0.norm1.bias",
                         "blocks.0.attn.qkv.weight",
                         "blocks.0.attn.qkv.bias",
                         "blocks.0.attn.proj.weight",
                         "blocks.0.attn.proj.bias",
                         "blocks.0.norm2.weight",
                         "blocks.0.norm2.bias",
                         "blocks.0.mlp.fc1.weight",
                         "blocks.0.mlp.fc1.bias",
                         "blocks.0.mlp.fc2.weight",
                         "blocks.0.mlp.fc2.bias",
                         "blocks.1.norm1.weight"};
  ASSERT_EQ(state.size(), 4u + 2 * 12 + 2);
  for (size_t i = 0; i < std::size(first); ++i) EXPECT_EQ(state[i].first, first[i]);
  EXPECT_EQ(NamedTrainable(SmallModel()).size(), state.size() - 1);
}

TEST(LoadStateTest, CopiesEverythingAndConverts) {
  SmallModel a, b;
  InitialisePretraining(a, 1);
  InitialisePretraining(b, 2);
  TensorMap state = Copy(a);
  state["norm.weight"] = state["norm.weight"].to(at::kDouble);
  ASSERT_TRUE(LoadState(b, state).ok());
  for (const auto& [name, tensor] : NamedState(b)) EXPECT_TRUE(BitEqual(tensor, Copy(a)[name])) << name;
}

TEST(LoadStateTest, ListsEveryProblemAndChangesNothing) {
  SmallModel model;
  InitialisePretraining(model, 1);
  const TensorMap before = Copy(model);
  TensorMap state = Copy(model);
  for (auto& [name, tensor] : state) tensor.fill_(7);
  state.erase("norm.bias");
  state["norm.bais"] = before.at("norm.bias");
  state["blocks.1.attn.qkv.weight"] = at::zeros({3, 4});
  state.erase("cls_token");
  state["module.cls_token"] = before.at("cls_token");
  state["extra"] = at::zeros({1});
  const absl::Status status = LoadState(model, state);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(Mentions(status, "6 tensors do not fit")) << status;
  EXPECT_TRUE(Mentions(status, "norm.bias is missing (there is norm.bais)")) << status;
  EXPECT_TRUE(Mentions(status, "norm.bais is unexpected (meant: norm.bias?)")) << status;
  EXPECT_TRUE(Mentions(status, "cls_token is missing (there is module.cls_token)")) << status;
  EXPECT_TRUE(Mentions(status, "blocks.1.attn.qkv.weight has shape [3, 4], the model's is [192, 64]")) << status;
  EXPECT_TRUE(Mentions(status, "extra is unexpected;") || Mentions(status, "extra is unexpected")) << status;
  for (const auto& [name, tensor] : NamedState(model)) EXPECT_TRUE(BitEqual(tensor, before.at(name))) << name;
}

TEST(InitialiseTest, IsAFunctionOfTheSeed) {
  SmallModel a, b, c;
  InitialisePretraining(a, 3);
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  InitialisePretraining(b, 3);
  at::set_num_threads(threads);
  InitialisePretraining(c, 4);
  const TensorMap expected = Copy(a), other = Copy(c);
  for (const auto& [name, tensor] : NamedState(b)) EXPECT_TRUE(BitEqual(tensor, expected.at(name))) << name;
  EXPECT_FALSE(BitEqual(expected.at("cls_token"), other.at("cls_token")));
  // Parameters of one shape have streams of their own.
  EXPECT_FALSE(BitEqual(expected.at("blocks.0.mlp.fc1.weight"), expected.at("blocks.1.mlp.fc1.weight")));
}

// Mean zero, the given standard deviation, and with `bound` > 0 no value beyond it but some near it. Errors are those
// of n independent draws, five standard deviations wide.
void ExpectDistribution(const at::Tensor& tensor, double std, double bound) {
  const double n = static_cast<double>(tensor.numel());
  EXPECT_NEAR(tensor.mean().item<double>(), 0, 5 * std / std::sqrt(n));
  EXPECT_NEAR(tensor.std().item<double>() / std, 1, 5 / std::sqrt(n));
  if (bound == 0) return;
  const double largest = tensor.abs().max().item<double>();
  EXPECT_LE(largest, bound * (1 + 1e-6));
  EXPECT_GE(largest, bound * (1 - 20 / n));
}

TEST(InitialiseTest, PretrainingFollowsTheRecipe) {
  SmallModel model;
  InitialisePretraining(model, 5);
  const TensorMap state = Copy(model);
  const auto uniform = [&](const char* name, double bound) {
    SCOPED_TRACE(name);
    ExpectDistribution(state.at(name), bound / std::sqrt(3.0), bound);
  };
  uniform("blocks.0.attn.qkv.weight", std::sqrt(6.0 / (64 + 192)));  // One [3C, C] matrix.
  uniform("blocks.1.attn.proj.weight", std::sqrt(6.0 / 128));
  uniform("blocks.0.mlp.fc1.weight", std::sqrt(6.0 / (64 + 256)));
  uniform("patch_embed.proj.weight", std::sqrt(6.0 / (64 + 192)));  // [C, 3 P P]
  uniform("patch_embed.proj.bias", 1 / std::sqrt(192.0));
  ExpectDistribution(state.at("cls_token"), 0.02, 0);
  EXPECT_TRUE(BitEqual(state.at("norm.weight"), at::ones({64})));
  EXPECT_TRUE(BitEqual(state.at("blocks.1.norm1.bias"), at::zeros({64})));
  EXPECT_TRUE(BitEqual(state.at("blocks.1.attn.qkv.bias"), at::zeros({192})));
  EXPECT_TRUE(BitEqual(state.at("pos_embed"), SinCosPositions(64, 2)));
}

TEST(InitialiseTest, FinetuningFollowsTheRecipe) {
  SmallModel model;
  model.register_module("cls_token_mlp", std::make_shared<Mlp>(64, 256));
  InitialiseFinetuning(model, 5);
  const TensorMap state = Copy(model);
  ExpectDistribution(state.at("blocks.0.attn.qkv.weight"), 0.02, 0);
  ExpectDistribution(state.at("cls_token_mlp.fc2.weight"), 1 / std::sqrt(3.0 * 256), 1 / std::sqrt(256.0));
  ExpectDistribution(state.at("cls_token_mlp.fc1.bias"), 1 / std::sqrt(3.0 * 64), 1 / std::sqrt(64.0));
  ExpectDistribution(state.at("patch_embed.proj.weight"), 1 / std::sqrt(3.0 * 192), 1 / std::sqrt(192.0));
  EXPECT_TRUE(BitEqual(state.at("blocks.0.attn.qkv.bias"), at::zeros({192})));
  EXPECT_TRUE(BitEqual(state.at("norm.weight"), at::ones({64})));
}

}  // namespace
}  // namespace tec
