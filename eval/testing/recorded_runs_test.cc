// Pretraining, finetuning and probing beside what was recorded: equal settings give equal weights, moments and averages
// to the last bit. The runs were first those of commit c285c47, the last one with a loop for each of them, and have
// been recorded anew since where fused forward and backward passes (docs/architecture.md), how the base model's
// matrices lie (tec/nn/frozen_layout.h), or the gradient norm, by which some of them clip (tec/optim/gradients.h),
// changed the last bits; the checkpoints are still that commit's, which left them in the middle of an epoch, and are
// gone on from.
//
// recorded/runs.json holds each run's learning rate, loss and gradient norm of every update, and a SHA-256 of every
// tensor of its last checkpoint; recorded/*.pth are checkpoints of that commit. LibTorch's kernels and its BLAS choose
// their order of summation by the processor, so the hashes count on the processor that they were recorded on, named in
// the file; on every other one the trajectories count, to kTolerance. The kernels are held to AVX2 by the BUILD file,
// so that a processor of another generation has a chance of equal hashes; this test says whether it has.
//
// To record anew (only where a change of the last bits is meant): run this test and take runs.json from
// bazel-testlogs/eval/testing/recorded_runs_test/test.outputs/outputs.zip.

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/strings/substitute.h"
#include "eval/finetune/run_finetune.h"
#include "eval/linear/run_linear.h"
#include "eval/testing/tiny.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tec/base/file.h"
#include "tec/base/sha256.h"
#include "tec/checkpoint/training_state.h"
#include "tec/config/config.h"
#include "tec/config/finetune.h"
#include "tec/dist/launch.h"
#include "tec/train/trainer.h"

namespace tec {
namespace {

constexpr char kRecorded[] = "eval/testing/recorded/";

// A float32 sum of n terms in another order differs by about sqrt(n) * 2^-24 of its size; the longest here has 3072
// terms: 3e-6, and single losses average over many of them. Measured over these runs between LibTorch's plain, AVX2 and
// AVX-512 kernels with the BLAS held to each: 1.4e-6 at most. Another learning rate, mask, crop or order of the images
// changes a loss by more than 1e-3.
constexpr double kTolerance = 1e-5;

std::string Processor() {
  std::ifstream file("/proc/cpuinfo");
  std::string result;
  for (std::string line; std::getline(file, line) && !line.empty();) {
    for (const char* key : {"vendor_id", "cpu family", "model\t", "model name"}) {
      if (absl::StartsWith(line, key)) {
        absl::StrAppend(&result, result.empty() ? "" : ", ",
                        absl::StripAsciiWhitespace(line.substr(line.find(':') + 1)));
      }
    }
  }
  return result;
}

// Of every tensor's name and bytes, and of the numbers that decide how training goes on.
std::string HashOf(const std::string& path) {
  const absl::StatusOr<TrainingState> state = LoadTrainingState(path);
  EXPECT_TRUE(state.ok()) << state.status();
  if (!state.ok()) return "";
  std::string all = absl::StrCat(state->epoch, " ", state->next_micro_step, "\n");
  const auto add = [&all](const std::string& name, const TensorView& view) {
    absl::StrAppend(&all, name, " ", Sha256(view.bytes), "\n");
  };
  for (const StateDict* dict : {&state->model, &state->model_ema, &state->extra}) {
    for (const auto& [name, view] : dict->entries()) add(name, view);
  }
  for (const auto& [number, moments] : state->optimizer.moments) {
    absl::StrAppend(&all, number, " ", moments.step, "\n");
    add("exp_avg", moments.exp_avg);
    add("exp_avg_sq", moments.exp_avg_sq);
  }
  for (const OptimizerGroup& group : state->optimizer.groups) {
    absl::StrAppend(&all,
                    absl::StrFormat("%.17g %.17g %.17g\n", group.lr, group.lr_scale.value_or(1), group.weight_decay));
  }
  return Sha256(all);
}

// What decides or shows the course of a run in a log of one JSON object a line.
nlohmann::json Course(const std::string& path) {
  const absl::StatusOr<std::string> text = ReadFile(path);
  EXPECT_TRUE(text.ok() || absl::IsNotFound(text.status())) << text.status();
  nlohmann::json rows = nlohmann::json::array();
  for (const absl::string_view line : absl::StrSplit(text.value_or(""), '\n', absl::SkipEmpty())) {
    const nlohmann::json all = nlohmann::json::parse(line);
    nlohmann::json row;
    for (const char* key : {"update", "epoch", "micro_step", "lr", "loss", "loss_fea", "loss_att", "grad_norm",
                            "train_lr", "train_loss", "test_loss", "test_ema_loss", "updates"}) {
      if (all.contains(key)) row[key] = all[key];
    }
    rows.push_back(row);
  }
  return rows;
}

// `found` is `recorded` without its first `before` lines.
void ExpectClose(const nlohmann::json& found, const nlohmann::json& recorded, size_t before, const std::string& where) {
  ASSERT_EQ(found.size() + before, recorded.size()) << where;
  for (size_t i = 0; i < found.size(); ++i) {
    for (const auto& [key, value] : recorded[i + before].items()) {
      const double is = found[i].at(key).get<double>(), was = value.get<double>();
      EXPECT_NEAR(is, was, kTolerance * std::abs(was)) << where << ", line " << i << ", " << key;
    }
  }
}

// What a stopped run leaves: in recorded/, and in its folder.
constexpr std::pair<const char*, const char*> kCheckpoints[] = {{".pth", "this_checkpoint.pth"},
                                                                {".best.pth", "best_checkpoint.pth"}};

using Stop = std::function<bool(int64_t)>;

class RecordedRunsTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = testing::FreshFolder("recorded");
    testing::WritePictures(folder_ + "/data/train", {"ant", "bee", "cat"}, 10, 1);
    testing::WritePictures(folder_ + "/data/val", {"ant", "bee", "cat"}, 4, 2);
    testing::WriteMaeCheckpoint(folder_ + "/base.pth");
    testing::WriteTecCheckpoint(folder_ + "/tec.pth", /*mlp_token=*/true);
    const absl::StatusOr<std::string> text = ReadFile(absl::StrCat(kRecorded, "runs.json"));
    recorded_ = text.ok() ? nlohmann::json::parse(*text) : nlohmann::json::object();
    found_ = nlohmann::json{{"processor", Processor()}, {"runs", nlohmann::json::object()}};
  }
  static void TearDownTestSuite() {
    if (const char* outputs = std::getenv("TEST_UNDECLARED_OUTPUTS_DIR")) {
      EXPECT_TRUE(WriteFile(absl::StrCat(outputs, "/runs.json"), found_.dump(1) + "\n").ok());
    }
  }

