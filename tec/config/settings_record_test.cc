#include "tec/config/settings_record.h"

#include "gtest/gtest.h"
#include "tec/config/experiment.pb.h"
#include "tec/config/finetune.pb.h"

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

TEST(CompareSettingsTest, PathsAndThreadsDoNotCount) {
  config::Experiment other = SomeExperiment();
  other.mutable_data()->set_path("/b");
  other.mutable_data()->set_num_workers(1);
  other.mutable_runtime()->set_threads(1);
  other.mutable_logging()->set_output_dir("/elsewhere");
  other.mutable_checkpointing()->set_save_every_minutes(3);
  const SettingsChanges changes = CompareSettings(SomeExperiment(), other);
  EXPECT_TRUE(changes.refused.empty());
  EXPECT_TRUE(changes.applied.empty());
  EXPECT_EQ(WeightDeciding(SomeExperiment()).DebugString(), WeightDeciding(other).DebugString());
}

TEST(CompareSettingsTest, ShapesAreRefusedTheRestIsListed) {
  config::Experiment other = SomeExperiment();
  other.mutable_model()->mutable_encoder()->set_width(64);
  other.mutable_optimizer()->set_weight_decay(0.1);
  other.mutable_data()->set_mean(1, 0.75);
  other.mutable_schedule()->set_epochs(9);
  other.mutable_data()->set_channels(1);
  const SettingsChanges changes = CompareSettings(SomeExperiment(), other);
  EXPECT_EQ(changes.refused, std::vector<std::string>({"model.encoder.width: 64, was 32", "data.channels: 1, was 3"}));
  EXPECT_EQ(changes.applied,
            std::vector<std::string>({"data.mean: [0.5, 0.75], was [0.5, 0.25]",
                                      "optimizer.weight_decay: 0.1, was 0.05", "schedule.epochs: 9, was unset"}));
}

// Unset means four, in checkpoints from before there was the setting, too.
TEST(CompareSettingsTest, RatioOfMlpsIsAShape) {
  config::Experiment other = SomeExperiment();
  other.mutable_model()->set_mlp_ratio(2);
  const SettingsChanges changes = CompareSettings(SomeExperiment(), other);
  EXPECT_EQ(changes.refused, std::vector<std::string>({"model.mlp_ratio: 2, was unset"}));
  EXPECT_TRUE(changes.applied.empty());
}

TEST(CompareSettingsTest, OtherFilesMakeAnotherRun) {
  config::Experiment other = SomeExperiment();
  EXPECT_TRUE(DifferencesOfRuns(SomeExperiment(), other).empty());
  other.mutable_data()->set_path("/b");
  other.mutable_base_model()->set_path("/base.pth");
  other.mutable_runtime()->set_threads(1);
  other.set_seed(6);
  EXPECT_EQ(DifferencesOfRuns(SomeExperiment(), other),
            std::vector<std::string>(
                {"seed: 6, was 5", "data.path: \"/b\", was \"/a\"", "base_model.path: \"/base.pth\", was "}));
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

config::Finetune SomeFinetune() {
  config::Finetune finetune;
  finetune.set_finetune("/a.pth");
  finetune.set_eval(false);
  finetune.set_nb_classes(10);
  finetune.set_layer_decay(0.75);
  finetune.set_shots(0);
  finetune.set_subset_seed(3);
  finetune.set_model_ema(false);
  finetune.set_model_ema_decay(0.9);
  finetune.mutable_encoder()->set_width(32);
  finetune.mutable_data()->set_sampler("own");
  finetune.mutable_data()->set_train_fraction(1);
  finetune.mutable_schedule()->set_start_epoch(2);
  return finetune;
}

// A setting without effect is not recorded, and what a checkpoint from before it existed lacks is its default.
TEST(CompareSettingsTest, WhatIsNotUsedDoesNotCount) {
  EXPECT_EQ(WeightDeciding(SomeFinetune()).ShortDebugString(),
            "encoder { width: 32 } nb_classes: 10 data { } layer_decay: 0.75 schedule { }");
  config::Finetune other = SomeFinetune();
  other.clear_shots();
  other.set_subset_seed(4);
  other.mutable_data()->clear_sampler();
  EXPECT_TRUE(CompareSettings(SomeFinetune(), other).applied.empty());
  other.set_model_ema(true);
  other.mutable_data()->set_train_fraction(0.5);
  EXPECT_EQ(CompareSettings(SomeFinetune(), other).applied,
            std::vector<std::string>({"data.train_fraction: 0.5, was unset", "subset_seed: 4, was unset",
                                      "model_ema: true, was unset", "model_ema_decay: 0.9, was unset"}));
  other.set_nb_classes(11);
  EXPECT_EQ(CompareSettings(SomeFinetune(), other).refused, std::vector<std::string>({"nb_classes: 11, was 10"}));
}

TEST(CompareLinesTest, NamesWhatIsNotAsItWas) {
  EXPECT_TRUE(CompareLines("lr: 1\nseed: 2", "lr: 1\nseed: 2").empty());
  EXPECT_EQ(CompareLines("lr: 1\nseed: 2", "lr: 3\nseed: 2\ncrop: none"),
            std::vector<std::string>({"lr: 3 (was 1)", "crop: none (was nothing)"}));
}

}  // namespace
}  // namespace tec
