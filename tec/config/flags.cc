#include "tec/config/flags.h"

#include <algorithm>

#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "tec/base/path.h"
#include "tec/base/status.h"
#include "tec/config/base_model_flags.h"
#include "tec/config/cost.h"
#include "tec/config/flag_parser.h"
#include "tec/config/further_base_models.h"
#include "tec/config/own_images.h"

// Defaults: recipe.md section 9, main_pretrain.
ABSL_FLAG(std::string, method, "tec", "tec: predict the base model's features and relations; mae: predict pixels");
ABSL_FLAG(std::string, model, "mae_vit_large_patch16",
          "new model: mae_vit_{tiny,small,base,large}_patch16, mae_vit_huge_patch14, or custom (sizes by --config)");
ABSL_FLAG(std::string, further_models, "",
          "sizes of new models to train beside --model in the same passes of the base models, with commas between; "
          "their checkpoints are in output_dir/<size>");
ABSL_FLAG(bool, mlp_token, false, "the input adaptor: pass the CLS token through an MLP");
ABSL_FLAG(double, mlp_ratio, 4,
          "hidden width of the new model's MLPs over the width that they work on: of blocks, decoder blocks and input "
          "adaptor");
ABSL_FLAG(bool, pred_att, false, "predict the base model's patch relations too");
ABSL_FLAG(double, mask_ratio, 0.75, "part of the patches that the new model does not see");
ABSL_FLAG(bool, norm_pix_loss, false, "with --method=mae: standardise the pixels of each patch");
ABSL_FLAG(std::string, basemodel, "mae1kbase",
          "shape of the base model: mae1kbase, mae1klarge, mae1k300ep, ibot1kbase, or custom (sizes by --config)");
ABSL_FLAG(std::string, base_model, "",
          "checkpoint file of the base model; needed with --method=tec. Several, with commas between, are learnt from "
          "at once; each may have settings of its own behind colons: a.pth,b.pth:family=ibot:weight=0.5 (family, "
          "entry, grid, weight, last_layers, topkatt, att_tau, label, device)");
ABSL_FLAG(std::string, checkpoint, "", "the same as --base_model, under the name that every program has for weights");
ABSL_FLAG(double, drop_base_models, 0,
          "with several base models: rate at which one is left out for an image in each update; one always stays");
ABSL_FLAG(bool, init_from_base, false,
          "begin with the (first) base model's patch embedding, [CLS] and blocks instead of random ones");
ABSL_FLAG(std::string, mask, "random",
          "patches to remove: random; block: rectangles of neighbours; attention: rather those that the base model's "
          "[CLS] looks at");
ABSL_FLAG(
    double, mask_ratio_end, -1,
    "--mask_ratio of the last epoch, from that of the first along a straight line; negative: the same throughout");
ABSL_FLAG(bool, interpolate_positions, false,
          "fit the base model's position table where it is for another number of patches");
ABSL_FLAG(int64_t, last_layers, 2, "blocks of the base model whose mean is the feature target");
ABSL_FLAG(int64_t, topkatt, 15, "patches whose relations are predicted, with --pred_att");
ABSL_FLAG(double, att_tau, 1.8, "temperature of the relation target");
ABSL_FLAG(int64_t, epochs, 400, "passes over the data");
ABSL_FLAG(double, min_lr, 0, "learning rate at the end of the schedule");
ABSL_FLAG(double, warmup_epochs, 40, "epochs of linear warm-up");
ABSL_FLAG(int64_t, save_period, 50, "epochs between two numbered checkpoints; the last epoch always has one");

ABSL_FLAG(int64_t, knn_every, 0,
          "epochs between two kNN evaluations of the new model, logged as knn_top1 and knn_top5; 0: none");
ABSL_FLAG(std::string, knn_data_path, "",
          "class folders for it, with val/ or test/ or else each picture by the others; unless given, --data_path");
ABSL_FLAG(bool, dry_run, false, "print what the run computes and holds, for each base model and in all, and exit");
ABSL_FLAG(bool, open, false, "show the run's page at the end, with xdg-open");

