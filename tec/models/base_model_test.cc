#include "tec/models/base_model.h"

#include <string>

#include "gtest/gtest.h"
#include "tec/testing/golden.h"
#include "tec/testing/tensor_matchers.h"

namespace tec {
namespace {

using testing::BitEqual;
using testing::TensorNear;

// Tolerances of tec/testing/goldens/README.md.
constexpr double kFeatureTolerance = 5e-5;
constexpr double kRelationTolerance = 3e-5;

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

TEST_F(BaseModelTest, BlocksMatchTheReference) {
  BaseModel model(Options(1));
  ASSERT_TRUE(LoadBaseModel(model, golden_.WithPrefix("param.")).ok());
  const std::vector<at::Tensor> outputs = model.BlockOutputs(golden_["in.images"]);
  ASSERT_EQ(outputs.size(), golden_.WithPrefix("out.block.").size());
  for (size_t i = 0; i < outputs.size(); ++i) {
    EXPECT_TRUE(TensorNear(outputs[i], golden_["out.block." + std::to_string(i)], kFeatureTolerance)) << i;
  }
}

TEST_F(BaseModelTest, TargetsMatchTheReference) {
  int cases = 0;
  for (int64_t last_layers = 1; golden_.contains("out.last" + std::to_string(last_layers) + ".fea"); ++last_layers) {
    const std::string prefix = "out.last" + std::to_string(last_layers);
    BaseModel model(Options(last_layers));
    ASSERT_TRUE(LoadBaseModel(model, golden_.WithPrefix("param.")).ok());
    const Targets targets = model.forward(golden_["in.images"]);
    EXPECT_TRUE(TensorNear(targets.features, golden_[prefix + ".fea"], kFeatureTolerance)) << prefix;
    EXPECT_TRUE(BitEqual(targets.idx, golden_[prefix + ".idx"])) << prefix;
    EXPECT_TRUE(TensorNear(targets.relations, golden_[prefix + ".att"], kRelationTolerance)) << prefix;
    EXPECT_FALSE(targets.features.requires_grad());
    ++cases;
  }
  EXPECT_GE(cases, 2);
}

TEST_F(BaseModelTest, GivesNoRelationsUnlessAsked) {
  BaseModelOptions options = Options(2);
  options.top_patches = 0;
  BaseModel model(options);
  ASSERT_TRUE(LoadBaseModel(model, golden_.WithPrefix("param.")).ok());
  const Targets targets = model.forward(golden_["in.images"]);
  EXPECT_TRUE(TensorNear(targets.features, golden_["out.last2.fea"], kFeatureTolerance));
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
