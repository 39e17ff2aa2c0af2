// What concerns one rank in the middle of an update concerns all, while their gradients travel: a request to stop, a
// loss or a gradient that is not finite, an overflow of float16. Real processes on the loopback device.

#include <signal.h>
#include <stdlib.h>

#include <cmath>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ATen/ATen.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tec/base/file.h"
#include "tec/checkpoint/torch_tensors.h"
#include "tec/dist/forked_ranks.h"
#include "tec/optim/adamw.h"
#include "tec/run/optimizer_state.h"
#include "tec/run/rank_runtime.h"
#include "tec/run/run_context.h"
#include "tec/run/training_loop.h"
#include "tec/run/weight_update.h"

namespace tec {
namespace {

using testing::RunUnmetRanks;

constexpr int64_t kAccum = 2, kUpdates = 4;  // Micro-steps of an update; updates of the only epoch.

// Two layers, trained on numbers of each rank's own, with hooks for what goes wrong on one.
class LayersTask : public Task {
 public:
  struct Settings {
    bool scale_loss = false;
    // What is done to a rank's loss.
    std::function<at::Tensor(int64_t step, const at::Tensor& loss, const at::Tensor& weight)> spoil;
    int64_t left_out = -1;   // An update whose gradients are thrown away.
    bool read_late = false;  // LoopOptions'.
  };
  LayersTask(RunContext& context, Settings settings) : context_(context), settings_(std::move(settings)) {
    for (const char* name : {"first", "second"}) {
      const double phase = name[0] == 'f' ? 0 : 1;
      weights_.emplace_back(name, (at::arange(16, at::kFloat).view({4, 4}) * 0.37 + phase).sin().mul(0.6));
      weights_.back().second.requires_grad_(true);
    }
    ParameterGroup group;
    for (const auto& [name, weight] : weights_) {
      group.names.push_back(name);
      group.parameters.push_back(weight);
    }
    group.weight_decay = 0.05;
    optimizer_.emplace(std::vector<ParameterGroup>{group}, AdamWOptions{0.9, 0.95, 1e-8});
    update_.emplace(*optimizer_, WeightUpdate::Options{kAccum, 0, settings_.scale_loss, &context.group()});
  }

  absl::Status OpenData() override { return absl::OkStatus(); }
  absl::StatusOr<EpochPlan> Open(const LoadedState*) override {
    plan_.images_per_micro_step = context_.group().world_size();
    plan_.dataset_size = kAccum * kUpdates * plan_.images_per_micro_step;
    plan_.steps_per_epoch = kAccum * kUpdates;
    plan_.accum_iter = kAccum;
    return plan_;
  }
  absl::StatusOr<RunPosition> Load(const LoadedState& resume, std::vector<std::string>* changes) override {
    at::NoGradGuard no_grad;
    for (const auto& [name, weight] : weights_) {
      const absl::Status copied = CopyInto(*resume.state.model.Find(name), weight);
      if (!copied.ok()) return copied;
    }
    const absl::Status loaded = LoadOptimizerState(*optimizer_, resume.state.optimizer);
    if (!loaded.ok()) return loaded;
    return LoadPosition(resume, plan_, names_, changes);
  }
  std::vector<std::string> Describe() const override { return {}; }
  const std::vector<std::string>& loss_names() const override { return names_; }
  Loader* loader() override { return nullptr; }
  double LearningRate(double) const override { return 0.01; }
  void StartEpoch(int64_t, int64_t) override {}

  absl::StatusOr<at::Tensor> MicroStep(const MicroStepPlace& place) override {
    const double own = 1 + 0.3 * context_.group().rank();
    const at::Tensor x = (at::arange(8, at::kFloat).view({2, 4}) * own + 0.7 * place.step).cos();
    at::Tensor loss = x.matmul(weights_[0].second).tanh().matmul(weights_[1].second).square().sum();
    if (settings_.spoil) loss = settings_.spoil(place.step, loss, weights_[0].second);
    update_->Backward(loss);
    return loss.detach().view({1});
  }
  absl::StatusOr<UpdateResult> Update(double lr) override {
    const absl::Status averaged = update_->AverageOverRanks();
    if (!averaged.ok()) return averaged;
    if (static_cast<int64_t>(results.size()) == settings_.left_out) {
      for (at::Tensor parameter : optimizer_->parameters()) parameter.mutable_grad().fill_(NAN);
    }
    results.push_back(update_->Finish(lr));
    if (static_cast<int64_t>(results.size()) - 1 == settings_.left_out) results.back().loss_scale = 1;
    return results.back();
  }
  absl::Status FinishEpoch(const RunPosition&, EpochReport*) override { return absl::OkStatus(); }
  ReplicatedTensors Replicated() const override {
    ReplicatedTensors all;
    for (const auto& [name, weight] : weights_) all.emplace_back(name, weight);
    for (const AdamWState& state : optimizer_->state()) {
      all.emplace_back("step", state.step);
      all.emplace_back("exp_avg", state.exp_avg);
      all.emplace_back("exp_avg_sq", state.exp_avg_sq);
    }
    return all;
  }
  TrainingState Save(const RunPosition& position) const override {
    TrainingState state;
    for (const auto& [name, weight] : weights_) EXPECT_TRUE(state.model.Add(name, ViewOf(weight)).ok());
    state.optimizer = OptimizerStateOf(*optimizer_, position.lr, /*with_lr_scale=*/false);
    state.method = "layers";
    SavePosition(position, plan_, names_, &state);
    return state;
  }
  // Of weights and moments, bit for bit.
  std::string Bits() const {
    std::string bits;
    for (const auto& [name, tensor] : Replicated()) absl::StrAppend(&bits, ViewOf(tensor).bytes);
    return absl::BytesToHexString(bits);
  }