namespace tec {
namespace {

constexpr char kCustom[] = "custom";

std::vector<FlagGroup> Groups() {
  return {
      {"What to run",
       {{"config", ""},
        {"print_config", ""},
        {"dry_run", ""},
        {"method", "method"},
        {"input_size", "model.encoder.image_size"}}},
      {"New model",
       {{"model", "model.name"},
        {"further_models", ""},
        {"mlp_token", "model.mlp_token"},
        {"mlp_ratio", "model.mlp_ratio"},
        {"pred_att", "model.pred_att"},
        {"init_from_base", "model.init_from_base"},
        {"mask_ratio", "masking.mask_ratio"},
        {"mask_ratio_end", "masking.mask_ratio_end"},
        {"mask", "masking.kind"},
        {"norm_pix_loss", "losses.norm_pix_loss"}}},
      {"What the base model's file does not tell", BaseModelFlags("base_model.")},
      {"Base model and targets",
       {{"base_model", "base_model.path"},
        {"checkpoint", ""},
        {"drop_base_models", "drop_base_models"},
        {"interpolate_positions", "base_model.interpolate_positions"},
        {"basemodel", "base_model.name"},
        {"last_layers", "base_model.last_layers"},
        {"topkatt", "base_model.topkatt"},
        {"att_tau", "losses.att_tau"}}},
      DataFlags(),
      OptimizerFlags(),
      OutputFlags(),
      SavingFlagGroup(),
      {"Monitor", {{"knn_every", ""}, {"knn_data_path", ""}, {"open", ""}}},
      RuntimeFlags(),
      DistributedFlagGroup(/*sends_gradients=*/true),
  };
}

// What follows from a name in the file gives way when a flag says another name.
void ForgetWhatFollowsFromNames(const ParsedFlags& parsed, const config::Experiment& before,
                                config::Experiment* experiment) {
  config::Model* model = experiment->mutable_model();
  if (parsed.Given("model") && model->name() != kCustom) {
    config::Vit encoder;
    encoder.set_image_size(model->encoder().image_size());
    *model->mutable_encoder() = encoder;
    model->clear_decoder();
    model->set_adaptor_groups(0);
    if (!parsed.Given("mlp_ratio")) model->clear_mlp_ratio();
  }
  // The decoder of a named size is another with another method.
  if (experiment->method() != before.method() && model->name() != kCustom) model->clear_decoder();
  config::BaseModel* base = experiment->mutable_base_model();
  if (parsed.Given("basemodel") && base->name() != kCustom) base->clear_encoder();
  // Both models see the same crop.
  if (parsed.Given("input_size")) base->mutable_encoder()->clear_image_size();
}

absl::StatusOr<config::Quickstart> QuickstartOf(const ParsedFlags& parsed, const std::vector<FlagGroup>& groups,
                                                const std::string& name_or_file, const Machine& machine) {
  static const auto* const understood = new std::vector<std::string>{
      "config",      "print_config", "seed",       "output_dir", "threads", "device", "precision",
      "num_workers", "fast_jpeg",    "print_freq", "epochs",     "report",  "open"};
  for (const std::string& name : parsed.given) {
    if (std::find(understood->begin(), understood->end(), name) != understood->end()) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "--", name,
        " does not apply to the quickstart, which runs without --config and --data_path; give one of these, "
        "or of the flags it understands: --",
        absl::StrJoin(*understood, ", --")));
  }
  TEC_ASSIGN_OR_RETURN(config::Quickstart quickstart, LoadQuickstart(name_or_file));
  for (config::Experiment* experiment : {quickstart.mutable_mae(), quickstart.mutable_tec()}) {
    TEC_RETURN_IF_ERROR(ApplyFlags(parsed, groups, experiment));
  }
  // A seed stands for the whole demonstration, its pictures included.
  if (parsed.Given("seed")) quickstart.mutable_pictures()->set_seed(quickstart.tec().seed());
  if (parsed.Given("output_dir")) quickstart.set_output_dir(quickstart.mae().logging().output_dir());
  quickstart.set_output_dir(UserPath(quickstart.output_dir()));
  quickstart = Resolve(quickstart, machine);
  TEC_RETURN_IF_ERROR(Validate(quickstart));
  return quickstart;
}

// The user's view of every path.
void ResolveAllPaths(config::Experiment* experiment) {
  ResolvePaths(experiment->mutable_data(), experiment->mutable_checkpointing(), experiment->mutable_logging());
  for (config::BaseModel& base : *experiment->mutable_further_base_models()) {
    base.set_path(AbsoluteUserPath(base.path()));
  }
  config::BaseModel* base = experiment->mutable_base_model();
  base->set_path(AbsoluteUserPath(base->path()));
}

