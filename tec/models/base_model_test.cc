// What the reference has no numbers for; those: tools/goldens/check_models.cc.

#include "tec/models/base_model.h"

#include <string>

#include "gtest/gtest.h"
#include "tec/testing/golden.h"
#include "tec/testing/tensor_matchers.h"

namespace tec {
namespace {

using testing::BitEqual;

class BaseModelTest : public ::testing::Test {
 protected:
  BaseModelOptions Options(int64_t last_layers) const {
    const nlohmann::json config = golden_.metadata("config");
    return {{config["img_size"], config["patch_size"], config["embed_dim"], config["depth"], config["num_heads"]},
            last_layers,
            config["topkatt"]};
  }

  const testing::Golden golden_{"teacher_tiny.safetensors"};
};

TEST_F(BaseModelTest, GivesNoRelationsUnlessAsked) {
  BaseModelOptions options = Options(2);
  options.top_patches = 0;
  BaseModel model(options);
  ASSERT_TRUE(LoadBaseModel(model, golden_.WithPrefix("param.")).ok());
  const Targets targets = model.forward(golden_["in.images"]);
  BaseModel with_relations(Options(2));
  ASSERT_TRUE(LoadBaseModel(with_relations, golden_.WithPrefix("param.")).ok());
  EXPECT_TRUE(BitEqual(targets.features, with_relations.forward(golden_["in.images"]).features));
  EXPECT_FALSE(targets.features.requires_grad());
  EXPECT_FALSE(targets.relations.defined());
  EXPECT_FALSE(targets.idx.defined());
}

TEST_F(BaseModelTest, IsFrozenAndLoadsOnlyWhatFits) {
  BaseModel model(Options(2));
  EXPECT_TRUE(NamedTrainable(model).empty());
  TensorMap state = golden_.WithPrefix("param.");
  state.erase("blocks.0.attn.qkv.bias");
  state["head.weight"] = at::zeros({10, 48});  // Left out by name.
  state["blocks.0.attn.relative"] = at::zeros({3});
  const absl::Status status = LoadBaseModel(model, state);
  EXPECT_NE(std::string(status.message()).find("blocks.0.attn.qkv.bias is missing"), std::string::npos) << status;
  EXPECT_NE(std::string(status.message()).find("blocks.0.attn.relative is unexpected"), std::string::npos) << status;
  EXPECT_EQ(std::string(status.message()).find("head"), std::string::npos) << status;
}

}  // namespace
}  // namespace tec
