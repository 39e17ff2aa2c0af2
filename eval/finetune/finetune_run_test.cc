// RunFinetune: that being stopped, threads and saving change nothing, the average of the weights, each augmentation.

#include <signal.h>

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "eval/finetune/finetune_fixture.h"
#include "eval/finetune/run_finetune.h"
#include "eval/testing/operation_counter.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tec/base/file_operations.h"
#include "tec/checkpoint/training_state.h"

namespace tec {
namespace {

using file_operations::Operation;
using testing::ProgramResult;

class FinetuneRunTest : public FinetuneFixture {};

TEST_F(FinetuneRunTest, ResumingEqualsGoingThrough) {
  RunFinetuneOptions quiet;
  quiet.quiet = true;
  for (const bool ema : {false, true}) {
    const auto settings = [ema](const std::string& out) {
      config::Finetune result = Settings(out);
      result.set_model_ema(ema);
      result.set_model_ema_decay(0.9);
      return result;
    };
    const std::string straight = ema ? "through_ema" : "through";
    const absl::StatusOr<RunFinetuneResult> through = RunFinetune(settings(straight), quiet);
    ASSERT_TRUE(through.ok()) << through.status();
    EXPECT_FALSE(through->stopped);
    EXPECT_EQ(through->updates, 6);
    EXPECT_EQ(through->epochs, 2);
    // Within the first epoch, at its end (all micro-steps done, not evaluated), within the second.
    for (int64_t stop : {1, 3, 5}) {
      const std::string out = absl::StrCat("stopped", stop, ema ? "_ema" : "");
      RunFinetuneOptions options = quiet;
      options.stop_after_update = [stop](int64_t updates) { return updates == stop; };
      const absl::StatusOr<RunFinetuneResult> first = RunFinetune(settings(out), options);
      ASSERT_TRUE(first.ok()) << first.status();
      EXPECT_TRUE(first->stopped);
      EXPECT_EQ(first->updates, stop);
      const absl::StatusOr<RunFinetuneResult> second = RunFinetune(settings(out), quiet);
      ASSERT_TRUE(second.ok()) << second.status();
      EXPECT_FALSE(second->stopped);
      for (const char* file : {"/checkpoint-0.pth", "/checkpoint-1.pth", "/this_checkpoint.pth"}) {
        EXPECT_TRUE(Content(straight + file) == Content(out + file)) << out << file;
      }
      EXPECT_EQ(second->max_accuracy, through->max_accuracy);
      const std::vector<std::string> lines = absl::StrSplit(Content(out + "/log.txt"), '\n', absl::SkipEmpty());
      EXPECT_EQ(lines.size(), 2);
    }
  }
}

// A checkpoint of the reference's script holds args and no experiment.
TEST_F(FinetuneRunTest, WhatChangedSinceTheReferencesCheckpointIsListed) {
  RunFinetuneOptions options;
  options.quiet = true;
  options.stop_after_update = [](int64_t updates) { return updates == 3; };
  config::Finetune settings = Settings("official");
  settings.mutable_schedule()->set_epochs(1);
  ASSERT_TRUE(RunFinetune(settings, options).ok());
  absl::StatusOr<TrainingState> state = LoadTrainingState(folder_ + "/official/this_checkpoint.pth");
  ASSERT_TRUE(state.ok()) << state.status();
  state->method = state->experiment = "";
  state->epoch = 0;
  state->next_micro_step = 0;
  state->counters.clear();
  state->numbers.clear();
  state->args.Set("layer_decay", Value::Double(0.5));
  for (OptimizerGroup& group : state->optimizer.groups) group.beta2 = 0.95;
  ASSERT_TRUE(SaveTrainingState(folder_ + "/official.pth", *state).ok());
  const ProgramResult result = Run(Arguments("goes_on") + "--config=" + folder_ + "/official/experiment.textproto " +
                                   "--epochs=2 --layer_decay=0.75 --resume=" + folder_ + "/official.pth");
  ASSERT_EQ(result.exit_code, 0) << result.output;
  const std::string listed = "changed since the checkpoint, and applied from here on: ";
  EXPECT_NE(result.output.find(listed + "layer_decay: 0.75, was 0.5"), std::string::npos) << result.output;
  EXPECT_NE(result.output.find(listed + "optimizer.beta2: 0.999, was 0.95"), std::string::npos) << result.output;
  EXPECT_NE(result.output.find(listed + "epochs: 2, was 1"), std::string::npos) << result.output;
  // Of what is as it was nothing.
  EXPECT_EQ(result.output.find(listed + "drop_path"), std::string::npos) << result.output;
  EXPECT_EQ(result.output.find(listed + "optimizer.beta1"), std::string::npos) << result.output;
}

// Not one checkpoint is written by the thread that trains.
TEST_F(FinetuneRunTest, SavesBesideTheTraining) {
  RunFinetuneOptions quiet;
  quiet.quiet = true;
  const testing::OperationCounter files;
  const absl::StatusOr<RunFinetuneResult> result = RunFinetune(Settings("beside"), quiet);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->checkpoint, folder_ + "/beside/checkpoint-1.pth");
  EXPECT_EQ(files.Here(Operation::kLink), 0);
  // this_checkpoint keeps the one before it by a link: before and after the evaluation of two epochs. Of the three
  // states that go into several files, the numbered ones and the best, each is written once and linked.
  EXPECT_EQ(files.Beside(Operation::kLink), 7);
  EXPECT_GE(files.Beside(Operation::kOpen), 4);
}

// From checkpoint to checkpoint: after each update the average is decay x itself + (1 - decay) x the weights, and it
// began with the weights of --finetune.
TEST_F(FinetuneRunTest, AveragesTheWeights) {
  constexpr double kDecay = 0.75;
  config::Finetune settings = Settings("average");
  settings.set_model_ema(true);
  settings.set_model_ema_decay(kDecay);
  std::vector<float> expected;
  for (int64_t stop = 1; stop <= 3; ++stop) {
    RunFinetuneOptions options;
    options.quiet = true;
    options.stop_after_update = [stop](int64_t updates) { return updates == stop; };
    ASSERT_TRUE(RunFinetune(settings, options).ok());
    const absl::StatusOr<TrainingState> state = LoadTrainingState(folder_ + "/average/this_checkpoint.pth");
    ASSERT_TRUE(state.ok()) << state.status();
    ASSERT_EQ(state->model_ema.size(), state->model.size());
    std::vector<float> weights, average;
    for (const auto& [name, tensor] : state->model) {
      const TensorView* averaged = state->model_ema.Find(name);
      ASSERT_NE(averaged, nullptr) << name;
      for (const float value : tensor.Values<float>()) weights.push_back(value);
      for (const float value : averaged->Values<float>()) average.push_back(value);
    }
    if (stop == 1) {
      const absl::StatusOr<TrainingState> start = LoadTrainingState(folder_ + "/tec.pth");
      const std::vector<float> token = start->model.Find("cls_token")->Values<float>();
      const std::vector<float> now = state->model.Find("cls_token")->Values<float>();
      const std::vector<float> averaged = state->model_ema.Find("cls_token")->Values<float>();
      for (size_t i = 0; i < token.size(); ++i) {
        EXPECT_NE(now[i], token[i]);
        EXPECT_NEAR(averaged[i], kDecay * token[i] + (1 - kDecay) * now[i], 1e-7) << i;
      }
    } else {
      for (size_t i = 0; i < weights.size(); ++i) {
        // A few float32 roundings of values of at most about 1.
        ASSERT_NEAR(average[i], kDecay * expected[i] + (1 - kDecay) * weights[i], 5e-7) << i;
      }
    }
    expected = average;
  }
}

TEST_F(FinetuneRunTest, TheAverageIsEvaluatedTooAndAlone) {
  const std::string tec = "--mlp_token --epochs=2 --drop_path=0 --finetune=" + folder_ + "/tec.pth ";
  const ProgramResult result = Run(Arguments("ema") + tec + "--model_ema --model_ema_decay=0.8");
  ASSERT_EQ(result.exit_code, 0) << result.output;
  // Six updates: 0.8^6.
  EXPECT_NE(result.output.find("after all epochs 26 % of it are the starting weights"), std::string::npos)
      << result.output;
  const std::vector<std::string> lines = absl::StrSplit(Content("ema/log.txt"), '\n', absl::SkipEmpty());
  ASSERT_EQ(lines.size(), 2u);
  const nlohmann::json last = nlohmann::json::parse(lines.back());
  EXPECT_NE(last.at("test_ema_loss"), last.at("test_loss"));
  EXPECT_EQ(last.at("test_ema_acc5"), 100);
  EXPECT_GE(last.at("max_ema_accuracy"), last.at("test_ema_acc1"));

  const std::string eval = Arguments("ema_eval") + "--mlp_token --eval --model_ema --resume=" + folder_;
  const ProgramResult both = Run(eval + "/ema/this_checkpoint.pth");
  ASSERT_EQ(both.exit_code, 0) << both.output;
  for (const auto& [line, name] :
       {std::pair<const char*, const char*>{"\n* Acc@1 ", "test_"}, {"\nmodel_ema: * Acc@1 ", "test_ema_"}}) {
    const std::string expected = absl::StrFormat(
        "%s%.3f Acc@5 %.3f loss %.3f", line, last.at(absl::StrCat(name, "acc1")).get<double>(),
        last.at(absl::StrCat(name, "acc5")).get<double>(), last.at(absl::StrCat(name, "loss")).get<double>());
    EXPECT_NE(both.output.find(expected), std::string::npos) << expected << "\n" << both.output;
  }

  EXPECT_EQ(nlohmann::json::parse(Content("ema_eval/results.json")).at("model_ema").at("accuracy").at("loss"),
            last.at("test_ema_loss"));

  // A run without it has none to evaluate; to go on from, its weights will do.
  ASSERT_EQ(Run(Arguments("no_ema") + tec + "--epochs=1").exit_code, 0);
  const ProgramResult none = Run(eval + "/no_ema/this_checkpoint.pth");
  EXPECT_EQ(none.exit_code, 1);
  EXPECT_NE(none.output.find("no_ema/this_checkpoint.pth has no model_ema"), std::string::npos) << none.output;
  const ProgramResult on = Run(Arguments("no_ema") + tec + "--model_ema");
  EXPECT_EQ(on.exit_code, 0) << on.output;
  EXPECT_NE(on.output.find("model_ema: begins with the weights of "), std::string::npos) << on.output;
}

// Everything random is on; the number of loader threads changes no byte.
TEST_F(FinetuneRunTest, ThreadsChangeNothing) {
  RunFinetuneOptions quiet;
  quiet.quiet = true;
  for (const int threads : {1, 3}) {
    config::Finetune settings = Settings(absl::StrCat("threads", threads));
    settings.mutable_data()->set_num_workers(threads);
    settings.mutable_schedule()->set_epochs(1);
    ASSERT_TRUE(RunFinetune(settings, quiet).ok());
  }
  EXPECT_TRUE(Content("threads1/checkpoint-0.pth") == Content("threads3/checkpoint-0.pth"));
}

// Each of them reaches the pixels or the targets: without it the first loss is another one.
TEST_F(FinetuneRunTest, EachAugmentationIsApplied) {
  RunFinetuneOptions quiet;
  quiet.quiet = true;
  const auto first_loss = [&](const std::string& out, const std::function<void(config::Augmentation*)>& change) {
    config::Finetune settings = Settings(out);
    settings.mutable_schedule()->set_epochs(1);
    settings.set_drop_path(0);
    config::Augmentation* augmentation = settings.mutable_augmentation();
    augmentation->set_reprob(1);
    change(augmentation);
    EXPECT_TRUE(RunFinetune(settings, quiet).ok());
    const std::string lines = Content(out + "/metrics.jsonl");
    return nlohmann::json::parse(lines.substr(0, lines.find('\n')))["loss"].get<double>();
  };
  const double all = first_loss("all", [](auto*) {});
  EXPECT_EQ(first_loss("again", [](auto*) {}), all);
  EXPECT_NE(first_loss("no_aa", [](auto* a) { a->set_aa(""); }), all);
  EXPECT_NE(first_loss("no_erasing", [](auto* a) { a->set_reprob(0); }), all);
  EXPECT_NE(first_loss("no_mixing", [](auto* a) { a->set_mixup_prob(0); }), all);
  EXPECT_NE(first_loss("no_smoothing", [](auto* a) { a->set_smoothing(0); }), all);
  const double jitter = first_loss("jitter", [](auto* a) {
    a->set_aa("");
    a->set_color_jitter(0.4);
  });
  EXPECT_NE(jitter, all);
  EXPECT_NE(jitter, first_loss("no_jitter", [](auto* a) { a->set_aa(""); }));
}

TEST_F(FinetuneRunTest, ASignalStopsAfterSaving) {
  RunFinetuneOptions options;
  options.quiet = true;
  options.stop_after_update = [](int64_t updates) {
    if (updates == 1) raise(SIGTERM);  // Noticed at the next micro-step, which is given up.
    return false;
  };
  const absl::StatusOr<RunFinetuneResult> result = RunFinetune(Settings("signal"), options);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->stopped);
  EXPECT_EQ(result->updates, 1);
  const absl::StatusOr<TrainingState> state = LoadTrainingState(folder_ + "/signal/this_checkpoint.pth");
  ASSERT_TRUE(state.ok()) << state.status();
  EXPECT_EQ(state->epoch, -1);
  EXPECT_EQ(state->next_micro_step, 2);
}

}  // namespace
}  // namespace tec
