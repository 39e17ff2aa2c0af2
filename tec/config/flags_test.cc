#include "tec/config/flags.h"

#include <cstdlib>
#include <utility>

#include "absl/flags/commandlineflag.h"
#include "absl/flags/flag.h"
#include "absl/flags/reflection.h"
#include "data/image/fast_jpeg_flag.h"
#include "gmock/gmock.h"
#include "google/protobuf/util/message_differencer.h"
#include "gtest/gtest.h"
#include "tec/base/file.h"

namespace tec {
namespace {

using google::protobuf::util::MessageDifferencer;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr Machine kMachine{/*cpu_bfloat16=*/false, /*gpu_bfloat16=*/true};

absl::StatusOr<CommandLine> Parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "pretrain");
  return ParseCommandLine(static_cast<int>(arguments.size()), arguments.data(), kMachine);
}

CommandLine Parsed(const std::vector<const char*>& arguments) {
  absl::StatusOr<CommandLine> command_line = Parse(arguments);
  EXPECT_TRUE(command_line.ok()) << command_line.status();
  return command_line.ok() ? *command_line : CommandLine();
}

std::string ErrorOf(const std::vector<const char*>& arguments) {
  absl::StatusOr<CommandLine> command_line = Parse(arguments);
  EXPECT_FALSE(command_line.ok());
  EXPECT_EQ(FinishEarly(command_line), 1);
  return std::string(command_line.status().message());
}

std::string TestFile(const std::string& name, const std::string& text) {
  const std::string path = ::testing::TempDir() + "/" + name;
  EXPECT_TRUE(WriteFile(path, text).ok());
  return path;
}

// Every flag of main_pretrain (recipe.md section 9) with its default as Abseil writes it.
TEST(Flags, AreTheReferences) {
  const std::vector<std::pair<const char*, const char*>> reference = {
      {"batch_size", "64"},
      {"epochs", "400"},
      {"accum_iter", "1"},
      {"model", "mae_vit_large_patch16"},
      {"input_size", "224"},
      {"mask_ratio", "0.75"},
      {"weight_decay", "0.05"},
      {"lr", "0"},  // None in the reference: the rate then follows from blr.
      {"blr", "0.001"},
      {"min_lr", "0"},
      {"warmup_epochs", "40"},
      {"data_path", "/datasets01/imagenet_full_size/061417/"},
      {"output_dir", "./output_dir"},
      {"log_dir", "./output_dir"},
      {"device", "cuda"},
      {"seed", "5"},
      {"resume", ""},
      {"start_epoch", "0"},
      {"num_workers", "0"},  // 10 in the reference; it changes nothing but the speed.
      {"sampler", "own"},
      {"train_fraction", "1"},
      {"classes", ""},
      {"channels", "3"},
      {"mean", "0.485,0.456,0.406"},
      {"std", "0.229,0.224,0.225"},
      {"pin_mem", "true"},
      {"no_pin_mem", "false"},
      {"world_size", "1"},
      {"rank", "0"},
      {"local_rank", "-1"},
      {"dist_on_itp", "false"},
      {"dist_url", "env://"},
      {"pred_att", "false"},
      {"topkatt", "15"},
      {"mlp_token", "false"},
      {"basemodel", "mae1kbase"},
      {"last_layers", "2"},
      {"att_tau", "1.8"},
      {"multinode", "false"},
  };
  const std::string help = HelpText();
  for (const auto& [name, standard] : reference) {
    const absl::CommandLineFlag* flag = absl::FindCommandLineFlag(name);
    ASSERT_NE(flag, nullptr) << name;
    EXPECT_EQ(flag->DefaultValue(), standard) << name;
    EXPECT_THAT(help, HasSubstr(std::string("  --") + name));
  }
}

