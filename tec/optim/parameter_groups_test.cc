// The order of groups, which is that of a checkpoint's indices. Scales and decays of every parameter are compared with
// the reference's by tools/goldens/check_tables.cc and check_trajectories.cc.

#include "tec/optim/parameter_groups.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tec/models/encoder.h"
#include "tec/models/tec_model.h"

namespace tec {
namespace {

TEST(FinetuningGroupsTest, InOrderOfFirstAppearance) {
  FinetuneOptions options;
  options.encoder = {8, 4, 8, 2, 2};
  options.classes = 3;
  options.mlp_token = true;
  const FinetuneModel model(options);
  const std::vector<ParameterGroup> groups =
      FinetuningGroups(NamedTrainable(model), options.encoder.depth, /*weight_decay=*/0.05, /*layer_decay=*/0.5);
  EXPECT_EQ(groups[0].names, std::vector<std::string>{"cls_token"});
  EXPECT_EQ(groups[0].lr_scale, 1);
  EXPECT_EQ(groups[1].names, std::vector<std::string>{"patch_embed.proj.weight"});
  EXPECT_EQ(groups[1].lr_scale, 0.125);
  EXPECT_EQ(groups[2].names, std::vector<std::string>{"patch_embed.proj.bias"});
  for (const ParameterGroup& group : groups) EXPECT_EQ(group.names.size(), group.parameters.size());
}

// Of encoders that the reference has not: tokens are no layer's, as cls_token; tables of positions belong to their
// block.
TEST(FinetuningGroupsTest, OtherProjectsParts) {
  FinetuneOptions options;
  options.encoder = {8, 4, 8, 2, 2};
  options.encoder.variant.registers = 2;
  options.encoder.variant.pre_norm = options.encoder.variant.relative_positions = true;
  options.classes = 3;
  const FinetuneModel model(options);
  const std::vector<ParameterGroup> groups =
      FinetuningGroups(NamedTrainable(model), options.encoder.depth, /*weight_decay=*/0.05, /*layer_decay=*/0.5);
  const auto expect = [&groups](const std::string& name, double lr_scale, double weight_decay) {
    int found = 0;
    for (const ParameterGroup& group : groups) {
      for (const std::string& member : group.names) {
        if (member != name) continue;
        ++found;
        EXPECT_EQ(group.lr_scale, lr_scale) << name;
        EXPECT_EQ(group.weight_decay, weight_decay) << name;
      }
    }
    EXPECT_EQ(found, 1) << name;
  };
  expect("reg_token", 1, 0);
  expect("norm_pre.weight", 1, 0);
  expect("blocks.1.attn.relative_position_bias_table", 0.5, 0);
  expect("blocks.1.attn.qkv.weight", 0.5, 0.05);
  expect("head.weight", 1, 0.05);
}

TEST(PretrainingGroupsTest, WithoutDecayFirst) {
  TecOptions options;
  options.encoder = {8, 4, 8, 3, 2};
  options.decoder = {8, 1, 2};
  options.pred_att = true;
  const TecModel model(options);
  const std::vector<ParameterGroup> groups = PretrainingGroups(NamedTrainable(model), 0.05);
  ASSERT_EQ(groups.size(), 2u);
  EXPECT_EQ(groups[0].weight_decay, 0);
  EXPECT_EQ(groups[1].weight_decay, 0.05);
  EXPECT_EQ(groups[0].names[0], "patch_embed.proj.bias");
  EXPECT_EQ(groups[1].names[0], "cls_token");
  for (const ParameterGroup& group : groups) {
    EXPECT_EQ(group.lr_scale, 1);
    EXPECT_EQ(group.names.size(), group.parameters.size());
  }
}

}  // namespace
}  // namespace tec