  // Compares the run in folder_/<folder>, which did the updates and epochs after the first ones given, with the
  // recorded one.
  static void Check(const std::string& run, const std::string& folder, int updates_before = 0, int epochs_before = 0) {
    const std::string path = absl::StrCat(folder_, "/", folder), hash = HashOf(path + "/this_checkpoint.pth");
    const nlohmann::json epochs = Course(path + "/log.txt"), updates = Course(path + "/metrics.jsonl");
    if (updates_before == 0) found_["runs"][run] = {{"sha256", hash}, {"epochs", epochs}, {"updates", updates}};
    ASSERT_TRUE(recorded_.contains("runs") && recorded_["runs"].contains(run)) << run << " is not recorded";
    const nlohmann::json& expected = recorded_["runs"][run];
    ExpectClose(epochs, expected["epochs"], epochs_before, folder + "/log.txt");
    // The probes of c285c47 logged epochs alone.
    if (!expected["updates"].empty()) {
      ExpectClose(updates, expected["updates"], updates_before, folder + "/metrics.jsonl");
    }
    // What c285c47 left in the middle has its last bits: what comes of it is near what was recorded, not equal to it.
    if (updates_before > 0) return;
    const std::string recorded_hash = expected["sha256"];
    if (recorded_["processor"] == Processor()) {
      EXPECT_EQ(hash, recorded_hash) << folder;
    } else {
      std::printf("%s: bytes %s those of %s\n", folder.c_str(), hash == recorded_hash ? "equal" : "differ from",
                  recorded_["processor"].get<std::string>().c_str());
    }
  }