// Giving a flag its default changes nothing: the flags' defaults are ReferenceExperiment's.
TEST(Flags, DefaultsAreThoseOfTheReferenceExperiment) {
  const std::vector<const char*> needed = {"--data_path=/pictures", "--base_model=/base.pth"};
  const CommandLine plain = Parsed(needed);
  int compared = 0;
  for (const auto& [name, flag] : absl::GetAllFlags()) {
    const std::string flag_name(name);
    if (flag_name == "config" || flag_name == "data_path" || flag_name == "base_model" || flag_name == "no_pin_mem") {
      continue;
    }
    const std::string argument = "--" + flag_name + "=" + flag->DefaultValue();
    std::vector<const char*> arguments = needed;
    arguments.push_back(argument.c_str());
    EXPECT_TRUE(MessageDifferencer::Equals(Parsed(arguments).experiment, plain.experiment)) << argument;
    ++compared;
  }
  EXPECT_GE(compared, 40);
}

// Every flag of the reference at once, as a launch script would have them, in both forms.
TEST(Flags, SetTheirFields) {
  const CommandLine line =
      Parsed({"--batch_size", "32", "--epochs=10", "--accum_iter", "4", "--model", "mae_vit_base_patch16",
              "--input_size", "160", "--mask_ratio", "0.5", "--weight_decay", "0.1", "--lr", "3e-4", "--blr=1.5e-4",
              "--min_lr", "1e-5", "--warmup_epochs", "2", "--data_path", "/pictures", "--output_dir", "/out",
              "--log_dir", "/log", "--device", "cpu", "--seed", "7", "--resume", "/a.pth", "--start_epoch", "3",
              "--num_workers", "2", "--pin_mem", "--world_size", "8", "--rank", "2", "--local_rank", "-1",
              "--dist_on_itp", "--dist_url", "tcp://a:1", "--pred_att", "--topkatt", "9", "--mlp_token", "--basemodel",
              "ibot1kbase", "--last_layers", "3", "--att_tau", "1", "--multinode",
              // Ours.
              "--method=tec", "--base_model", "/base.pth", "--precision", "bfloat16", "--threads", "1", "--clip_grad",
              "2.5", "--max_bad_fraction", "0.25", "--save_period", "5", "--save_every_minutes", "1.5", "--print_freq",
              "6", "--no_pin_mem", "--channels=2", "--mean=0.5,0.25", "--std", "0.125,1"});
  const config::Experiment& e = line.experiment;
  EXPECT_FALSE(line.is_quickstart);
  EXPECT_EQ(e.optimizer().batch_size(), 32);
  EXPECT_EQ(e.schedule().epochs(), 10);
  EXPECT_EQ(e.optimizer().accum_iter(), 4);
  EXPECT_EQ(e.model().name(), "mae_vit_base_patch16");
  EXPECT_EQ(e.model().encoder().image_size(), 160);
  EXPECT_EQ(e.base_model().encoder().image_size(), 160);
  EXPECT_EQ(e.model().encoder().width(), 768);
  EXPECT_EQ(e.masking().mask_ratio(), 0.5);
  EXPECT_EQ(e.optimizer().weight_decay(), 0.1);
  EXPECT_EQ(e.optimizer().lr(), 3e-4);
  EXPECT_EQ(e.optimizer().blr(), 1.5e-4);
  EXPECT_EQ(e.schedule().min_lr(), 1e-5);
  EXPECT_EQ(e.schedule().warmup_epochs(), 2);
  EXPECT_EQ(e.data().path(), "/pictures");
  EXPECT_EQ(e.logging().output_dir(), "/out");
  EXPECT_EQ(e.logging().log_dir(), "/log");
  EXPECT_EQ(e.runtime().device(), "cpu");
  EXPECT_EQ(e.seed(), 7);
  EXPECT_EQ(e.checkpointing().resume(), "/a.pth");
  EXPECT_EQ(e.schedule().start_epoch(), 3);
  EXPECT_EQ(e.data().num_workers(), 2);
  EXPECT_FALSE(e.data().pin_mem());  // --no_pin_mem came last.
  EXPECT_EQ(e.data().channels(), 2);
  EXPECT_THAT(e.data().mean(), ElementsAre(0.5, 0.25));
  EXPECT_THAT(e.data().std(), ElementsAre(0.125, 1));
  EXPECT_EQ(line.distributed.world_size, 8);
  EXPECT_EQ(line.distributed.rank, 2);
  EXPECT_EQ(line.distributed.local_rank, -1);
  EXPECT_TRUE(line.distributed.dist_on_itp);
  EXPECT_EQ(line.distributed.dist_url, "tcp://a:1");
  EXPECT_TRUE(line.distributed.multinode);
  EXPECT_TRUE(e.model().pred_att());
  EXPECT_EQ(e.base_model().topkatt(), 9);
  EXPECT_TRUE(e.model().mlp_token());
  EXPECT_EQ(e.base_model().name(), "ibot1kbase");
  EXPECT_EQ(e.base_model().last_layers(), 3);
  EXPECT_EQ(e.losses().att_tau(), 1);
  EXPECT_EQ(e.method(), config::TEC);
  EXPECT_EQ(e.base_model().path(), "/base.pth");
  EXPECT_EQ(e.runtime().precision(), config::BFLOAT16);
  EXPECT_EQ(e.runtime().threads(), 1);
  EXPECT_EQ(e.optimizer().clip_grad(), 2.5);
  EXPECT_EQ(e.data().max_bad_fraction(), 0.25);
  EXPECT_EQ(e.checkpointing().save_period(), 5);
  EXPECT_EQ(e.checkpointing().save_every_minutes(), 1.5);
  EXPECT_EQ(e.logging().print_freq(), 6);
}