// Resolved also where the files of further base models have to be looked at for it.
absl::StatusOr<config::Experiment> ResolveWithFiles(config::Experiment experiment, const Machine& machine) {
  // Their shapes follow from the new model's grid, and Resolve would take the first one's K for what is to be theirs.
  config::Experiment without = experiment;
  without.clear_further_base_models();
  *experiment.mutable_model() = Resolve(without, machine).model();
  TEC_RETURN_IF_ERROR(ShapeFurtherBaseModels(&experiment));
  return Resolve(experiment, machine);
}

// --further_models, in place of those of a file.
void TakeFurtherModels(const ParsedFlags& parsed, config::Experiment* experiment) {
  if (!parsed.Given("further_models")) return;
  experiment->clear_further_models();
  for (const absl::string_view name : absl::StrSplit(absl::GetFlag(FLAGS_further_models), ',', absl::SkipEmpty())) {
    experiment->add_further_models()->set_name(std::string(name));
  }
}

absl::StatusOr<config::Experiment> ExperimentOf(const ParsedFlags& parsed, const std::vector<FlagGroup>& groups,
                                                const std::string& name_or_file, const Machine& machine) {
  config::Experiment experiment = ReferenceExperiment();
  if (!name_or_file.empty()) {
    TEC_ASSIGN_OR_RETURN(experiment, LoadExperiment(name_or_file));
  }
  const config::Experiment before = experiment;
  TEC_RETURN_IF_ERROR(ApplyFlags(parsed, groups, &experiment));
  ForgetWhatFollowsFromNames(parsed, before, &experiment);
  FollowOutputDir(parsed, before.logging(), experiment.mutable_logging());
  TakeFurtherModels(parsed, &experiment);
  TEC_RETURN_IF_ERROR(SplitBaseModels(&experiment));
  TEC_ASSIGN_OR_RETURN(experiment, ResolveWithFiles(experiment, machine));
  ResolveAllPaths(&experiment);
  TEC_RETURN_IF_ERROR(Validate(experiment, PrintConfigFlag() ? Paths::kOptional : Paths::kRequired));
  return experiment;
}

absl::StatusOr<config::Experiment> OwnImagesOf(const ParsedFlags& parsed, const std::vector<FlagGroup>& groups,
                                               const Machine& machine, const SettleExperiment& settle,
                                               std::string* announcement) {
  config::Experiment given, experiment = ReferenceExperiment();
  TEC_RETURN_IF_ERROR(ApplyFlags(parsed, groups, &given));
  if (given.data().has_path()) given.mutable_data()->set_path(AbsoluteUserPath(given.data().path()));
  TakeFurtherModels(parsed, &given);
  TEC_RETURN_IF_ERROR(SplitBaseModels(&given));
  if (given.further_base_models_size() > 0) {
    // The new model's grid of patches comes from the first one's file, the shapes of the others from the grid.
    config::Experiment first = given, settled = experiment;
    first.clear_further_base_models();
    first.clear_drop_base_models();
    TEC_RETURN_IF_ERROR(settle(first, DistributedFlags(), machine, &settled).status());
    *settled.mutable_further_base_models() = given.further_base_models();
    TEC_ASSIGN_OR_RETURN(settled, ResolveWithFiles(settled, machine));
    *given.mutable_further_base_models() = settled.further_base_models();
  }
  TEC_ASSIGN_OR_RETURN(*announcement, settle(given, DistributedFlags(), machine, &experiment));
  FollowOutputDir(parsed, ReferenceExperiment().logging(), experiment.mutable_logging());
  experiment = Resolve(experiment, machine);
  ResolveAllPaths(&experiment);
  TEC_RETURN_IF_ERROR(Validate(experiment));
  return experiment;
}

}  // namespace

