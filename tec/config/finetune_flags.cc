#include "tec/config/finetune_flags.h"

#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tec/base/path.h"
#include "tec/base/status.h"
#include "tec/config/flag_parser.h"
#include "tec/config/vit_flags.h"

// Defaults: recipe.md section 9, main_finetune.
ABSL_FLAG(
    std::string, model, "vit_large_patch16",
    "vit_{tiny,small,base,large}_patch16, vit_huge_patch14, custom (sizes by --config), or from_checkpoint "
    "(sizes of the run that wrote --finetune, or --resume with --eval); not given beside one of these or --config, "
    "it is from_checkpoint");
ABSL_FLAG(bool, mlp_token, false,
          "the encoder has the input adaptor; must match the checkpoint, and is as there where --model is not given");
ABSL_FLAG(std::string, finetune, "", "checkpoint of the pretrained encoder; empty: from scratch");
ABSL_FLAG(std::string, checkpoint, "",
          "the same as --finetune or, with --eval, --resume, under the name that every program has for weights");
ABSL_FLAG(double, drop_path, 0.1, "stochastic depth, rate of the last block");
ABSL_FLAG(bool, global_pool, true, "classify by the mean of the patch tokens");
ABSL_FLAG(bool, cls_token, false, "classify by the CLS token instead");
ABSL_FLAG(int64_t, nb_classes, 0, "number of classes; 0: as many as the training images have (the reference: 1000)");
ABSL_FLAG(int64_t, epochs, 50, "passes over the data");
ABSL_FLAG(double, min_lr, 1e-6, "learning rate at the end of the schedule");
ABSL_FLAG(double, warmup_epochs, 5, "epochs of linear warm-up");
ABSL_FLAG(double, layer_decay, 0.75, "learning rate of a block over that of the block above it");
ABSL_FLAG(bool, model_ema, false,
          "keep an exponential moving average of the weights, evaluate it too, and save it as model_ema; with --eval: "
          "evaluate the checkpoint's too");
ABSL_FLAG(double, model_ema_decay, 0.9999,
          "share of the average that stays at an update; for runs of a few thousand updates rather 0.999 or 0.99");
ABSL_FLAG(int64_t, save_period, 40, "epochs between two numbered checkpoints; the last epoch always has one");
ABSL_FLAG(int64_t, shots, 0, "training images of each class to use; 0: no limit");
ABSL_FLAG(int64_t, subset_seed, 0,
          "which images --train_fraction and --shots choose, whatever --seed; the same in every evaluator");
ABSL_FLAG(bool, eval, false, "evaluate only");
ABSL_FLAG(bool, dist_eval, false, "spread the evaluation over the ranks");
ABSL_FLAG(bool, confusion, false,
          "write all pairs of classes that were confused, and how often, to OUTPUT_DIR/confusion.npy");

ABSL_FLAG(double, color_jitter, 0,
          "strength of random brightness, contrast and colour; only where --aa is empty; 0: none");
ABSL_FLAG(
    std::string, aa, "rand-m9-mstd0.5-inc1",
    "RandAugment: rand, then -mN magnitude, -nN operations, -mstdX its deviation, -inc1 increasing, -w0 weighted; "
    "empty: none");
ABSL_FLAG(double, smoothing, 0.1, "label smoothing");
ABSL_FLAG(double, reprob, 0.25, "probability of random erasing; 0: none");
ABSL_FLAG(std::string, remode, "pixel",
          "what is put in the place of erased pixels: pixel (noise), rand (one random colour a box), const (zero)");
ABSL_FLAG(int64_t, recount, 1, "most boxes erased in one picture");
ABSL_FLAG(bool, resplit, false, "accepted and never used");
ABSL_FLAG(double, mixup, 0, "alpha of mixup; 0: none");
ABSL_FLAG(double, cutmix, 0, "alpha of cutmix; 0: none");
ABSL_FLAG(std::string, cutmix_minmax, "",
          "two numbers: least and most side of cutmix's box over the picture's; turns cutmix on");
ABSL_FLAG(double, mixup_prob, 1.0, "probability that a batch is mixed at all");
ABSL_FLAG(double, mixup_switch_prob, 0.5, "probability of cutmix where both are on");
ABSL_FLAG(std::string, mixup_mode, "batch", "what shares one mixing factor: batch, pair or elem");

