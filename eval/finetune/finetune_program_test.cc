// The program from command line to accuracy, what it says to bad input, and that ranks train as one.

#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "eval/finetune/finetune_fixture.h"
#include "eval/testing/readable_subset.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tec/checkpoint/training_state.h"
#include "tec/dist/launch.h"
#include "tec/testing/equal_runs.h"

namespace tec {
namespace {

using testing::ProgramResult;

class FinetuneProgramTest : public FinetuneFixture {};

TEST_F(FinetuneProgramTest, TrainsEvaluatesAndLeavesItsFiles) {
  const ProgramResult result = Run(
      Arguments("tec") + "--mlp_token --epochs=25 --drop_path=0 --save_period=20 --finetune=" + folder_ + "/tec.pth");
  ASSERT_EQ(result.exit_code, 0) << result.output;
  EXPECT_NE(result.output.find("* Acc@1 "), std::string::npos) << result.output;
  EXPECT_NE(result.output.find("Max accuracy: "), std::string::npos) << result.output;
  EXPECT_NE(result.output.find("--nb_classes is not given: 3"), std::string::npos) << result.output;

  const std::vector<std::string> lines = absl::StrSplit(Content("tec/log.txt"), '\n', absl::SkipEmpty());
  ASSERT_EQ(lines.size(), 25);
  const nlohmann::ordered_json last = nlohmann::ordered_json::parse(lines.back());
  std::vector<std::string> keys;
  for (const auto& item : last.items()) keys.push_back(item.key());
  keys.resize(7);
  EXPECT_EQ(keys, (std::vector<std::string>{"train_lr", "train_loss", "test_loss", "test_acc1", "test_acc5", "epoch",
                                            "n_parameters"}));
  EXPECT_EQ(last["epoch"], 24);
  EXPECT_EQ(last["test_acc5"], 100);
  // Width 16, depth 3, patches of 48 values, 3 classes: patch embedding 48*16+16; a block 12*16*16+13*16; cls_token 16;
  // its MLP 8*16*16+5*16; fc_norm 32; head 3*16+3. The position table is frozen.
  EXPECT_EQ(last["n_parameters"], 784 + 3 * (12 * 256 + 13 * 16) + 16 + 8 * 256 + 80 + 32 + 51);
  // Stripes under crops and flips; chance is 33.
  EXPECT_GE(last["max_accuracy"].get<double>(), 66);
  for (const char* file : {"this_checkpoint.pth", "checkpoint-0.pth", "checkpoint-20.pth", "checkpoint-24.pth",
                           "best_checkpoint.pth", "experiment.textproto", "metrics.jsonl"}) {
    EXPECT_TRUE(std::filesystem::exists(folder_ + "/tec/" + file)) << file;
  }

  // The best checkpoint, evaluated alone, has the accuracy that was reported for it.
  const ProgramResult eval =
      Run(Arguments("eval") + "--mlp_token --eval --resume=" + folder_ + "/tec/best_checkpoint.pth");
  ASSERT_EQ(eval.exit_code, 0) << eval.output;
  const std::string best =
      absl::StrCat("* Acc@1 ", nlohmann::json::parse(lines.back())["max_accuracy"].dump().substr(0, 4));
  EXPECT_NE(eval.output.find(best), std::string::npos) << best << "\n" << eval.output;
  // It leaves its results, an index of the data set where one is worth keeping, and nothing else. The training left the
  // results of its last epoch.
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder_ + "/eval")) {
    if (entry.path().extension() == ".index") continue;
    EXPECT_EQ(entry.path().filename(), "results.json");
    ++files;
  }
  EXPECT_EQ(files, 1);
  for (const std::string out : {"tec", "eval"}) {
    const nlohmann::json results = nlohmann::json::parse(Content(out + "/results.json"));
    const nlohmann::json& accuracy = results.at("accuracy");
    EXPECT_EQ(results.at("checkpoint"),
              folder_ + (out == "tec" ? "/tec/this_checkpoint.pth" : "/tec/best_checkpoint.pth"));
    EXPECT_EQ(results.at("test_images"), 9);
    EXPECT_EQ(accuracy.at("top1").get<double>(), last[out == "tec" ? "test_acc1" : "max_accuracy"].get<double>());
    EXPECT_EQ(accuracy.at("classes"), (std::vector<std::string>{"ant", "bee", "cat"}));
    int64_t images = 0, right = 0;
    for (size_t label = 0; label < 3; ++label) {
      for (const auto& count : accuracy.at("confusion")[label]) images += count.get<int64_t>();
      right += accuracy.at("confusion")[label][label].get<int64_t>();
    }
    EXPECT_EQ(images, 9);
    EXPECT_NEAR(100.0 * static_cast<double>(right) / 9, accuracy.at("top1").get<double>(), 1e-9);
    EXPECT_LE(accuracy.at("calibration_error").get<double>(), 1);
  }
  EXPECT_EQ(nlohmann::json::parse(Content("tec/results.json")).at("epoch"), 24);
  for (const std::string& output : {result.output, eval.output}) {
    EXPECT_NE(output.find("calibration error"), std::string::npos) << output;
    EXPECT_NE(output.find("most often taken for another:"), std::string::npos) << output;
  }
}

