// LibTorch carries a protobuf of its own. A text file must still be read by ours in a program linked with it.

#include "ATen/Parallel.h"
#include "gtest/gtest.h"
#include "tec/config/config.h"

namespace tec {
namespace {

TEST(WithLibTorch, TextIsReadAndWritten) {
  EXPECT_GE(at::get_num_threads(), 1);  // Keeps the library linked.
  absl::StatusOr<config::Experiment> experiment = LoadExperiment("vit_b_mae_300ep");
  ASSERT_TRUE(experiment.ok()) << experiment.status();
  const config::Experiment resolved = Resolve(*experiment);
  absl::StatusOr<config::Experiment> back = ParseExperiment(ToText(resolved), "text");
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->SerializeAsString(), resolved.SerializeAsString());
  EXPECT_EQ(std::string(ParseExperiment("seeed: 1", "text").status().message()),
            "text:1:1: Experiment has no field named \"seeed\"; did you mean \"seed\"?");
}

}  // namespace
}  // namespace tec