  // Puts what c285c47 left of a run that it stopped where a run in folder_/<folder> looks for it.
  static void Recorded(const std::string& run, const std::string& folder) {
    for (const auto& [recorded, name] : kCheckpoints) {
      const absl::StatusOr<std::string> bytes = ReadFile(absl::StrCat(kRecorded, run, recorded));
      if (!bytes.ok() && absl::string_view(recorded) != kCheckpoints[0].first) continue;  // Probes alone need it.
      ASSERT_TRUE(bytes.ok()) << bytes.status();
      ASSERT_TRUE(MakeDirectories(absl::StrCat(folder_, "/", folder)).ok());
      ASSERT_TRUE(WriteFile(absl::StrCat(folder_, "/", folder, "/", name), *bytes).ok());
    }
  }
  // Takes the checkpoints of a stopped run to the outputs, for recording anew.
  static void Keep(const std::string& run, const std::string& folder) {
    const char* outputs = std::getenv("TEST_UNDECLARED_OUTPUTS_DIR");
    for (const auto& [recorded, name] : kCheckpoints) {
      const absl::StatusOr<std::string> bytes = ReadFile(absl::StrCat(folder_, "/", folder, "/", name));
      if (outputs == nullptr || !bytes.ok()) continue;
      ASSERT_TRUE(WriteFile(absl::StrCat(outputs, "/", run, recorded), *bytes).ok());
    }
  }

  // 30 pictures in batches of 4: 7 micro-steps, of which accum_iter: 2 makes 3 updates and leaves one over.
  static std::string PretrainText(config::Method method, const std::string& folder, int batch_size = 4) {
    constexpr char kText[] = R"(
      method: $0
      model {
        name: "custom"
        encoder { image_size: 16 patch_size: 4 width: 16 depth: 3 heads: 2 }
        decoder { width: 8 depth: 1 heads: 2 }
        $1
      }
      $2
      data { path: "$3/data" num_workers: 1 max_bad_fraction: 0 }
      optimizer { batch_size: $5 accum_iter: 2 lr: 3e-3 clip_grad: 0.5 }
      schedule { epochs: 3 warmup_epochs: 1 }
      checkpointing { save_period: 100 }
      logging { output_dir: "$3/$4" }
      runtime { device: "cpu" precision: FLOAT32 threads: 1 }
    )";
    constexpr char kBase[] = R"(
      base_model {
        name: "custom"
        path: "$0/base.pth"
        encoder { image_size: 16 patch_size: 4 width: 16 depth: 3 heads: 2 }
        last_layers: 2
        topkatt: 5
      }
    )";
    return method == config::TEC
               ? absl::Substitute(kText, "TEC", "mlp_token: true pred_att: true", absl::Substitute(kBase, folder_),
                                  folder_, folder, batch_size)
               : absl::Substitute(kText, "MAE", "", "losses { norm_pix_loss: true }", folder_, folder, batch_size);
  }

  static void Pretrain(config::Method method, const std::string& folder, const Stop& stop = nullptr) {
    absl::StatusOr<config::Experiment> experiment = ParseExperiment(PretrainText(method, folder), "test");
    ASSERT_TRUE(experiment.ok()) << experiment.status();
    TrainOptions options;
    options.quiet = true;
    options.stop_after_update = stop;
    options.read_late = read_late_;
    const auto result = Train(Resolve(*experiment), options);
    ASSERT_TRUE(result.ok()) << result.status();
  }

  static void Finetune(const std::string& folder, const Stop& stop = nullptr) {
    absl::StatusOr<config::Finetune> settings = ParseFinetune(absl::Substitute(R"(
      model: "from_checkpoint"
      mlp_token: true
      drop_path: 0.2
      finetune: "$0/tec.pth"
      augmentation { mixup: 0.8 cutmix: 1 reprob: 0.5 aa: "rand-m9-mstd0.5-inc1" }
      optimizer { batch_size: 4 accum_iter: 2 lr: 3e-3 clip_grad: 5 }
      layer_decay: 0.8
      model_ema: true
      model_ema_decay: 0.9
      schedule { epochs: 3 warmup_epochs: 1 }
      data { path: "$0/data" num_workers: 1 }
      logging { output_dir: "$0/$1" }
      runtime { device: "cpu" precision: FLOAT32 threads: 1 }
    )",
                                                                               folder_, folder),
                                                              "test");
    ASSERT_TRUE(settings.ok()) << settings.status();
    RunFinetuneOptions options;
    options.quiet = true;
    options.stop_after_update = stop;
    options.read_late = read_late_;
    const auto result = RunFinetune(Resolve(*settings), options);
    ASSERT_TRUE(result.ok()) << result.status();
  }

  // MAE's probe, or a sweep of four heads with epochs of a length of their own.
  static void Probe(bool sweep, const std::string& folder, const Stop& stop = nullptr) {
    LinearRunOptions options;
    options.frozen.checkpoint = folder_ + "/tec.pth";
    options.frozen.data_path = folder_ + "/data";
    options.frozen.output_dir = absl::StrCat(folder_, "/", folder);
    options.frozen.device = "cpu";
    options.frozen.threads = 1;
    options.protocol = sweep ? "sweep" : "mae";
    options.batch_size = 4;
    options.accum_iter = 2;
    options.epochs = 3;
    options.lr = 0.5;
    options.warmup_epochs = 1;
    options.quiet = true;
    options.stop_after_update = stop;
    options.read_late = read_late_;
    if (sweep) {
      options.features = {kClsFeatures, kPoolFeatures};
      options.rates = {1, 0.1};
      options.batch_norm = false;
      options.optimizer.trust_coefficient = 0;
      options.crop = LinearRunOptions::Crop::kNone;
      options.epoch_length = 4;
    }
    const auto result = RunLinear(options);
    ASSERT_TRUE(result.ok()) << result.status();
  }

  static std::string folder_;
  static bool read_late_;
  static nlohmann::json recorded_, found_;
};