// One encoder in every form that finetuning starts from. The first update's loss and gradient, which only the start
// decides, are the same. Of two encoders: that of a checkpoint as the reference writes it, with its own conversion of
// it; and that of this project's checkpoint, with what //tools:convert makes of it.
TEST_F(FinetuneProgramTest, ClassesMayBeCalledAnything) {
  testing::WritePictures(folder_ + "/odd/train", {"caf\xE9", "bee"}, 4, 1);
  testing::WritePictures(folder_ + "/odd/val", {"caf\xE9", "bee"}, 2, 2);
  const ProgramResult result = Run(absl::StrCat(Arguments("odd_out"), "--mlp_token --epochs=1 --finetune=", folder_,
                                                "/tec.pth --data_path=", folder_, "/odd"));
  ASSERT_EQ(result.exit_code, 0) << result.output;
  EXPECT_EQ(result.output.find('\xE9'), std::string::npos) << result.output;
  EXPECT_EQ(nlohmann::json::parse(Content("odd_out/results.json")).at("accuracy").at("classes"),
            nlohmann::json({"bee", "caf\\xe9"}));
  EXPECT_TRUE(std::filesystem::exists(folder_ + "/odd_out/this_checkpoint.pth"));
}

TEST_F(FinetuneProgramTest, StartsFromEveryForm) {
  struct First {
    double loss, grad_norm;
  };
  const auto first = [](const std::string& out, const std::string& finetune) -> First {
    const ProgramResult result = Run(Arguments(out) + "--epochs=1 --drop_path=0 --smoothing=0 --finetune=" + finetune);
    EXPECT_EQ(result.exit_code, 0) << result.output;
    if (result.exit_code != 0) return {};
    const std::string lines = Content(out + "/metrics.jsonl");
    const nlohmann::json line = nlohmann::json::parse(lines.substr(0, lines.find('\n')));
    return {line["loss"], line["grad_norm"]};
  };
  const auto convert = [](const std::string& arguments) {
    const ProgramResult result = testing::RunProgram(
        "tools/convert/convert",
        absl::StrCat("--resume=", folder_, "/tec.pth --mlp_token --output_dir=", folder_, "/converted ", arguments));
    EXPECT_EQ(result.exit_code, 0) << result.output;
  };
  convert("--ckptname=tec.pth");
  convert("--ckptname=tec.safetensors");
  convert("--to=mae --ckptname=mae.pth");
  convert("--to=hf --ckptname=hf.safetensors");
  const std::string reference = "tec/testing/goldens/weight_convert/", own = folder_ + "/converted/";

  struct Encoder {
    std::string whole;                   // Has cls_token_mlp.
    std::vector<std::string> converted;  // Have it folded into cls_token.
  };
  for (const Encoder& encoder :
       {Encoder{reference + "pretrain.pth --mlp_token --heads=2",
                {reference + "converted.pth --heads=2", reference + "converted.safetensors --heads=2"}},
        Encoder{folder_ + "/tec.pth --mlp_token",
                {own + "tec.pth --heads=2", own + "tec.safetensors --heads=2", own + "mae.pth --heads=2",
                 own + "hf.safetensors --heads=2"}}}) {
    const First whole = first("start", encoder.whole);
    std::filesystem::remove_all(folder_ + "/start");
    std::vector<First> starts;
    for (const std::string& file : encoder.converted) {
      SCOPED_TRACE(file);
      starts.push_back(first("start", file));
      std::filesystem::remove_all(folder_ + "/start");
      // Two float32 roundings of log 3, near which every start's loss is, for the head begins with weights of 2e-5:
      // what another encoder makes of it is ten times that and more.
      EXPECT_NEAR(starts.back().loss, whole.loss, 2.4e-7);
      // The gradient is the head's, as large as the features are: they agree to rounding.
      EXPECT_NEAR(starts.back().grad_norm, starts.front().grad_norm, starts.front().grad_norm * 1e-5);
    }
  }

  // The epsilon of Hugging Face's norms, 1e-12 where the config.json beside the file does not say otherwise, goes on in
  // the checkpoint, and with the run that is resumed.
  std::filesystem::remove(own + "config.json");
  for (const int epochs : {1, 2}) {
    const ProgramResult run =
        Run(Arguments("hf_run") + absl::StrCat("--epochs=", epochs, " --heads=2 --finetune=", own, "hf.safetensors"));
    EXPECT_EQ(run.exit_code, 0) << run.output;
    const absl::StatusOr<TrainingState> state = LoadTrainingState(folder_ + "/hf_run/this_checkpoint.pth");
    ASSERT_TRUE(state.ok()) << state.status();
    EXPECT_EQ(state->epoch, epochs - 1);
    EXPECT_NE(state->experiment.find("norm_epsilon: 1e-12"), std::string::npos) << state->experiment;
  }

  // Nothing in a converted file of that width says how many heads there are.
  const ProgramResult untold = Run(Arguments("start") + "--finetune=" + own + "tec.pth");
  EXPECT_EQ(untold.exit_code, 1) << untold.output;
  EXPECT_NE(untold.output.find("give --heads"), std::string::npos) << untold.output;
  const ProgramResult other = Run(Arguments("start") + "--mlp_token --heads=4 --finetune=" + folder_ + "/tec.pth");
  EXPECT_EQ(other.exit_code, 1) << other.output;
  EXPECT_NE(other.output.find("--heads=4, but "), std::string::npos) << other.output;
}