TEST(Flags, SwitchesHaveAllTheirForms) {
  const auto pred_att = [](const char* form) {
    return Parsed({"--config=vit_b_mae_300ep", "--base_model=/b", form}).experiment.model().pred_att();
  };
  EXPECT_TRUE(pred_att("--pred_att"));
  EXPECT_TRUE(pred_att("--pred_att=true"));
  EXPECT_TRUE(pred_att("-pred_att"));
  EXPECT_FALSE(pred_att("--pred_att=false"));
  EXPECT_FALSE(pred_att("--nopred_att"));
  EXPECT_FALSE(Parsed({"--config=vit_b_mae_300ep", "--base_model=/b", "--no_pin_mem"}).experiment.data().pin_mem());
  EXPECT_TRUE(
      Parsed({"--config=vit_b_mae_300ep", "--base_model=/b", "--no_pin_mem", "--pin_mem"}).experiment.data().pin_mem());
}

TEST(Flags, OverrideTheFileAndOnlyIfGiven) {
  const std::string file = TestFile("row.textproto",
                                    "seed: 9 optimizer { batch_size: 16 blr: 0.5 } schedule { epochs: 7 } "
                                    "data { path: '/file' } base_model { path: '/file.pth' }");
  const std::string config = "--config=" + file;
  const config::Experiment e = Parsed({config.c_str(), "--batch_size=64", "--data_path", "/flag"}).experiment;
  EXPECT_EQ(e.optimizer().batch_size(), 64);  // Given, though it is the flag's default.
  EXPECT_EQ(e.data().path(), "/flag");
  EXPECT_EQ(e.optimizer().blr(), 0.5);  // Not given.
  EXPECT_EQ(e.schedule().epochs(), 7);
  EXPECT_EQ(e.seed(), 9);
  EXPECT_EQ(e.schedule().warmup_epochs(), 40);  // In neither.
  // What one command line gave does not linger.
  EXPECT_EQ(Parsed({config.c_str()}).experiment.optimizer().batch_size(), 16);
  EXPECT_EQ(Parsed({config.c_str(), "--seed=1", "--seed", "2"}).experiment.seed(), 2);
}

TEST(Flags, TableRowBWithItsCommand) {
  config::Experiment flags = Parsed({"--batch_size",    "256",        "--model",       "mae_vit_base_patch16",
                                     "--mask_ratio",    "0.75",       "--epochs",      "300",
                                     "--warmup_epochs", "40",         "--blr",         "1.5e-4",
                                     "--weight_decay",  "0.05",       "--accum_iter",  "2",
                                     "--mlp_token",     "--pred_att", "--last_layers", "2",
                                     "--topkatt",       "15",         "--att_tau",     "1.8",
                                     "--basemodel",     "mae1kbase",  "--data_path",   "/imagenet",
                                     "--base_model",    "/b.pth"})
                                 .experiment;
  flags.set_name("vit_b_mae_300ep");
  EXPECT_TRUE(MessageDifferencer::Equals(
      flags, Parsed({"--config=vit_b_mae_300ep", "--data_path=/imagenet", "--base_model=/b.pth"}).experiment));
}

