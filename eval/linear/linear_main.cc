// //eval:linear: linear classifiers on a frozen encoder, by MAE's protocol or by a sweep of many at once.
//
//   ./bazelw run //eval:linear -- --checkpoint=runs/tec/checkpoint-299.pth --data_path=/imagenet --accum_iter=32
//
// Exit codes: 0 done, 1 bad use or input, 2 failed while running, 3 stopped on request after saving.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/declare.h"
#include "absl/flags/flag.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "eval/linear/run_linear.h"
#include "eval/metrics/confusion_file.h"
#include "eval/program/frozen_program.h"
#include "eval/program/head_flags.h"
#include "eval/report/run_pictures.h"
#include "tec/base/program.h"
#include "tec/base/status.h"
#include "tec/config/distributed_flags.h"
#include "tec/dist/flags.h"
#include "tec/optim/schedule.h"
#include "tec/run/rank_runtime.h"

// Defaults are those of main_linprobe; a sweep's own ones (Preset below) take their place where a flag is not given.
ABSL_FLAG(std::string, protocol, "mae",
          "mae: one head, batch normalisation, LARS. ibot: 45 heads, a learning rate each, SGD. dinov2: 13 learning "
          "rates on four kinds of features, SGD.");
ABSL_FLAG(std::string, features, "",
          "What the heads read, separated by commas: cls, cls4 (the last four blocks' tokens), pool, cls+pool, "
          "cls4+pool, global_pool; empty: the protocol's.");
ABSL_FLAG(std::string, rates, "",
          "One head for each of these factors of the learning rate, separated by commas; empty: the protocol's.");
ABSL_FLAG(bool, global_pool, false, "mae: read the patch tokens' mean instead, as --features=global_pool.");
ABSL_FLAG(bool, cls_token, false, "mae: read the CLS token, which is the default.");
ABSL_FLAG(std::string, finetune, "", "Another name of --checkpoint, as main_linprobe has it.");
ABSL_DECLARE_FLAG(std::string, checkpoint);  // frozen_program.cc
ABSL_FLAG(int64_t, nb_classes, 0, "Number of classes; 0: as many as the training images have.");

ABSL_FLAG(bool, augment, true,
          "Crop and flip training images at random. Without it their features are computed once and for all.");
ABSL_FLAG(int64_t, batch_size, 512, "Images a rank and micro-step (128 in a sweep).");
ABSL_FLAG(int64_t, accum_iter, 1, "Micro-steps an update (8 in a sweep, whose rates are for 1024 images).");
ABSL_FLAG(int64_t, epochs, 90, "Passes over the images (ibot: 100, dinov2: 10).");
ABSL_FLAG(int64_t, epoch_length, 0, "Updates of an epoch, whatever the number of images; 0: one pass (dinov2: 1250).");
ABSL_FLAG(double, lr, 0, "Learning rate; 0: blr x batch_size x accum_iter x ranks / 256.");
ABSL_FLAG(double, blr, 0.1, "Learning rate per 256 images (1 in a sweep: --rates has the numbers).");
ABSL_FLAG(double, min_lr, 0, "Learning rate at the end of the schedule.");
ABSL_FLAG(double, warmup_epochs, 10, "Epochs of linear warm-up (0 in a sweep).");
ABSL_FLAG(double, weight_decay, 0, "Of the heads' weights.");