// A loss that is no number ends the run; what was saved before stays as it is.
TEST_F(FinetuneProgramTest, ALossThatIsNoNumberSavesNothing) {
  const std::string common = "--mlp_token --epochs=1 --drop_path=0 --finetune=" + folder_ + "/tec.pth ";
  ASSERT_EQ(Run(Arguments("nan") + common).exit_code, 0);
  std::map<std::string, std::string> before;
  for (const auto& entry : std::filesystem::directory_iterator(folder_ + "/nan")) {
    const std::string name = entry.path().filename();
    if (entry.path().extension() == ".pth") before[name] = Content("nan/" + name);
  }
  EXPECT_EQ(before.count("this_checkpoint.pth"), 1u);
  EXPECT_EQ(before.count("best_checkpoint.pth"), 1u);
  const ProgramResult result = Run(Arguments("nan") + common + "--epochs=2 --lr=1e30");
  EXPECT_EQ(result.exit_code, 2) << result.output;
  for (const std::string& part :
       {std::string("the loss is "), std::string(" at epoch 1, micro-step "), std::string("Stopped without saving"),
        "the newest checkpoint, from before, is " + folder_ + "/nan/this_checkpoint.pth",
        std::string("A lower --blr, --precision=float32 or --clip_grad may help")}) {
    EXPECT_NE(result.output.find(part), std::string::npos) << part << "\n" << result.output;
  }
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder_ + "/nan")) {
    const std::string name = entry.path().filename();
    if (entry.path().extension() != ".pth") continue;
    ++files;
    EXPECT_TRUE(before.count(name) == 1 && before[name] == Content("nan/" + name)) << name;
  }
  EXPECT_EQ(files, static_cast<int>(before.size()));

  const ProgramResult none = Run(Arguments("nan_at_once") + common + "--lr=1e30");
  EXPECT_EQ(none.exit_code, 2) << none.output;
  EXPECT_NE(none.output.find("the newest checkpoint, from before, is none"), std::string::npos) << none.output;
  EXPECT_FALSE(std::filesystem::exists(folder_ + "/nan_at_once/this_checkpoint.pth"));
}