std::string RecordedRunsTest::folder_;
bool RecordedRunsTest::read_late_ = false;
nlohmann::json RecordedRunsTest::recorded_, RecordedRunsTest::found_;

Stop After(int64_t updates) {
  return [updates](int64_t done) { return done == updates; };
}

TEST_F(RecordedRunsTest, PretrainingTec) {
  Pretrain(config::TEC, "tec");
  Check("tec", "tec");
  Pretrain(config::TEC, "tec_stopped", After(4));  // Of 3 an epoch.
  Keep("tec", "tec_stopped");
  Recorded("tec", "tec_resumed");
  Pretrain(config::TEC, "tec_resumed");
  Check("tec", "tec_resumed", 4, 1);
}

TEST_F(RecordedRunsTest, PretrainingMae) {
  Pretrain(config::MAE, "mae");
  Check("mae", "mae");
}

TEST_F(RecordedRunsTest, PretrainingTecByTwoRanks) {
  const std::string config = folder_ + "/two_ranks.textproto";
  ASSERT_TRUE(WriteFile(config, PretrainText(config::TEC, "two_ranks", 2)).ok());
  LaunchRequest request;
  request.command = {"tec/pretrain", "--config=" + config};
  request.ranks = 2;
  request.log_file = folder_ + "/two_ranks.log";
  const absl::StatusOr<int> exit_code = RunRanks(request);
  ASSERT_TRUE(exit_code.ok()) << exit_code.status();
  ASSERT_EQ(*exit_code, 0) << ReadFile(request.log_file).value_or("");
  Check("tec by two ranks", "two_ranks");
}

// As on a GPU.
TEST_F(RecordedRunsTest, ReadLate) {
  read_late_ = true;
  Pretrain(config::TEC, "tec_late", After(4));
  Pretrain(config::TEC, "tec_late");
  Check("tec", "tec_late");
  Finetune("finetune_late", After(4));
  Finetune("finetune_late");
  Check("finetune", "finetune_late");
  Probe(/*sweep=*/true, "sweep_late", After(3));
  Probe(/*sweep=*/true, "sweep_late");
  Check("sweep", "sweep_late");
  read_late_ = false;
}

TEST_F(RecordedRunsTest, Finetuning) {
  Finetune("finetune");
  Check("finetune", "finetune");
  Finetune("finetune_stopped", After(4));
  Keep("finetune", "finetune_stopped");
  Recorded("finetune", "finetune_resumed");
  Finetune("finetune_resumed");
  Check("finetune", "finetune_resumed", 4, 1);
}

TEST_F(RecordedRunsTest, LinearProbe) {
  Probe(false, "linear");
  Check("linear", "linear");
  Probe(false, "linear_stopped", After(4));
  Keep("linear", "linear_stopped");
  Recorded("linear", "linear_resumed");
  Probe(false, "linear_resumed");
  Check("linear", "linear_resumed", 4, 1);
}

TEST_F(RecordedRunsTest, SweepOfHeads) {
  Probe(true, "sweep");
  Check("sweep", "sweep");
  Probe(true, "sweep_stopped", After(6));
  Keep("sweep", "sweep_stopped");
  Recorded("sweep", "sweep_resumed");
  Probe(true, "sweep_resumed");
  Check("sweep", "sweep_resumed", 6, 1);
}

}  // namespace
}  // namespace tec