TEST(Flags, AResolvedExperimentIsAcceptedBack) {
  const config::Experiment e =
      Parsed({"--config=vit_l_mae_300ep", "--data_path=/imagenet", "--base_model=/b.pth", "--output_dir=/out"})
          .experiment;
  const std::string config = "--config=" + TestFile("resolved.textproto", ToText(e));
  EXPECT_TRUE(MessageDifferencer::Equals(Parsed({config.c_str()}).experiment, e));
  // Flags still mean what they say, though the file has every field: a name takes its sizes along, the other method its
  // decoder, the base model's picture the new model's, log_dir its output_dir.
  const config::Experiment changed = Parsed({config.c_str(), "--model=mae_vit_base_patch16", "--basemodel=mae1kbase",
                                             "--input_size=192", "--output_dir=/other"})
                                         .experiment;
  EXPECT_EQ(changed.model().encoder().width(), 768);
  EXPECT_EQ(changed.model().encoder().image_size(), 192);
  EXPECT_EQ(changed.model().decoder().width(), 512);
  EXPECT_EQ(changed.model().adaptor_groups(), 4);
  EXPECT_EQ(changed.base_model().encoder().width(), 768);
  EXPECT_EQ(changed.base_model().encoder().image_size(), 192);
  EXPECT_EQ(changed.logging().log_dir(), "/other");
  EXPECT_TRUE(Parsed({"--data_path=/p", "--method=mae", "--norm_pix_loss"}).experiment.losses().norm_pix_loss());
  const config::Experiment mae = Parsed({config.c_str(), "--method=mae", "--nopred_att", "--nomlp_token"}).experiment;
  EXPECT_EQ(mae.method(), config::MAE);
  EXPECT_EQ(mae.model().decoder().width(), 512);
  EXPECT_EQ(mae.model().decoder().depth(), 8);
  EXPECT_EQ(Parsed({config.c_str(), "--model=custom", "--output_dir=/other", "--log_dir=/out"})
                .experiment.logging()
                .log_dir(),
            "/out");
}

// A named model is one of the usual ratio, unless the flag that names it comes with the other.
TEST(Flags, RatioOfMlps) {
  const std::vector<const char*> run = {"--data_path=/p", "--base_model=/b.pth", "--model=mae_vit_base_patch16",
                                        "--mlp_ratio=2"};
  const config::Experiment e = Parsed(run).experiment;
  EXPECT_EQ(e.model().mlp_ratio(), 2);
  const std::string config = "--config=" + TestFile("ratio.textproto", ToText(e));
  EXPECT_EQ(Parsed({config.c_str()}).experiment.model().mlp_ratio(), 2);
  EXPECT_FALSE(Parsed({config.c_str(), "--model=mae_vit_small_patch16"}).experiment.model().has_mlp_ratio());
  EXPECT_FALSE(Parsed({config.c_str(), "--mlp_ratio=4"}).experiment.model().has_mlp_ratio());
  EXPECT_THAT(ErrorOf({"--data_path=/p", "--base_model=/b", "--mlp_ratio=0"}),
              HasSubstr("model.mlp_ratio (--mlp_ratio)"));
}

// It belongs to no experiment: the decoder asks for it itself.
TEST(Flags, FastJpegIsForEveryRun) {
  const std::vector<const char*> run = {"--data_path=/pictures", "--base_model=/b"};
  const std::vector<const char*> slow_run = {"--data_path=/pictures", "--base_model=/b", "--nofast_jpeg"};
  for (const auto& [arguments, fast] : {std::pair(run, true), std::pair(slow_run, false), std::pair(run, true)}) {
    Parsed(arguments);
    EXPECT_EQ(absl::GetFlag(FLAGS_fast_jpeg), fast);
  }
  EXPECT_TRUE(Parsed({"--fast_jpeg=false"}).is_quickstart);
  EXPECT_FALSE(absl::GetFlag(FLAGS_fast_jpeg));
}