// What a run would go on from is looked at as a base model is.
TEST_F(FinetuneProgramTest, GoesOnFromNoWeightsThatAreNoNumbers) {
  const std::string common = "--mlp_token --drop_path=0 --finetune=" + folder_ + "/tec.pth ";
  ASSERT_EQ(Run(Arguments("infinite") + common + "--epochs=1").exit_code, 0);
  const std::string path = folder_ + "/infinite/this_checkpoint.pth";
  absl::StatusOr<TrainingState> state = LoadTrainingState(path);
  ASSERT_TRUE(state.ok()) << state.status();
  TensorView& moment = state->optimizer.moments.at(0).exp_avg_sq;
  std::vector<float> values = moment.Values<float>();
  values[1] = -std::numeric_limits<float>::infinity();
  moment = TensorView::FromFloats(moment.shape, values);
  ASSERT_TRUE(SaveTrainingState(path, *state).ok());
  const ProgramResult result = Run(Arguments("infinite") + common + "--epochs=2");
  EXPECT_EQ(result.exit_code, 1) << result.output;
  EXPECT_NE(result.output.find(path + ": exp_avg_sq of the optimizer's parameter 0 has 1 of 16 values that are not "
                                      "finite, the first -inf at [0,0,1]"),
            std::string::npos)
      << result.output;
}

// The images that --shots chooses are those of --subset_seed, 0 unless given, whatever --seed, as for the other
// evaluators (eval/knn/knn_program_test.cc): only they can be read.
TEST_F(FinetuneProgramTest, ShotsAreThoseOfTheSubsetSeed) {
  testing::WritePictures(folder_ + "/few/val", {"ant", "bee"}, 2, 2);
  testing::WriteReadableSubset(folder_ + "/few/train", {"ant", "bee"}, 8, /*shots=*/2, /*subset_seed=*/0);
  const std::string arguments =
      "--mlp_token --epochs=1 --accum_iter=1 --max_bad_fraction=0 --shots=2 --seed=3 "
      "--finetune=" +
      folder_ + "/tec.pth --data_path=" + folder_ + "/few ";
  const ProgramResult chosen = Run(Arguments("few") + arguments);
  EXPECT_EQ(chosen.exit_code, 0) << chosen.output;
  EXPECT_NE(chosen.output.find("4 training and 4 held-out images"), std::string::npos) << chosen.output;
  EXPECT_EQ(Run(Arguments("few_others") + arguments + "--subset_seed=1").exit_code, 2);
  const ProgramResult both = Run(Arguments("few_both") + arguments + "--train_fraction=0.5");
  EXPECT_EQ(both.exit_code, 1);
  EXPECT_NE(both.output.find("are both given"), std::string::npos) << both.output;
}

