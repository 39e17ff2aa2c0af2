#include "tec/models/begin_from_base.h"

#include <string>

#include "ATen/core/grad_mode.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tec/nn/initialise.h"
#include "tec/nn/module_state.h"
#include "tec/testing/tensor_matchers.h"

namespace tec {
namespace {

using ::testing::AllOf;
using testing::BitEqual;
using ::testing::HasSubstr;

BaseModelOptions Base() { return {{12, 4, 24, 3, 2}, /*last_layers=*/2, /*top_patches=*/2}; }

TecOptions New() {
  TecOptions options;
  options.encoder = {12, 4, 24, 2, 2};
  options.decoder = {16, 1, 2};
  return options;
}

TEST(BeginFromBase, TakesBlocksAndLeavesTheRest) {
  BaseModel base(Base());
  {
    at::NoGradGuard no_gradient;
    for (const auto& [name, tensor] : NamedState(base)) at::Tensor(tensor).normal_();
  }
  TecModel model(New()), before(New());
  InitialisePretraining(model, 3);
  InitialisePretraining(before, 3);
  ASSERT_TRUE(BeginFromBase(base, model).ok());
  const NamedTensors from = NamedState(base), old = NamedState(before), now = NamedState(model);
  const TensorMap weights(from.begin(), from.end());
  int taken = 0;
  for (size_t i = 0; i < now.size(); ++i) {
    const std::string& name = now[i].first;
    const bool of_base = name == "cls_token" || name.rfind("patch_embed.", 0) == 0 || name.rfind("blocks.", 0) == 0;
    taken += of_base;
    EXPECT_TRUE(BitEqual(now[i].second, of_base ? weights.at(name) : old[i].second)) << name;
  }
  EXPECT_EQ(taken, 1 + 2 + 2 * 12);
}

TEST(BeginFromBase, OfAnotherRatioOfMlps) {
  BaseModelOptions base = Base();
  TecOptions own = New();
  base.encoder.variant.hidden = own.encoder.variant.hidden = 2 * own.encoder.width;
  TecModel narrow(own), usual(New());
  InitialisePretraining(narrow, 3);
  InitialisePretraining(usual, 3);
  EXPECT_TRUE(BeginFromBase(BaseModel(base), narrow).ok());
  EXPECT_THAT(std::string(BeginFromBase(BaseModel(base), usual).message()),
              HasSubstr("hidden width of MLPs (--mlp_ratio) 48 and 96"));
  EXPECT_THAT(std::string(BeginFromBase(BaseModel(Base()), narrow).message()), HasSubstr("96 and 48"));
}

TEST(BeginFromBase, ListsWhatDoesNotFit) {
  BaseModelOptions options = Base();
  options.encoder.width = 32;
  options.encoder.depth = 1;
  options.last_layers = 1;
  options.encoder.variant.activation = Activation::kQuickGelu;
  TecModel model(New());
  InitialisePretraining(model, 3);
  EXPECT_THAT(std::string(BeginFromBase(BaseModel(options), model).message()),
              AllOf(HasSubstr("width 32 and 24"), HasSubstr("1 blocks and 2"), HasSubstr("compute otherwise"),
                    HasSubstr("leave --init_from_base out")));
}

}  // namespace
}  // namespace tec
