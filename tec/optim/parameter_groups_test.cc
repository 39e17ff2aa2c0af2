#include "tec/optim/parameter_groups.h"

#include <cmath>
#include <map>
#include <string>

#include "gtest/gtest.h"
#include "tec/models/encoder.h"
#include "tec/models/tec_model.h"
#include "tec/testing/golden.h"

namespace tec {
namespace {

constexpr double kRelativeTolerance = 1e-12;

void ExpectLayerDecay(const std::string& key, const VitOptions& encoder) {
  SCOPED_TRACE(key);
  const nlohmann::json golden = testing::GoldenJson("layer_decay_groups.json")[key];
  FinetuneOptions options;
  options.encoder = encoder;
  options.classes = 10;
  options.mlp_token = true;
  const FinetuneModel model(options);
  const std::vector<ParameterGroup> groups =
      FinetuningGroups(NamedTrainable(model), encoder.depth, golden["weight_decay"], golden["layer_decay"]);
  EXPECT_EQ(groups.size(), golden["groups"].get<size_t>());
  size_t seen = 0;
  for (const ParameterGroup& group : groups) {
    ASSERT_EQ(group.names.size(), group.parameters.size());
    for (const std::string& name : group.names) {
      ASSERT_TRUE(golden["parameters"].contains(name)) << name;
      const double scale = golden["parameters"][name][0], decay = golden["parameters"][name][1];
      EXPECT_TRUE(std::abs(group.lr_scale - scale) <= kRelativeTolerance * scale) << name;
      EXPECT_EQ(group.weight_decay, decay) << name;
      ++seen;
    }
  }
  EXPECT_EQ(seen, golden["parameters"].size());
  for (const auto& [name, tensor] : NamedState(model)) {
    if (tensor.requires_grad()) continue;
    EXPECT_EQ(golden["frozen"], nlohmann::json::array({name}));
  }
  // In order of first appearance: cls_token, then the patch embedding's weight and bias.
  EXPECT_EQ(groups[0].names, std::vector<std::string>{"cls_token"});
  EXPECT_EQ(groups[1].names, std::vector<std::string>{"patch_embed.proj.weight"});
  EXPECT_EQ(groups[2].names, std::vector<std::string>{"patch_embed.proj.bias"});
}

TEST(FinetuningGroupsTest, MatchTheReference) {
  ExpectLayerDecay("tiny", {32, 8, 32, 3, 4});
  ExpectLayerDecay("vit_base_patch16", {224, 16, 768, 12, 12});
  ExpectLayerDecay("vit_large_patch16", {224, 16, 1024, 24, 16});
}

TEST(PretrainingGroupsTest, MatchTheReference) {
  const testing::Golden golden("pretrain_trajectory.safetensors");
  const nlohmann::json config = golden.metadata("config");
  TecOptions options;
  options.encoder = {config["img_size"], config["patch_size"], config["embed_dim"], config["depth"],
                     config["num_heads"]};
  options.decoder = {config["decoder_embed_dim"], config["decoder_depth"], config["decoder_num_heads"]};
  options.mlp_token = config["mlp_token"];
  options.pred_att = config["pred_att"];
  const TecModel model(options);
  const std::vector<ParameterGroup> groups = PretrainingGroups(NamedTrainable(model), config["weight_decay"]);
  ASSERT_EQ(groups.size(), 2u);
  EXPECT_EQ(groups[0].weight_decay, 0);  // The order of a checkpoint's indices.
  EXPECT_EQ(groups[1].weight_decay, 0.05);
  // Name by name, in the order of the optimiser.
  nlohmann::ordered_json actual;
  for (const ParameterGroup& group : groups) {
    EXPECT_EQ(group.lr_scale, 1);
    for (const std::string& name : group.names) actual[name] = group.weight_decay;
  }
  EXPECT_EQ(nlohmann::json(actual), golden.metadata("weight_decay_by_name"));
  EXPECT_EQ(groups[1].names[0], "cls_token");
}

}  // namespace
}  // namespace tec
