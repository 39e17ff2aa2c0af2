#include "tec/run/settings_record.h"

#include "gtest/gtest.h"

namespace tec {
namespace {

config::Experiment SomeExperiment() {
  config::Experiment experiment;
  experiment.set_method(config::TEC);
  experiment.set_seed(5);
  experiment.mutable_model()->mutable_encoder()->set_width(32);
  experiment.mutable_optimizer()->set_weight_decay(0.05);
  experiment.mutable_data()->set_path("/a");
  experiment.mutable_data()->set_num_workers(4);
  experiment.mutable_data()->set_channels(3);
  experiment.mutable_data()->add_mean(0.5);
  experiment.mutable_data()->add_mean(0.25);
  experiment.mutable_runtime()->set_threads(2);
  experiment.mutable_logging()->set_output_dir("/out");
  return experiment;
}

TEST(CompareExperimentsTest, PathsAndThreadsDoNotCount) {
  config::Experiment other = SomeExperiment();
  other.mutable_data()->set_path("/b");
  other.mutable_data()->set_num_workers(1);
  other.mutable_runtime()->set_threads(1);
  other.mutable_logging()->set_output_dir("/elsewhere");
  other.mutable_checkpointing()->set_save_every_minutes(3);
  const ExperimentChanges changes = CompareExperiments(SomeExperiment(), other);
  EXPECT_TRUE(changes.refused.empty());
  EXPECT_TRUE(changes.applied.empty());
  EXPECT_EQ(WeightDeciding(SomeExperiment()).DebugString(), WeightDeciding(other).DebugString());
}

TEST(CompareExperimentsTest, ShapesAreRefusedTheRestIsListed) {
  config::Experiment other = SomeExperiment();
  other.mutable_model()->mutable_encoder()->set_width(64);
  other.mutable_optimizer()->set_weight_decay(0.1);
  other.mutable_data()->set_mean(1, 0.75);
  other.mutable_schedule()->set_epochs(9);
  other.mutable_data()->set_channels(1);
  const ExperimentChanges changes = CompareExperiments(SomeExperiment(), other);
  EXPECT_EQ(changes.refused, std::vector<std::string>({"model.encoder.width: 64, was 32", "data.channels: 1, was 3"}));
  EXPECT_EQ(changes.applied,
            std::vector<std::string>({"data.mean: [0.5, 0.75], was [0.5, 0.25]",
                                      "optimizer.weight_decay: 0.1, was 0.05", "schedule.epochs: 9, was unset"}));
}

TEST(CompareArgumentsTest, ListsWhatBothHaveAndDiffers) {
  Value now = Value::Dict();
  now.Set("lr", Value::None());
  now.Set("epochs", Value::Int(300));
  now.Set("warmup_epochs", Value::Double(40));
  now.Set("weight_decay", Value::Double(0.05));
  now.Set("pred_att", Value::Bool(true));
  now.Set("basemodel", Value::String("mae1kbase"));
  now.Set("att_tau", Value::Double(1.8));
  std::vector<std::pair<Value, Value>> entries;
  for (const auto& [name, value] : std::vector<std::pair<const char*, Value>>{{"lr", Value::Double(0.1)},
                                                                              {"epochs", Value::Int(100)},
                                                                              {"warmup_epochs", Value::Int(40)},
                                                                              {"weight_decay", Value::Double(0.1)},
                                                                              {"pred_att", Value::Bool(false)},
                                                                              {"basemodel", Value::None()},
                                                                              {"num_workers", Value::Int(10)}}) {
    entries.emplace_back(Value::String(name), value);
  }
  const Value before = Value::Entries(Value::Kind::kObject, entries, "argparse.Namespace");
  EXPECT_EQ(CompareArguments(before, now),
            std::vector<std::string>({"epochs: 300, was 100", "weight_decay: 0.05, was 0.1",
                                      "pred_att: True, was False", "basemodel: mae1kbase, was None"}));
  EXPECT_TRUE(CompareArguments(now, now).empty());
  EXPECT_TRUE(CompareArguments(Value::None(), now).empty());
}

TEST(CompareAdamWTest, NamesWhatIsNotAsItWas) {
  OptimizerState before;
  EXPECT_TRUE(CompareAdamW(before, 0.9, 0.95, 1e-8).empty());
  before.groups.resize(2);
  EXPECT_TRUE(CompareAdamW(before, 0.9, 0.999, 1e-8).empty());
  EXPECT_EQ(CompareAdamW(before, 0.8, 0.95, 1e-6),
            std::vector<std::string>({"optimizer.beta1: 0.8, was 0.9", "optimizer.beta2: 0.95, was 0.999",
                                      "optimizer.epsilon: 1e-06, was 1e-08"}));
}

EpochPosition Position(int64_t next, int64_t images, int64_t accum) { return {next, images, 1000, accum, 5}; }

TEST(ContinueEpochTest, SameImagesWhateverTheRanks) {
  EXPECT_EQ(*ContinueEpoch(Position(6, 64, 2), Position(0, 64, 2)), 6);
  EXPECT_EQ(*ContinueEpoch(Position(6, 64, 2), Position(0, 128, 1)), 3);
  EXPECT_EQ(*ContinueEpoch(Position(6, 64, 2), Position(0, 32, 4)), 12);
}

TEST(ContinueEpochTest, AtTheBoundaryAnythingGoes) {
  EpochPosition now = Position(0, 7, 3);
  now.seed = 6;
  now.dataset_size = 1;
  EXPECT_EQ(*ContinueEpoch(Position(0, 64, 2), now), 0);
}

TEST(ContinueEpochTest, RefusesWhatWouldRepeatOrSkipImages) {
  EXPECT_TRUE(absl::IsInvalidArgument(ContinueEpoch(Position(5, 64, 1), Position(0, 64, 2)).status()));
  EpochPosition now = Position(0, 64, 1);
  now.seed = 6;
  EXPECT_TRUE(absl::IsInvalidArgument(ContinueEpoch(Position(5, 64, 1), now).status()));
  now = Position(0, 64, 1);
  now.dataset_size = 1001;
  EXPECT_TRUE(absl::IsInvalidArgument(ContinueEpoch(Position(5, 64, 1), now).status()));
}

}  // namespace
}  // namespace tec