TEST_F(FinetuneProgramTest, BadInputEndsWithOneLine) {
  testing::WritePictures(folder_ + "/other/train", {"ant", "bee"}, 4, 1);
  testing::WritePictures(folder_ + "/other/val", {"ant", "gnu"}, 1, 1);
  testing::WritePictures(folder_ + "/only_train/train", {"ant", "bee"}, 4, 1);
  const std::string tec = "--finetune=" + folder_ + "/tec.pth ", mae = "--finetune=" + folder_ + "/mae.pth ";
  std::filesystem::create_directories(folder_ + "/pretrained");
  std::filesystem::copy_file(folder_ + "/tec.pth", folder_ + "/pretrained/this_checkpoint.pth");
  struct Case {
    std::string arguments, message;
  };
  for (const Case& one : {
           // The file has the input adaptor, the model has not, and the reverse.
           Case{tec + "--nomlp_token", "cls_token_mlp"},
           Case{mae + "--mlp_token", "cls_token_mlp"},
           Case{
               mae + "--model=vit_tiny_patch16",
               "is no --model=vit_tiny_patch16: width 16 (the model's is 192), depth 3 (the model's is 12), patch size "
               "4 (the model's is 16), heads 2 (the model's is 3). Give --model=from_checkpoint"},
           Case{mae + "--data_path=" + folder_ + "/other", "not among the 2 training classes: gnu"},
           Case{mae + "--data_path=" + folder_ + "/only_train", "val"},
           Case{mae + "--nb_classes=2", "--nb_classes=2"},
           Case{mae + "--batch_size=32", "32"},
           Case{mae + "--accum_iter=9", "--accum_iter=9"},
           Case{mae + "--aa=augmix-m3", "--aa"},
           Case{mae + "--batch_size=3 --mixup=0.8", "--batch_size"},
           Case{mae + "--output_dir=" + folder_ + "/pretrained", "give it as --finetune"},
           Case{"--finetune=/nowhere.pth", "/nowhere.pth"},
           Case{"--finetune=" + folder_ + "/data/val/ant/0.png", "0.png"},
           Case{mae + "--eval", "--resume"},
           Case{mae + "--world_size=2", "torchrun"},
       }) {
    const ProgramResult result = Run(Arguments("bad") + one.arguments);
    EXPECT_EQ(result.exit_code, 1) << one.arguments << "\n" << result.output;
    EXPECT_NE(result.output.find(one.message), std::string::npos) << one.arguments << "\n" << result.output;
  }
}

// Ranks that share a batch train as one rank with all of it, as in tec/train/pretrain_test.cc; here with dropped paths,
// layer-wise rates, accumulation and the average of the weights. Clipped at some updates and not at others.
TEST_F(FinetuneProgramTest, RanksTrainAsOne) {
  const auto arguments = [](const std::string& out, int ranks) {
    return absl::StrCat(Arguments(out),
                        "--mlp_token --epochs=5 --drop_path=0.2 --model_ema --model_ema_decay=0.5 --clip_grad=0.45 "
                        "--finetune=",
                        folder_, "/tec.pth --batch_size=", 12 / ranks);
  };
  const ProgramResult alone = Run(arguments("one", 1));
  ASSERT_EQ(alone.exit_code, 0) << alone.output;
  bool clipped = false, whole = false;
  for (const absl::string_view line : absl::StrSplit(Content("one/metrics.jsonl"), '\n', absl::SkipEmpty())) {
    (nlohmann::json::parse(line.begin(), line.end())["grad_norm"] > 0.45 ? clipped : whole) = true;
  }
  EXPECT_TRUE(clipped && whole) << Content("one/metrics.jsonl");
  for (const int ranks : {2, 3, 4}) {
    const std::string out = absl::StrCat("ranks", ranks);
    LaunchRequest request;
    request.command = absl::StrSplit("eval/finetune/finetune " + arguments(out, ranks), ' ', absl::SkipEmpty());
    request.ranks = ranks;
    request.log_file = absl::StrCat(folder_, "/", out, ".log");
    const absl::StatusOr<int> code = RunRanks(request);
    ASSERT_TRUE(code.ok()) << code.status();
    ASSERT_EQ(*code, 0) << Content(out + ".log");
    EXPECT_EQ(testing::DifferenceOfRuns(folder_ + "/one", absl::StrCat(folder_, "/", out), "checkpoint-4.pth",
                                        {"loss", "lr"}),
              "")
        << ranks << " ranks";
  }
}