namespace tec {
namespace {

constexpr char kUsage[] =
    "Linear classifiers on a frozen encoder.\n\n"
    "  MAE's protocol, batch 16384 as published:\n"
    "  ./bazelw run //eval:linear -- --checkpoint=runs/tec/checkpoint-299.pth --data_path=/imagenet --accum_iter=32\n"
    "  45 learning rates at once:\n"
    "  ./bazelw run //eval:linear -- --checkpoint=... --data_path=/imagenet --protocol=ibot\n"
    "  The 1 % setting, without random crops, so that the encoder sees each image once:\n"
    "  ./bazelw run //eval:linear -- --checkpoint=... --data_path=/imagenet --train_fraction=0.01 --noaugment\n\n"
    "Without --output_dir the results are in ./output_dir. Called again, a run goes on where it stopped.\n\n";

std::vector<FlagGroup> Flags() {
  FlagGroup output = HeadOutputFlags();
  for (FlagSpec& flag : ReportFlags()) output.flags.push_back(std::move(flag));
  return {FrozenInputFlags(),
          {"Protocol",
           {{"protocol"},
            {"features"},
            {"rates"},
            {"global_pool"},
            {"cls_token"},
            {"finetune"},
            {"nb_classes"},
            {"augment"}}},
          {"Optimiser and schedule",
           {{"batch_size"},
            {"accum_iter"},
            {"epochs"},
            {"epoch_length"},
            {"lr"},
            {"blr"},
            {"min_lr"},
            {"warmup_epochs"},
            {"weight_decay"}}},
          output,
          ConfusionFlags(),
          FrozenRuntimeFlags()};
}

// What a protocol has in the place of main_linprobe's values.
struct Preset {
  std::vector<FeatureSpec> features;
  std::vector<double> rates;
  int64_t batch_size, accum_iter, epochs, epoch_length;
  double blr, warmup_epochs;
};

absl::StatusOr<Preset> PresetOf(const std::string& protocol) {
  if (protocol == "mae") return Preset{{kClsFeatures}, {1}, 512, 1, 90, 0, 0.1, 10};
  if (protocol == "ibot") {
    // {1..9} x {1e-4..1}. ViT-B and larger: the last block's token beside the mean of its patches.
    Preset preset{{{1, FeatureSpec::PatchMean::kAfterNorm}}, {}, 128, 8, 100, 0, 1, 0};
    for (int decade = -4; decade <= 0; ++decade) {
      for (int digit = 1; digit <= 9; ++digit) preset.rates.push_back(digit * std::pow(10, decade));
    }
    return preset;
  }
  if (protocol == "dinov2") {
    Preset preset{{}, {}, 128, 8, 10, 1250, 1, 0};
    for (const int64_t blocks : {1, 4}) {
      for (const auto mean : {FeatureSpec::PatchMean::kNone, FeatureSpec::PatchMean::kAfterNorm}) {
        preset.features.push_back({blocks, mean});
      }
    }
    for (int decade = -5; decade <= -2; ++decade) {
      for (const int digit : {1, 2, 5}) preset.rates.push_back(digit * std::pow(10, decade));
    }
    preset.rates.push_back(0.1);
    return preset;
  }
  return absl::InvalidArgumentError(absl::StrCat("--protocol=", protocol, ": it must be mae, ibot or dinov2"));
}

absl::Status TakeLists(LinearRunOptions* options) {
  const std::string features = absl::GetFlag(FLAGS_features), rates = absl::GetFlag(FLAGS_rates);
  if (absl::GetFlag(FLAGS_global_pool)) {
    if (!features.empty() || absl::GetFlag(FLAGS_cls_token)) {
      return absl::InvalidArgumentError("--global_pool contradicts --features or --cls_token; give one of them");
    }
    options->features = {kGlobalPoolFeatures};
  }
  if (absl::GetFlag(FLAGS_cls_token)) options->features = {kClsFeatures};
  if (!features.empty()) {
    options->features.clear();
    for (absl::string_view name : absl::StrSplit(features, ',')) {
      const absl::StatusOr<FeatureSpec> spec = ParseFeatureSpec(name);
      if (!spec.ok()) return Annotate(spec.status(), "--features");
      for (const FeatureSpec& other : options->features) {
        if (other == *spec) return absl::InvalidArgumentError(absl::StrCat("--features names ", name, " twice"));
      }
      options->features.push_back(*spec);
    }
  }
  if (!rates.empty()) {
    options->rates.clear();
    for (absl::string_view text : absl::StrSplit(rates, ',')) {
      double rate = 0;
      if (!absl::SimpleAtod(text, &rate) || !(rate > 0) || !std::isfinite(rate)) {
        return absl::InvalidArgumentError(absl::StrCat("--rates: \"", text, "\" is not a number above 0"));
      }
      options->rates.push_back(rate);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<LinearRunOptions> OptionsFromFlags(const ParsedFlags& parsed) {
  if (parsed.Given("finetune")) {
    if (parsed.Given("checkpoint")) return absl::InvalidArgumentError("--finetune is --checkpoint: give one of them");
    absl::SetFlag(&FLAGS_checkpoint, absl::GetFlag(FLAGS_finetune));
  }
  LinearRunOptions options;
  options.protocol = absl::GetFlag(FLAGS_protocol);
  TEC_ASSIGN_OR_RETURN(Preset preset, PresetOf(options.protocol));
  TEC_ASSIGN_OR_RETURN(options.frozen, FrozenSettingsFromFlags());
  TEC_RETURN_IF_ERROR(ReadHeadFlags(&options));
  TEC_ASSIGN_OR_RETURN(options.environment, LaunchEnvironmentOf(DistributedFlags()));
  options.features = std::move(preset.features);
  options.rates = std::move(preset.rates);
  TEC_RETURN_IF_ERROR(TakeLists(&options));

  const auto number = [&parsed](const char* name, auto given, auto otherwise) {
    return parsed.Given(name) ? given : otherwise;
  };
  options.batch_size = number("batch_size", absl::GetFlag(FLAGS_batch_size), preset.batch_size);
  options.accum_iter = number("accum_iter", absl::GetFlag(FLAGS_accum_iter), preset.accum_iter);
  options.epochs = number("epochs", absl::GetFlag(FLAGS_epochs), preset.epochs);
  options.epoch_length = number("epoch_length", absl::GetFlag(FLAGS_epoch_length), preset.epoch_length);
  options.warmup_epochs = number("warmup_epochs", absl::GetFlag(FLAGS_warmup_epochs), preset.warmup_epochs);
  const double blr = number("blr", absl::GetFlag(FLAGS_blr), preset.blr);
  options.lr = absl::GetFlag(FLAGS_lr) > 0
                   ? absl::GetFlag(FLAGS_lr)
                   : EffectiveLearningRate(blr, options.batch_size, options.accum_iter, options.environment.world_size);
  options.min_lr = absl::GetFlag(FLAGS_min_lr);
  options.weight_decay = absl::GetFlag(FLAGS_weight_decay);
  const bool mae = options.protocol == "mae";
  options.batch_norm = mae;
  if (!mae) options.optimizer.trust_coefficient = 0;
  options.lr_by_epoch = options.protocol == "ibot";
  options.crop = !absl::GetFlag(FLAGS_augment) ? LinearRunOptions::Crop::kNone
                 : mae                         ? LinearRunOptions::Crop::kSingleDraw
                 : options.protocol == "ibot"  ? LinearRunOptions::Crop::kRandomResizedBilinear
                                               : LinearRunOptions::Crop::kRandomResized;
  options.nb_classes = absl::GetFlag(FLAGS_nb_classes);

  TEC_RETURN_IF_ERROR(CheckAtLeast("batch_size", options.batch_size, options.batch_norm ? 2 : 1));
  TEC_RETURN_IF_ERROR(CheckAtLeast("accum_iter", options.accum_iter, 1));
  TEC_RETURN_IF_ERROR(CheckAtLeast("epochs", options.epochs, 1));
  TEC_RETURN_IF_ERROR(CheckAtLeast("epoch_length", options.epoch_length, 0));
  TEC_RETURN_IF_ERROR(CheckAtLeast("nb_classes", options.nb_classes, 0));
  TEC_RETURN_IF_ERROR(CheckNotNegative({{"lr", options.lr},
                                        {"min_lr", options.min_lr},
                                        {"warmup_epochs", options.warmup_epochs},
                                        {"weight_decay", options.weight_decay}}));
  options.frozen.features.batch_size = std::min<int64_t>(options.batch_size, 128);  // Of unaugmented images.
  return options;
}

absl::StatusOr<FrozenWork> Prepare(const ParsedFlags& parsed) {
  TEC_ASSIGN_OR_RETURN(const LinearRunOptions options, OptionsFromFlags(parsed));
  return FrozenWork([options]() -> absl::Status {
    const Distributed flags = DistributedFlags();
    TEC_RETURN_IF_ERROR(PrepareRank({options.frozen.device, flags.bind, flags.deterministic}, options.environment));
    // The page is the first rank's.
    const bool has_page = !options.eval && options.environment.rank == 0;
    return RunWithPage(has_page ? options.frozen.output_dir : "", /*draws=*/true,
                       [&options] { return RunLinear(options); });
  });
}

}  // namespace
}  // namespace tec

int main(int argc, char** argv) {
  return tec::RunProgram(argc, argv, [](int count, char** arguments) {
    if (const std::optional<int> exit_code = tec::DrawRunPicturesIfAsked()) return *exit_code;
    return tec::FrozenRanksMain(count, arguments, "linear", tec::kUsage, tec::Flags(), tec::Prepare);
  });
}
