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
