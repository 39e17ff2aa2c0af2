// What the reference has no numbers for (those: tools/goldens/check_models.cc): other sizes, names, repetition, misuse.

#include "tec/models/tec_model.h"

#include <cmath>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tec/nn/initialise.h"
#include "tec/nn/module_state.h"
#include "tec/testing/tensor_matchers.h"

namespace tec {
namespace {

using testing::BitEqual;
using testing::TensorNear;

TecOptions SmallOptions() {
  TecOptions options;
  options.encoder = {12, 4, 24, 4, 2};
  options.decoder = {16, 1, 2};
  options.mlp_token = true;
  options.pred_att = true;
  return options;
}

TEST(TecModelTest, PredictsInTheSizesOfAnotherBaseModel) {
  TecOptions options = SmallOptions();
  options.target_width = 40;
  options.target_heads = 5;
  TecModel model(options);
  InitialisePretraining(model, 1);
  const at::Tensor idx = at::tensor({3, 0, 8, 1}, at::kLong).view({2, 1, 2});
  const TecOutput output = model.forward(at::ones({2, 3, 12, 12}), at::rand({2, 9}), 0.6, idx);
  EXPECT_EQ(output.feature_prediction.sizes(), at::IntArrayRef({2, 9, 40}));
  EXPECT_EQ(output.relation_logits.sizes(), at::IntArrayRef({2, 1, 3, 5, 9}));

  // The scale is the predicted width's: weights of one against tokens of one give W^2 products, C/H to a head.
  at::NoGradGuard no_grad;
  for (const auto& [name, tensor] : NamedState(model)) {
    if (name == "forward_att_decoder.decoder_qk.weight") at::Tensor(tensor).zero_();
    if (name == "forward_att_decoder.decoder_qk.bias") at::Tensor(tensor).fill_(1);
  }
  const at::Tensor logits = model.forward(at::ones({2, 3, 12, 12}), at::rand({2, 9}), 0.6, idx).relation_logits;
  EXPECT_TRUE(TensorNear(logits, at::full({2, 1, 3, 5, 9}, 8 / std::sqrt(40.0), at::kFloat), 1e-5));
}

TEST(TecModelTest, HasTheReferencesNamesInItsOrder) {
  // Top-level names, each once, in the order of recipe.md section 3.2.
  TecModel model(SmallOptions());
  std::vector<std::string> order;
  for (const auto& [name, tensor] : NamedState(model)) {
    const std::string top = name.substr(0, name.find('.'));
    if (order.empty() || order.back() != top) order.push_back(top);
  }
  EXPECT_EQ(order, (std::vector<std::string>{"cls_token", "pos_embed", "decoder_pos_embed", "patch_embed", "blocks",
                                             "norm", "cls_token_mlp", "encoder_adaptor", "forward_fea_decoder",
                                             "forward_att_decoder", "decoder_blocks"}));
}

TEST(TecModelTest, HasThePublishedNumberOfParameters) {
  // recipe.md section 3.2. Memory that is never touched costs nothing.
  const auto count = [](const TecModel& model) {
    int64_t n = 0;
    for (const auto& [name, tensor] : NamedTrainable(model)) n += tensor.numel();
    return n;
  };
  TecOptions options;
  options.mlp_token = options.pred_att = true;
  options.encoder = {224, 16, 768, 12, 12};
  options.decoder = {512, 2, 16};
  const TecModel base(options);
  EXPECT_EQ(NamedState(base).size(), 221u);
  EXPECT_EQ(count(base), 118342144);
  options.encoder = {224, 16, 1024, 24, 16};
  options.decoder = {768, 2, 16};
  const TecModel large(options);
  EXPECT_EQ(NamedState(large).size(), 389u);
  EXPECT_EQ(count(large), 405200384);
}

TEST(TecModelTest, IsBitEqualBetweenEqualRuns) {
  at::Tensor loss[2], gradient[2];
  for (int run = 0; run < 2; ++run) {
    TecModel model(SmallOptions());
    InitialisePretraining(model, 4);
    const at::Tensor images = at::arange(2 * 3 * 144, at::kFloat).sin().view({2, 3, 12, 12});
    const at::Tensor noise = at::arange(18, at::kFloat).cos().view({2, 9});
    const TecOutput output = model.forward(images, noise, 0.75, at::tensor({3, 0, 8, 1}, at::kLong).view({2, 1, 2}));
    loss[run] = output.feature_prediction.square().mean() + output.relation_logits.square().mean();
    loss[run].backward();
    gradient[run] = model.named_parameters()["patch_embed.proj.weight"].grad();
  }
  EXPECT_TRUE(BitEqual(loss[1], loss[0]));
  EXPECT_TRUE(BitEqual(gradient[1], gradient[0]));
}

TEST(TecModelDeathTest, SaysWhatShapesItTakes) {
  TecModel model(SmallOptions());
  InitialisePretraining(model, 1);
  const at::Tensor images = at::zeros({2, 3, 12, 12});
  EXPECT_DEATH(model.forward(at::zeros({2, 3, 16, 16}), at::zeros({2, 9}), 0.5, {}), "takes images of shape");
  EXPECT_DEATH(model.forward(images, at::zeros({2, 16}), 0.5, {}), "the model needs \\[2, 9\\]");
  EXPECT_DEATH(model.forward(images, at::zeros({2, 9}), 0.5, {}), "selected patches are needed, \\[2, 1, K\\]");
}

}  // namespace
}  // namespace tec