namespace tec {
namespace {

std::vector<FlagGroup> Groups() {
  return {
      {"What to run",
       {{"config", ""}, {"print_config", ""}, {"eval", "eval"}, {"dist_eval", "dist_eval"}, {"confusion", ""}}},
      {"Model",
       {{"model", "model"},
        {"finetune", "finetune"},
        {"checkpoint", ""},
        {"mlp_token", "mlp_token"},
        {"input_size", "encoder.image_size"},
        {"nb_classes", "nb_classes"},
        {"drop_path", "drop_path"},
        {"global_pool", "global_pool"},
        {"cls_token", "global_pool", /*negated=*/true}}},
      {"What --finetune's file does not tell", VitFlagsOfFinetune()},
      DataFlags(),
      {"Few images", {{"shots", "shots"}, {"subset_seed", "subset_seed"}}},
      {"Augmentation",
       {{"smoothing", "augmentation.smoothing"},
        {"color_jitter", "augmentation.color_jitter"},
        {"aa", "augmentation.aa"},
        {"reprob", "augmentation.reprob"},
        {"remode", "augmentation.remode"},
        {"recount", "augmentation.recount"},
        {"resplit", "augmentation.resplit"},
        {"mixup", "augmentation.mixup"},
        {"cutmix", "augmentation.cutmix"},
        {"cutmix_minmax", "augmentation.cutmix_minmax", /*negated=*/false, /*values=*/2},
        {"mixup_prob", "augmentation.mixup_prob"},
        {"mixup_switch_prob", "augmentation.mixup_switch_prob"},
        {"mixup_mode", "augmentation.mixup_mode"}}},
      OptimizerFlags(),
      {"Layer-wise rates", {{"layer_decay", "layer_decay"}}},
      {"Average of the weights", {{"model_ema", "model_ema"}, {"model_ema_decay", "model_ema_decay"}}},
      OutputFlags(),
      SavingFlagGroup(),
      RuntimeFlags(),
      DistributedFlagGroup(/*sends_gradients=*/true),
  };
}

}  // namespace

absl::StatusOr<FinetuneCommandLine> ParseFinetuneCommandLine(int argc, const char* const* argv,
                                                             const Machine& machine) {
  const std::vector<FlagGroup> groups = Groups();
  TEC_ASSIGN_OR_RETURN(const ParsedFlags parsed, ParseFlags(argc, argv, groups));
  FinetuneCommandLine command_line;
  command_line.help = parsed.help;
  if (parsed.help) return command_line;
  command_line.print_config = PrintConfigFlag();
  command_line.distributed = DistributedFlags();
  TEC_ASSIGN_OR_RETURN(command_line.saving, ReadSavingFlags());
  command_line.confusion = absl::GetFlag(FLAGS_confusion);

  config::Finetune& finetune = command_line.finetune;
  finetune = ReferenceFinetune();
  if (!ConfigFlag().empty()) {
    TEC_ASSIGN_OR_RETURN(finetune, LoadFinetune(ConfigFlag()));
  } else if (!parsed.Given("data_path") && !command_line.print_config) {
    return absl::InvalidArgumentError(
        "give --data_path=FOLDER (with train/ and val/) or --config=NAME_OR_FILE; "
        "--help lists all flags");
  }
  const config::Logging before = finetune.logging();
  const int64_t heads_of_config = finetune.encoder().heads();
  TEC_RETURN_IF_ERROR(ApplyFlags(parsed, groups, &finetune));
  if (const std::string checkpoint = absl::GetFlag(FLAGS_checkpoint); !checkpoint.empty()) {
    const char* other = finetune.eval() ? "resume" : "finetune";
    if (parsed.Given(other)) {
      return absl::InvalidArgumentError(absl::StrCat("--checkpoint and --", other, " mean the same here: give one"));
    }
    if (finetune.eval()) {
      finetune.mutable_checkpointing()->set_resume(checkpoint);
    } else {
      finetune.set_finetune(checkpoint);
    }
  }
  // Where there is a checkpoint and nothing names a model, the checkpoint's shape is the only one that can be meant:
  // the reference's default fits a checkpoint of that very model or none.
  if (ConfigFlag().empty() && !parsed.Given("model") &&
      (!finetune.finetune().empty() || (finetune.eval() && !finetune.checkpointing().resume().empty()))) {
    finetune.set_model("from_checkpoint");
    // The input adaptor belongs to the shape.
    if (!parsed.Given("mlp_token")) finetune.clear_mlp_token();
  }
  // A named model of the command line takes the place of the file's shape.
  if (parsed.Given("model") && finetune.model() != "custom") {
    config::Vit encoder;
    if (finetune.encoder().has_image_size()) encoder.set_image_size(finetune.encoder().image_size());
    if (parsed.Given("heads")) encoder.set_heads(finetune.encoder().heads());
    *finetune.mutable_encoder() = encoder;
  }
  if (parsed.Given("heads") && finetune.encoder().heads() == 0) {
    finetune.mutable_encoder()->clear_heads();
    if (heads_of_config != 0 && !parsed.Given("model")) finetune.mutable_encoder()->set_heads(heads_of_config);
  }
  FollowOutputDir(parsed, before, finetune.mutable_logging());
  finetune = Resolve(finetune, machine);
  ResolvePaths(finetune.mutable_data(), finetune.mutable_checkpointing(), finetune.mutable_logging());
  if (finetune.finetune().find("://") == std::string::npos)
    finetune.set_finetune(AbsoluteUserPath(finetune.finetune()));
  TEC_RETURN_IF_ERROR(Validate(finetune, command_line.print_config ? Paths::kOptional : Paths::kRequired));
  return command_line;
}

std::optional<int> FinishEarly(const absl::StatusOr<FinetuneCommandLine>& command_line) {
  return PrintAndFinish(command_line.status(), command_line.ok() && command_line->help, FinetuneHelpText,
                        command_line.ok() && command_line->print_config,
                        [&] { return ToText(command_line->finetune); });
}

std::string FinetuneHelpText() {
  return absl::StrCat(
      "Finetunes a pretrained encoder with labels, and reports top-1 and top-5.\n"
      "\n"
      "  ./bazelw run //eval:finetune -- --data_path=/imagenet --finetune=/runs/tec/checkpoint-299.pth \\\n"
      "      --model=vit_base_patch16 --mlp_token --epochs=100 --blr=5e-4 --layer_decay=0.65\n"
      "  ./bazelw run //eval:finetune -- --data_path=/imagenet --resume=/runs/ft/this_checkpoint.pth \\\n"
      "      --model=vit_base_patch16 --mlp_token --eval\n"
      "\n"
      "What --config names, or else the defaults below; a flag that is given overrides it.\n"
      "Experiments:\n  ",
      absl::StrJoin(FinetuneNames(), "\n  "), "\n", DescribeFlags(Groups()));
}

}  // namespace tec
