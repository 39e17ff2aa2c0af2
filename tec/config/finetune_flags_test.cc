#include "tec/config/finetune_flags.h"

#include "absl/flags/commandlineflag.h"
#include "absl/flags/reflection.h"
#include "gmock/gmock.h"
#include "google/protobuf/util/message_differencer.h"
#include "gtest/gtest.h"

namespace tec {
namespace {

using google::protobuf::util::MessageDifferencer;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

absl::StatusOr<FinetuneCommandLine> Parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "finetune");
  return ParseFinetuneCommandLine(static_cast<int>(arguments.size()), arguments.data(), Machine());
}

config::Finetune Parsed(const std::vector<const char*>& arguments) {
  absl::StatusOr<FinetuneCommandLine> command_line = Parse(arguments);
  EXPECT_TRUE(command_line.ok()) << command_line.status();
  return command_line.ok() ? command_line->finetune : config::Finetune();
}

// Every flag of main_finetune (recipe.md section 9) with its default as Abseil writes it.
TEST(FinetuneFlags, AreTheReferences) {
  const std::vector<std::pair<const char*, const char*>> reference = {
      {"batch_size", "64"},
      {"accum_iter", "1"},
      {"weight_decay", "0.05"},
      {"lr", "0"},  // None in the reference.
      {"blr", "0.001"},
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
      {"shots", "0"},
      {"subset_seed", "0"},
      {"classes", ""},
      {"channels", "3"},
      {"mean", "0.485,0.456,0.406"},
      {"std", "0.229,0.224,0.225"},
      {"pin_mem", "true"},
      {"no_pin_mem", "false"},
      {"world_size", "1"},
      {"local_rank", "-1"},
      {"dist_on_itp", "false"},
      {"dist_url", "env://"},
      {"multinode", "false"},
      {"epochs", "50"},
      {"model", "vit_large_patch16"},
      {"input_size", "224"},
      {"drop_path", "0.1"},
      {"clip_grad", "0"},  // None in the reference.
      {"layer_decay", "0.75"},
      {"min_lr", "1e-06"},
      {"warmup_epochs", "5"},
      {"color_jitter", "0"},  // None in the reference.
      {"aa", "rand-m9-mstd0.5-inc1"},
      {"smoothing", "0.1"},
      {"reprob", "0.25"},
      {"remode", "pixel"},
      {"recount", "1"},
      {"resplit", "false"},
      {"mixup", "0"},
      {"cutmix", "0"},
      {"cutmix_minmax", ""},
      {"mixup_prob", "1"},
      {"mixup_switch_prob", "0.5"},
      {"mixup_mode", "batch"},
      {"finetune", ""},
      {"global_pool", "true"},
      {"cls_token", "false"},
      {"nb_classes", "0"},  // 1000 in the reference; here the number of classes that the data have.
      {"eval", "false"},
      {"dist_eval", "false"},
      {"mlp_token", "false"},
      {"heads", "0"},
      {"model_ema", "false"},  // As --model_ema_decay, not the reference's but timm's.
      {"model_ema_decay", "0.9999"},
  };
  const std::string help = FinetuneHelpText();
  const config::Finetune plain = Parsed({"--data_path=/pictures"});
  for (const auto& [name, standard] : reference) {
    const absl::CommandLineFlag* flag = absl::FindCommandLineFlag(name);
    ASSERT_NE(flag, nullptr) << name;
    EXPECT_EQ(flag->DefaultValue(), standard) << name;
    EXPECT_THAT(help, HasSubstr(std::string("  --") + name));
    const std::string flag_name = name;
    if (flag_name == "data_path" || flag_name == "no_pin_mem" || flag_name == "cls_token") continue;
    // Giving a flag its default changes nothing: the defaults are ReferenceFinetune's.
    const std::string argument = "--" + flag_name + "=" + standard;
    EXPECT_TRUE(MessageDifferencer::Equals(Parsed({"--data_path=/pictures", argument.c_str()}), plain)) << argument;
  }
}

TEST(FinetuneFlags, SetTheirFields) {
  const config::Finetune f = Parsed({"--data_path",
                                     "/p",
                                     "--model",
                                     "vit_base_patch16",
                                     "--finetune",
                                     "/c.pth",
                                     "--mlp_token",
                                     "--epochs",
                                     "100",
                                     "--blr",
                                     "5e-4",
                                     "--layer_decay",
                                     "0.65",
                                     "--drop_path",
                                     "0.2",
                                     "--cls_token",
                                     "--nb_classes",
                                     "10",
                                     "--eval",
                                     "--dist_eval",
                                     "--smoothing",
                                     "0",
                                     "--aa",
                                     "",
                                     "--reprob",
                                     "0",
                                     "--input_size",
                                     "160",
                                     "--clip_grad",
                                     "1",
                                     "--model_ema",
                                     "--model_ema_decay=0.99",
                                     "--resplit",
                                     "--recount",
                                     "2",
                                     "--mixup_prob",
                                     "0.5",
                                     "--device=cpu"});
  EXPECT_EQ(f.model(), "vit_base_patch16");
  EXPECT_EQ(f.encoder().width(), 768);
  EXPECT_EQ(f.encoder().image_size(), 160);
  EXPECT_EQ(f.finetune(), "/c.pth");
  EXPECT_TRUE(f.mlp_token());
  EXPECT_EQ(f.schedule().epochs(), 100);
  EXPECT_EQ(f.optimizer().blr(), 5e-4);
  EXPECT_EQ(f.layer_decay(), 0.65);
  EXPECT_EQ(f.drop_path(), 0.2);
  EXPECT_FALSE(f.global_pool());
  EXPECT_EQ(f.nb_classes(), 10);
  EXPECT_TRUE(f.eval());
  EXPECT_TRUE(f.dist_eval());
  EXPECT_EQ(f.augmentation().smoothing(), 0);
  EXPECT_EQ(f.augmentation().aa(), "");
  EXPECT_EQ(f.augmentation().reprob(), 0);
  EXPECT_EQ(f.optimizer().clip_grad(), 1);
  EXPECT_TRUE(f.augmentation().resplit());
  EXPECT_TRUE(f.model_ema());
  EXPECT_EQ(f.model_ema_decay(), 0.99);
  EXPECT_EQ(f.augmentation().recount(), 2);
  EXPECT_EQ(f.augmentation().mixup_prob(), 0.5);
  EXPECT_EQ(f.runtime().precision(), config::FLOAT32);
}

