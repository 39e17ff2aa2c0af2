#include "tec/config/rows.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tec/config/config.h"
#include "tec/config/finetune.h"

namespace tec {
namespace {

using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

TEST(Rows, AreTheSixOfTheTable) {
  std::vector<std::pair<std::string, double>> found;
  for (const std::string& name : RowNames()) {
    const absl::StatusOr<config::Row> row = LoadRow(name);
    ASSERT_TRUE(row.ok()) << row.status();
    EXPECT_EQ(row->name(), name);
    found.emplace_back(name, row->top1());
  }
  EXPECT_THAT(found, UnorderedElementsAre(Pair("vit_b_mae300ep_100ep", 83.9), Pair("vit_b_mae_300ep", 84.7),
                                          Pair("vit_b_mae_800ep", 84.8), Pair("vit_b_ibot_300ep", 84.8),
                                          Pair("vit_b_ibot_800ep", 85.1), Pair("vit_l_mae_300ep", 86.5)));
}

// Every row has all its fields, and its experiments are sound, with the batch that its number of processes makes: 4096
// pretraining, 1024 finetuning.
TEST(Rows, HoldSoundExperiments) {
  for (const std::string& name : RowNames()) {
    SCOPED_TRACE(name);
    const config::Row row = *LoadRow(name);
    for (int i = 0; i < config::Row::descriptor()->field_count(); ++i) {
      EXPECT_TRUE(row.GetReflection()->HasField(row, config::Row::descriptor()->field(i)))
          << config::Row::descriptor()->field(i)->name();
    }
    EXPECT_EQ(row.pretrain().name(), name);
    EXPECT_EQ(row.finetune().name(), name);
    EXPECT_TRUE(Validate(Resolve(row.pretrain()), Paths::kOptional).ok());
    EXPECT_TRUE(Validate(Resolve(row.finetune()), Paths::kOptional).ok());
    EXPECT_EQ(row.pretrain().optimizer().batch_size() * row.pretrain().optimizer().accum_iter() * row.ranks(), 4096);
    EXPECT_EQ(row.finetune().optimizer().batch_size() * row.finetune().optimizer().accum_iter() * row.ranks(), 1024);
  }
}

// A row's own file, changed, is what --config takes.
TEST(Rows, AFileOfOneIsBothExperiments) {
  const std::string head = "# proto-message: tec.config.Row\nname: 'mine'\n";
  const std::string text = head + "pretrain { seed: 11 }\nfinetune { seed: 12 layer_decay: 0.5 }";
  EXPECT_EQ(ParseExperiment(text, "mine")->seed(), 11);
  EXPECT_EQ(ParseExperiment(text, "mine")->schedule().epochs(), 400);  // Over the reference's.
  EXPECT_EQ(ParseFinetune(text, "mine")->seed(), 12);
  EXPECT_EQ(std::string(ParseExperiment(head, "mine").status().message()), "mine: this row has no \"pretrain\"");
  EXPECT_EQ(std::string(ParseFinetune(head, "mine").status().message()), "mine: this row has no \"finetune\"");
  EXPECT_THAT(std::string(ParseExperiment(head + "pretrain { sed: 1 }", "mine").status().message()),
              HasSubstr("mine:3:12: Experiment has no field named \"sed\"; did you mean \"seed\"?"));
}

TEST(Rows, TellTheNearestName) {
  const absl::Status status = LoadRow("vit_b_mae_30ep").status();
  EXPECT_TRUE(absl::IsNotFound(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("did you mean \"vit_b_mae_300ep\"?"));
}

TEST(MiniChain, IsSoundAndFitsTogether) {
  const MiniChain chain = LoadMiniChain();
  EXPECT_TRUE(Validate(Resolve(chain.mae), Paths::kOptional).ok()) << Validate(Resolve(chain.mae), Paths::kOptional);
  EXPECT_TRUE(Validate(Resolve(chain.tec), Paths::kOptional).ok()) << Validate(Resolve(chain.tec), Paths::kOptional);
  EXPECT_TRUE(Validate(Resolve(chain.finetune), Paths::kOptional).ok());
  const std::string shape = chain.mae.model().encoder().DebugString();
  EXPECT_EQ(chain.tec.model().encoder().DebugString(), shape);
  EXPECT_EQ(chain.tec.base_model().encoder().DebugString(), shape);
  EXPECT_EQ(chain.finetune.encoder().DebugString(), shape);
}

}  // namespace
}  // namespace tec