TEST(Flags, WithoutConfigAndDataPathItIsTheQuickstart) {
  const CommandLine plain = Parsed({});
  EXPECT_TRUE(plain.is_quickstart);
  const CommandLine line =
      Parsed({"--seed=3", "--output_dir=/out", "--threads=2", "--device=cpu", "--num_workers=4", "--epochs=1"});
  EXPECT_TRUE(line.is_quickstart);
  EXPECT_EQ(line.quickstart.output_dir(), "/out");
  EXPECT_EQ(line.quickstart.pictures().seed(), 3);
  for (const config::Experiment* e : {&line.quickstart.mae(), &line.quickstart.tec()}) {
    EXPECT_EQ(e->seed(), 3);
    EXPECT_EQ(e->runtime().threads(), 2);
    EXPECT_EQ(e->data().num_workers(), 4);
    EXPECT_EQ(e->schedule().epochs(), 1);
  }
  EXPECT_EQ(line.quickstart.mae().logging().output_dir(), "/out/mae");
  EXPECT_EQ(line.quickstart.tec().base_model().path(), "/out/mae/checkpoint-0.pth");
  EXPECT_TRUE(Parsed({"--noreport", "--open"}).is_quickstart);
  EXPECT_TRUE(Parsed({"--config=quickstart"}).is_quickstart);
  EXPECT_FALSE(Parsed({"--data_path=/pictures", "--base_model=/b"}).is_quickstart);
  EXPECT_THAT(ErrorOf({"--topkatt=3"}), StartsWith("--topkatt does not apply to the quickstart"));
  // Saved with the run and given back.
  const std::string config = "--config=" + TestFile("quickstart_saved.textproto", ToText(line.quickstart));
  EXPECT_TRUE(MessageDifferencer::Equals(Parsed({config.c_str()}).quickstart, line.quickstart));
}

TEST(Flags, MonitorTakesTheRunsData) {
  const std::vector<const char*> run = {"--data_path=/pictures", "--base_model=/b"};
  EXPECT_EQ(Parsed(run).knn_every, 0);
  std::vector<const char*> monitored = run;
  monitored.push_back("--knn_every=5");
  EXPECT_EQ(Parsed(monitored).knn_every, 5);
  EXPECT_EQ(Parsed(monitored).knn_data_path, "/pictures");
  monitored.push_back("--knn_data_path=/labelled");
  EXPECT_EQ(Parsed(monitored).knn_data_path, "/labelled");
  EXPECT_EQ(ErrorOf({"--data_path=/p", "--base_model=/b", "--knn_every=-1"}), "--knn_every=-1: it must be at least 0");
}

TEST(Flags, WeightsHaveTheNameThatEveryProgramHasForThem) {
  EXPECT_EQ(Parsed({"--data_path=/p", "--config=vit_b_mae_300ep", "--checkpoint=/b"}).experiment.base_model().path(),
            "/b");
  EXPECT_EQ(ErrorOf({"--data_path=/p", "--base_model=/a", "--checkpoint=/b"}),
            "--checkpoint and --base_model mean the same here: give one");
}