TEST(FinetuneFlags, CutmixMinmaxTakesTwoValues) {
  for (const std::vector<const char*>& form : {std::vector<const char*>{"--cutmix_minmax", "0.2", "0.8"},
                                               std::vector<const char*>{"--cutmix_minmax=0.2,0.8"}}) {
    std::vector<const char*> arguments = {"--data_path=/p", "--mixup_mode=elem"};
    arguments.insert(arguments.begin(), form.begin(), form.end());
    const config::Augmentation augmentation = Parsed(arguments).augmentation();
    ASSERT_EQ(augmentation.cutmix_minmax_size(), 2);
    EXPECT_EQ(augmentation.cutmix_minmax(0), 0.2);
    EXPECT_EQ(augmentation.cutmix_minmax(1), 0.8);
    EXPECT_EQ(augmentation.mixup_mode(), "elem");
  }
  EXPECT_EQ(std::string(Parse({"--cutmix_minmax", "0.2"}).status().message()), "--cutmix_minmax needs 2 values");
}

TEST(FinetuneFlags, ACheckpointAloneGivesTheShape) {
  EXPECT_EQ(Parsed({"--data_path=/p"}).model(), "vit_large_patch16");
  const config::Finetune f = Parsed({"--data_path=/p", "--finetune=/c.pth"});
  EXPECT_EQ(f.model(), "from_checkpoint");
  EXPECT_FALSE(f.encoder().has_width());
  EXPECT_FALSE(f.has_mlp_token());
  EXPECT_EQ(Parsed({"--data_path=/p", "--checkpoint=/c.pth"}).finetune(), "/c.pth");
  EXPECT_EQ(Parsed({"--data_path=/p", "--eval", "--checkpoint=/c.pth"}).checkpointing().resume(), "/c.pth");
  EXPECT_THAT(std::string(Parse({"--data_path=/p", "--checkpoint=/c.pth", "--finetune=/d.pth"}).status().message()),
              HasSubstr("mean the same"));
  EXPECT_TRUE(Parsed({"--data_path=/p", "--finetune=/c.pth", "--mlp_token"}).mlp_token());
  EXPECT_EQ(Parsed({"--data_path=/p", "--eval", "--resume=/c.pth"}).model(), "from_checkpoint");
  EXPECT_EQ(Parsed({"--data_path=/p", "--finetune=/c.pth", "--model=vit_large_patch16"}).encoder().width(), 1024);
  EXPECT_EQ(Parsed({"--config=vit_b_mae_300ep", "--finetune=/c.pth"}).model(), "vit_base_patch16");

  EXPECT_EQ(Parsed({"--data_path=/p", "--finetune=/c.pth", "--heads=3"}).encoder().heads(), 3);
  EXPECT_EQ(Parsed({"--data_path=/p", "--heads=16", "--model=vit_base_patch16"}).encoder().heads(), 16);
  EXPECT_EQ(Parsed({"--data_path=/p", "--heads=0", "--model=vit_base_patch16"}).encoder().heads(), 12);
  EXPECT_THAT(std::string(Parse({"--data_path=/p", "--finetune=/c.pth", "--heads=-1"}).status().message()),
              HasSubstr("(--heads)"));
}

TEST(FinetuneFlags, NamedExperimentUnderFlags) {
  const config::Finetune f =
      Parsed({"--config=vit_b_mae_300ep", "--mixup=0", "--cutmix", "0.5", "--model", "vit_tiny_patch16"});
  EXPECT_EQ(f.augmentation().mixup(), 0);
  EXPECT_EQ(f.augmentation().cutmix(), 0.5);
  EXPECT_EQ(f.encoder().width(), 192);
  EXPECT_EQ(f.schedule().epochs(), 100);
  EXPECT_THAT(std::string(Parse({"--config=vit_b_mae_30ep"}).status().message()),
              HasSubstr("did you mean \"vit_b_mae_300ep\"?"));
  EXPECT_THAT(std::string(Parse({}).status().message()), HasSubstr("give --data_path"));
}

}  // namespace
}  // namespace tec