absl::StatusOr<CommandLine> ParseCommandLine(int argc, const char* const* argv, const Machine& machine,
                                             const SettleExperiment& own_images) {
  const std::vector<FlagGroup> groups = Groups();
  TEC_ASSIGN_OR_RETURN(ParsedFlags parsed, ParseFlags(argc, argv, groups));
  if (const std::string checkpoint = absl::GetFlag(FLAGS_checkpoint); !checkpoint.empty()) {
    if (parsed.Given("base_model")) {
      return absl::InvalidArgumentError("--checkpoint and --base_model mean the same here: give one");
    }
    absl::SetFlag(&FLAGS_base_model, checkpoint);
    std::replace(parsed.given.begin(), parsed.given.end(), std::string("checkpoint"), std::string("base_model"));
  }
  CommandLine command_line;
  command_line.help = parsed.help;
  if (parsed.help) return command_line;
  command_line.print_config = PrintConfigFlag();
  command_line.dry_run = absl::GetFlag(FLAGS_dry_run);
  command_line.distributed = DistributedFlags();
  TEC_ASSIGN_OR_RETURN(command_line.saving, ReadSavingFlags());
  command_line.open = absl::GetFlag(FLAGS_open);

  std::string name_or_file = ConfigFlag();
  if (name_or_file.empty() && !parsed.Given("data_path")) name_or_file = "quickstart";
  // The reference's commands name their models; it knows no --base_model.
  if (name_or_file.empty() && own_images && parsed.Given("base_model") && !parsed.Given("model") &&
      !parsed.Given("basemodel") && !(parsed.Given("method") && absl::GetFlag(FLAGS_method) != "tec")) {
    name_or_file = kOwnImages;
  }
  const bool settle = own_images && name_or_file == kOwnImages;
  if (!name_or_file.empty() && !settle) {
    TEC_ASSIGN_OR_RETURN(command_line.is_quickstart, IsQuickstart(name_or_file));
  }
  if (command_line.is_quickstart) {
    if (command_line.dry_run) {
      return absl::InvalidArgumentError("--dry_run is not for the quickstart: give --data_path and --base_model");
    }
    TEC_ASSIGN_OR_RETURN(command_line.quickstart, QuickstartOf(parsed, groups, name_or_file, machine));
  } else {
    if (settle) {
      TEC_ASSIGN_OR_RETURN(command_line.experiment,
                           OwnImagesOf(parsed, groups, machine, own_images, &command_line.announcement));
    } else {
      TEC_ASSIGN_OR_RETURN(command_line.experiment, ExperimentOf(parsed, groups, name_or_file, machine));
    }
    command_line.knn_every = absl::GetFlag(FLAGS_knn_every);
    if (command_line.knn_every < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("--knn_every=", command_line.knn_every, ": it must be at least 0"));
    }
    command_line.knn_data_path = UserPath(absl::GetFlag(FLAGS_knn_data_path));
    if (command_line.knn_data_path.empty()) command_line.knn_data_path = command_line.experiment.data().path();
  }
  return command_line;
}

std::optional<int> FinishEarly(const absl::StatusOr<CommandLine>& command_line) {
  return PrintAndFinish(
      command_line.status(), command_line.ok() && command_line->help, HelpText,
      command_line.ok() && (command_line->print_config || command_line->dry_run), [&] {
        if (command_line->dry_run) {
          return absl::StrCat(command_line->announcement, command_line->announcement.empty() ? "" : "\n",
                              DescribeCost(command_line->experiment));
        }
        return command_line->is_quickstart ? ToText(command_line->quickstart) : ToText(command_line->experiment);
      });
}

std::string HelpText() {
  std::vector<std::string> names = ExperimentNames();
  return absl::StrCat(
      "Pretrains a vision transformer against a base model (TEC), or makes a base model (MAE).\n"
      "\n"
      "  ./bazelw run //tec:pretrain\n"
      "      The quickstart: makes pictures and a base model, pretrains against it, compares.\n"
      "  ./bazelw run //tec:pretrain -- --data_path=/pictures --base_model=/checkpoints/base.pth "
      "--output_dir=/runs/mine\n"
      "      Your pictures: a new model of the base model's size, settings by how many pictures there are\n"
      "      (--config=own_images; a flag that is given overrides it).\n"
      "  ./bazelw run //tec:pretrain -- --config=vit_b_mae_300ep --data_path=/imagenet \\\n"
      "      --base_model=/checkpoints/mae_pretrain_vit_base.pth --output_dir=/runs/vit_b_mae_300ep\n"
      "  ./bazelw run //tec:pretrain -- --data_path=/pictures --base_model=/checkpoints/base.pth \\\n"
      "      --basemodel=mae1kbase --model=mae_vit_base_patch16 --mlp_token --pred_att\n"
      "  ./bazelw run //tec:pretrain -- --method=mae --data_path=/pictures --model=mae_vit_base_patch16\n"
      "\n"
      "What --config names, or else the defaults below; a flag that is given overrides it.\n"
      "Experiments:\n  own_images\n  ",
      absl::StrJoin(names, "\n  "), "\n", DescribeFlags(Groups()));
}

}  // namespace tec