TEST(Flags, MistakesAreExplained) {
  EXPECT_EQ(ErrorOf({"--bach_size=3"}),
            "unknown flag --bach_size; did you mean \"--batch_size\"? (--help lists all flags)");
  EXPECT_THAT(ErrorOf({"--batch-size", "3"}), HasSubstr("did you mean \"--batch_size\"?"));
  EXPECT_EQ(ErrorOf({"--zzzzzzzzzzzz"}), "unknown flag --zzzzzzzzzzzz (--help lists all flags)");
  EXPECT_EQ(ErrorOf({"--batch_size", "many"}), "--batch_size=many: \"many\" is not a whole number");
  EXPECT_EQ(ErrorOf({"--batch_size=1.5"}), "--batch_size=1.5: \"1.5\" is not a whole number");
  EXPECT_EQ(ErrorOf({"--lr=fast"}), "--lr=fast: \"fast\" is not a number");
  EXPECT_EQ(ErrorOf({"--pred_att=perhaps"}), "--pred_att=perhaps: \"perhaps\" is not true or false");
  EXPECT_EQ(ErrorOf({"--epochs"}), "--epochs needs a value");
  EXPECT_THAT(ErrorOf({"--pred_att", "true"}), StartsWith("stray argument \"true\""));
  EXPECT_THAT(ErrorOf({"--data_path=/p", "--precision=bflot16"}), HasSubstr("did you mean \"bfloat16\"?"));
  EXPECT_THAT(ErrorOf({"--data_path=/p", "--precision=bf16"}), HasSubstr("did you mean \"bfloat16\"?"));
  EXPECT_THAT(ErrorOf({"--data_path=/p", "--method=distil"}), HasSubstr("(known: tec, mae)"));
  EXPECT_THAT(ErrorOf({"--config=vit_b_mae_30ep"}), HasSubstr("did you mean \"vit_b_mae_300ep\"?"));
  EXPECT_THAT(ErrorOf({"--data_path=/p", "--lr=nan", "--batch_size=0"}),
              AllOf(HasSubstr("3 problems"), HasSubstr("optimizer.lr is nan"), HasSubstr("--batch_size"),
                    HasSubstr("--base_model=FILE")));
  EXPECT_THAT(ErrorOf({"--data_path=/p", "--base_model=/b", "--resume=https://a/b.pth"}),
              HasSubstr("download the file"));
}

TEST(Flags, HelpAndPrintConfigEndTheProgram) {
  const absl::StatusOr<CommandLine> help = Parse({"--help"});
  ASSERT_TRUE(help.ok());
  EXPECT_TRUE(help->help);
  ::testing::internal::CaptureStdout();
  EXPECT_EQ(FinishEarly(help), 0);
  const std::string text = ::testing::internal::GetCapturedStdout();
  EXPECT_THAT(text, AllOf(HasSubstr("vit_b_mae_300ep"), HasSubstr("./bazelw run //tec:pretrain"),
                          HasSubstr("--save_every_minutes")));

  // The paths may still be missing.
  const absl::StatusOr<CommandLine> print = Parse({"--config=vit_b_mae_300ep", "--print_config"});
  ASSERT_TRUE(print.ok()) << print.status();
  ::testing::internal::CaptureStdout();
  EXPECT_EQ(FinishEarly(print), 0);
  EXPECT_EQ(::testing::internal::GetCapturedStdout(), ToText(print->experiment));
  EXPECT_EQ(FinishEarly(Parse({"--config=vit_b_mae_300ep", "--base_model=/b"})), std::nullopt);
}

TEST(Flags, PathsAreTakenFromWhereTheUserStands) {
  ASSERT_EQ(setenv("BUILD_WORKING_DIRECTORY", ::testing::TempDir().c_str(), 1), 0);
  TestFile("here.textproto", "data { path: 'pictures' } base_model { path: './base.pth' }");
  const config::Experiment e = Parsed({"--config=here.textproto", "--resume=a.pth"}).experiment;
  const std::string here = ::testing::TempDir() + "/";
  EXPECT_EQ(e.data().path(), here + "pictures");
  EXPECT_EQ(e.base_model().path(), here + "base.pth");
  EXPECT_EQ(e.checkpointing().resume(), here + "a.pth");
  EXPECT_EQ(e.logging().output_dir(), here + "output_dir");
  EXPECT_EQ(e.logging().log_dir(), here + "output_dir");
  EXPECT_EQ(Parsed({}).quickstart.output_dir(), here + "tec_quickstart");
  ASSERT_EQ(unsetenv("BUILD_WORKING_DIRECTORY"), 0);
}

}  // namespace
}  // namespace tec