// Two ranks with half the batch see the same images, crops and dropped paths as one rank: losses equal but for the
// order of float32 sums. With --dist_eval they share the nine held-out images, five and four.
TEST_F(FinetuneProgramTest, TwoRanksTrainAndEvaluateAsOne) {
  const std::string common =
      "--mlp_token --epochs=3 --drop_path=0.2 --model_ema --model_ema_decay=0.5 --finetune=" + folder_ + "/tec.pth ";
  const ProgramResult alone = Run(Arguments("one_rank") + common);
  ASSERT_EQ(alone.exit_code, 0) << alone.output;
  LaunchRequest request;
  const std::string arguments = Arguments("two_ranks") + common + "--batch_size=2 --dist_eval";
  request.command = absl::StrSplit("eval/finetune/finetune " + arguments, ' ', absl::SkipEmpty());
  request.ranks = 2;
  request.log_file = folder_ + "/two_ranks.log";
  const absl::StatusOr<int> code = RunRanks(request);
  ASSERT_TRUE(code.ok()) << code.status();
  ASSERT_EQ(*code, 0) << Content("two_ranks.log") << Content("two_ranks.log.rank1");
  const std::vector<std::string> expected = absl::StrSplit(Content("one_rank/log.txt"), '\n', absl::SkipEmpty());
  const std::vector<std::string> got = absl::StrSplit(Content("two_ranks/log.txt"), '\n', absl::SkipEmpty());
  ASSERT_EQ(expected.size(), 3u);
  ASSERT_EQ(got.size(), 3u);
  for (size_t epoch = 0; epoch < got.size(); ++epoch) {
    const nlohmann::json one = nlohmann::json::parse(expected[epoch]), two = nlohmann::json::parse(got[epoch]);
    // 1e-4: float32 rounding, 6e-8, grown by AdamW's division over a few updates; another image would change the loss
    // by some percent.
    for (const char* key : {"train_loss", "test_loss", "test_ema_loss", "train_lr"}) {
      EXPECT_NEAR(two[key].get<double>(), one[key].get<double>(), 1e-4) << key << " of epoch " << epoch;
    }
    EXPECT_EQ(two["test_acc1"], one["test_acc1"]);
  }

  // One and the same checkpoint, evaluated by one rank and by two: every number, but for the order of sums.
  const std::string eval = "--mlp_token --eval --dist_eval --model_ema --batch_size=2 --resume=" + folder_ +
                           "/one_rank/this_checkpoint.pth ";
  ASSERT_EQ(Run(Arguments("eval_one") + eval).exit_code, 0);
  request.command = absl::StrSplit("eval/finetune/finetune " + Arguments("eval_two") + eval, ' ', absl::SkipEmpty());
  const absl::StatusOr<int> eval_code = RunRanks(request);
  ASSERT_TRUE(eval_code.ok()) << eval_code.status();
  ASSERT_EQ(*eval_code, 0) << Content("two_ranks.log");
  const nlohmann::json whole = nlohmann::json::parse(Content("eval_one/results.json"));
  const nlohmann::json shared = nlohmann::json::parse(Content("eval_two/results.json"));
  for (const auto& [one, two] :
       {std::pair(whole.at("accuracy"), shared.at("accuracy")),
        std::pair(whole.at("model_ema").at("accuracy"), shared.at("model_ema").at("accuracy"))}) {
    EXPECT_EQ(one.at("images"), 9);
    for (const char* key : {"images", "top1", "top5", "images_of_class", "per_class_top1", "confusion"}) {
      EXPECT_EQ(one.at(key), two.at(key)) << key;
    }
    // float32 logits of at most a few units, in batches of other sizes.
    for (const char* key : {"loss", "calibration_error"}) {
      EXPECT_NEAR(one.at(key).get<double>(), two.at(key).get<double>(), 1e-5) << key;
    }
  }
}

}  // namespace
}  // namespace tec