  std::vector<UpdateResult> results;

 private:
  RunContext& context_;
  const Settings settings_;
  const std::vector<std::string> names_ = {"loss"};
  EpochPlan plan_;
  std::vector<std::pair<std::string, at::Tensor>> weights_;
  std::optional<AdamW> optimizer_;
  std::optional<WeightUpdate> update_;
};

std::string NewFolder() {
  std::string pattern = ::testing::TempDir() + "/ranksXXXXXX";
  return mkdtemp(pattern.data());
}

struct Outcome {
  absl::StatusOr<LoopResult> result = absl::UnknownError("not run");
  std::vector<UpdateResult> updates;
  std::vector<std::string> bits;  // Of each rank, after a run that ended well.
};

Outcome Train(const LaunchEnvironment& environment, const std::string& folder, const LayersTask::Settings& settings) {
  Outcome outcome;
  RunContext::Options options;
  options.environment = environment;
  options.threads = 1;
  options.quiet = true;
  const auto context = RunContext::Open(options);
  if (!context.ok()) {
    outcome.result = context.status();
    return outcome;
  }
  LayersTask task(**context, settings);
  LoopOptions loop;
  loop.method = "layers";
  loop.data_path = "/numbers";
  loop.output_dir = folder;
  loop.epochs = 1;
  loop.read_late = settings.read_late;
  outcome.result = TrainingLoop(**context, task, loop).Run();
  outcome.updates = task.results;
  if (outcome.result.ok()) {
    const auto all = (*context)->group().Gather(task.Bits(), "bits");
    if (!all.ok()) outcome.result = all.status();
    if (all.ok()) outcome.bits = *all;
  }
  return outcome;
}

bool Prepare(bool bfloat16, const LaunchEnvironment& environment) {
  RankRuntimeOptions runtime;
  runtime.device = "cpu";
  runtime.bfloat16_gradients = bfloat16;
  return PrepareRank(runtime, environment).ok();
}

// The scaled loss of one rank overflows in its first or last micro-step: no rank updates, all halve the scale, and the
// run ends with the bits of one that never had that update. (Scales are powers of two, so that they change no bit.)
TEST(TrainingLoopRanksTest, AnOverflowOnOneRankSkipsTheUpdateOnAll) {
  for (const int ranks : {2, 3}) {
    for (const bool bfloat16 : {false, true}) {
      for (const int64_t micro_step : {0, 1}) {
        const std::string folder = NewFolder();
        RunUnmetRanks(ranks, [&](const LaunchEnvironment& environment) -> std::string {
          if (!Prepare(bfloat16, environment)) return "PrepareRank";
          LayersTask::Settings plain;
          plain.left_out = 1;
          const Outcome without = Train(environment, folder + "/plain", plain);
          if (!without.result.ok()) return without.result.status().ToString();
          if (environment.rank > 0) return "";
          return std::string(WriteFile(folder + "/bits", without.bits[0]).message());
        });
        RunUnmetRanks(ranks, [&](const LaunchEnvironment& environment) -> std::string {
          if (!Prepare(bfloat16, environment)) return "PrepareRank";
          const int victim = environment.world_size - 1 - static_cast<int>(micro_step);
          LayersTask::Settings settings;
          settings.read_late = micro_step == 1;
          settings.scale_loss = true;
          settings.spoil = [&](int64_t step, const at::Tensor& loss, const at::Tensor&) {
            // Finite, and so is its gradient until it is multiplied by the scale.
            return environment.rank == victim && step == kAccum + micro_step ? loss * 1e36 : loss;
          };
          const Outcome scaled = Train(environment, folder + "/scaled", settings);
          if (!scaled.result.ok()) return scaled.result.status().ToString();
          if (scaled.updates.size() != kUpdates) return absl::StrCat(scaled.updates.size(), " updates");
          for (int64_t i = 0; i < kUpdates; ++i) {
            if (scaled.updates[i].skipped != (i == 1)) return absl::StrCat("skipped: ", i);
            if (scaled.updates[i].loss_scale != (i == 0 ? 65536 : 32768)) return absl::StrCat("scale after ", i);
          }
          const auto without = ReadFile(folder + "/bits");
          if (!without.ok()) return without.status().ToString();
          for (const std::string& bits : scaled.bits) {
            if (bits != *without) return "other weights than without the update";
          }
          return "";
        });
      }
    }
  }
}

// Without a scale it is the end, on every rank, with the same words: of the loss before the gradient is looked at.
TEST(TrainingLoopRanksTest, WhatIsNotFiniteOnOneRankEndsAll) {
  for (const int ranks : {2, 3}) {
    for (const int64_t how : {0, 1, 2, 3}) {
      const bool of_loss = how % 2 == 1;
      const std::string folder = NewFolder();
      RunUnmetRanks(ranks, [&](const LaunchEnvironment& environment) -> std::string {
        LayersTask::Settings settings;
        settings.read_late = how >= 2;
        settings.spoil = [&](int64_t step, const at::Tensor& loss, const at::Tensor& weight) {
          if (environment.rank != environment.world_size - 1 || step != 2 * kAccum + 1) return loss;
          // The square root of nothing, whose slope has no limit.
          return of_loss ? loss * NAN : loss + (weight - weight.detach()).sqrt().sum();
        };
        const Outcome outcome = Train(environment, folder, settings);
        const std::string expected =
            of_loss ? "update 3: the loss is not finite at epoch 0, micro-step 5 of 8: loss nan; lr 0.01. "
                    : "update 3: the gradient's norm is inf at epoch 0, micro-step 5 of 8; lr 0.01. ";
        const absl::Status& status = outcome.result.status();
        if (!absl::StartsWith(status.message(), expected + "Stopped without saving")) return status.ToString();
        return outcome.updates.size() == (of_loss ? 2 : 3) ? "" : absl::StrCat(outcome.updates.size(), " updates");
      });
      EXPECT_FALSE(ReadFile(folder + "/this_checkpoint.pth").ok());
    }
  }
}

// In the first micro-step of an update, which is then done again; in the last one, when the gradients are on their way.
TEST(TrainingLoopRanksTest, OneRankIsAskedToStopWhileGradientsTravel) {
  for (const int ranks : {2, 3}) {
    const std::string folder = NewFolder();
    RunUnmetRanks(ranks, [&](const LaunchEnvironment& environment) -> std::string {
      return std::string(Train(environment, folder + "/whole", {}).result.status().message());
    });
    for (const int64_t how : {0, 1, 2, 3}) {
      const int64_t micro_step = how % 2;
      const std::string run = absl::StrCat(folder, "/run", how);
      RunUnmetRanks(ranks, [&](const LaunchEnvironment& environment) -> std::string {
        LayersTask::Settings settings;
        settings.read_late = how >= 2;
        settings.spoil = [&](int64_t step, const at::Tensor& loss, const at::Tensor&) {
          if (environment.rank == environment.world_size - 1 && step == 2 * kAccum + micro_step) raise(SIGTERM);
          return loss;
        };
        const Outcome outcome = Train(environment, run, settings);
        if (!outcome.result.ok()) return outcome.result.status().ToString();
        if (!outcome.result->stopped) return "not stopped";
        const int64_t updates = 2 + micro_step;
        return outcome.result->updates == updates ? "" : absl::StrCat(outcome.result->updates, " updates");
      });
      RunUnmetRanks(ranks, [&](const LaunchEnvironment& environment) -> std::string {
        LayersTask::Settings settings;
        settings.read_late = how >= 2;
        const Outcome outcome = Train(environment, run, settings);
        if (!outcome.result.ok()) return outcome.result.status().ToString();
        return outcome.updates.size() == static_cast<size_t>(kUpdates - 2 - micro_step) ? "" : "did not go on";
      });
      const auto whole = ReadFile(folder + "/whole/this_checkpoint.pth"), got = ReadFile(run + "/this_checkpoint.pth");
      ASSERT_TRUE(whole.ok() && got.ok()) << whole.status() << got.status();
      EXPECT_TRUE(*whole == *got) << ranks << " ranks, micro-step " << micro_step;
    }
  }
}

// A setting of one rank alone would make sums of one type on one and of another on the other.
TEST(TrainingLoopRanksTest, AllSendGradientsOfOneType) {
  const std::string folder = NewFolder();
  RunUnmetRanks(2, [&](const LaunchEnvironment& environment) -> std::string {
    if (!Prepare(environment.rank == 1, environment)) return "PrepareRank";
    const absl::Status status = Train(environment, folder, {}).result.status();
    const std::string expected = environment.rank == 1 ? "--bfloat16_gradients is on here, off on rank 0" : "rank 1: ";
    return absl::StrContains(status.message(), expected) ? "" : status.ToString();
  });
}

}  // namespace
}  // namespace tec
