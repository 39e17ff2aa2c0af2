#include "tec/config/finetune.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"
#include "tec/config/checks.h"
#include "tec/config/defaults.h"
#include "tec/config/embedded.h"
#include "tec/config/text.h"

namespace tec {
namespace {

using config_internal::NamedEncoder;
using config_internal::Problems;

// Beside what all runs share. recipe.md sections 9 and 13. nb_classes is not the reference's 1000 but what the data
// have, on ImageNet the same. AdamW's betas are PyTorch's own here, not pretraining's; numbered checkpoints come every
// 40 epochs.
constexpr char kReference[] = R"(
  model: "vit_large_patch16"
  mlp_token: false
  global_pool: true
  drop_path: 0.1
  nb_classes: 0
  finetune: ""
  family: ""
  entry: ""
  grid: ""
  eval: false
  dist_eval: false
  augmentation {
    color_jitter: 0
    aa: "rand-m9-mstd0.5-inc1"
    smoothing: 0.1
    reprob: 0.25
    remode: "pixel"
    recount: 1
    resplit: false
    mixup: 0
    cutmix: 0
    mixup_prob: 1
    mixup_switch_prob: 0.5
    mixup_mode: "batch"
  }
  layer_decay: 0.75
  shots: 0
  subset_seed: 0
  model_ema: false
  model_ema_decay: 0.9999
  data { crop_scale_min: 0.08 }
  optimizer { beta2: 0.999 }
  schedule { epochs: 50 warmup_epochs: 5 min_lr: 1e-6 }
  checkpointing { save_period: 40 }
)";

const config_internal::Defaults<config::Finetune>& FinetuningDefaults() {
  static const auto* const defaults = new config_internal::Defaults<config::Finetune>(kReference, "finetuning");
  return *defaults;
}

constexpr char kModelPrefix[] = "vit_";
constexpr char kCustom[] = "custom";
constexpr char kFromCheckpoint[] = "from_checkpoint";
constexpr int64_t kImageSize = 224;

const NamedEncoder* EncoderOfModel(absl::string_view name) {
  return absl::ConsumePrefix(&name, kModelPrefix) ? config_internal::FindEncoder(name) : nullptr;
}

void CheckAugmentation(const config::Finetune& finetune, Problems* problems) {
  const config::Augmentation& augmentation = finetune.augmentation();
  const int64_t batch_size = finetune.optimizer().batch_size();
  const auto one_of = [problems](const char* what, const std::string& value, const std::vector<std::string>& known) {
    if (std::find(known.begin(), known.end(), value) != known.end()) return;
    problems->Add(absl::StrCat(what, " is \"", value, "\"; it must be one of ", absl::StrJoin(known, ", ")));
  };
  // Both change colours: of RGB they know what these are.
  if (finetune.data().channels() != 3 && !finetune.eval()) {
    const std::string why = absl::StrCat(" is for RGB pictures, but data.channels (--channels) is ",
                                         finetune.data().channels(), "; give --");
    problems->AddIf(!augmentation.aa().empty(),
                    absl::StrCat("augmentation.aa (--aa) is \"", augmentation.aa(), "\": RandAugment", why, "aa="));
    problems->AddIf(augmentation.aa().empty() && augmentation.color_jitter() > 0,
                    absl::StrCat("augmentation.color_jitter (--color_jitter) is ", augmentation.color_jitter(),
                                 ": colour jitter", why, "color_jitter=0"));
  }
  problems->AddIf(augmentation.smoothing() < 0 || augmentation.smoothing() >= 1,
                  absl::StrCat("augmentation.smoothing (--smoothing) is ", augmentation.smoothing(),
                               "; it must be at least 0 and less than 1"));
  problems->Range("augmentation.reprob (--reprob)", augmentation.reprob(), 0.0, 1.0);
  one_of("augmentation.remode (--remode)", augmentation.remode(), {"const", "rand", "pixel"});
  problems->Range("augmentation.recount (--recount)", augmentation.recount(), 1, 1000);
  problems->Range("augmentation.color_jitter (--color_jitter)", augmentation.color_jitter(), 0.0, INFINITY);
  problems->Range("augmentation.mixup (--mixup)", augmentation.mixup(), 0.0, INFINITY);
  problems->Range("augmentation.cutmix (--cutmix)", augmentation.cutmix(), 0.0, INFINITY);
  problems->Range("augmentation.mixup_prob (--mixup_prob)", augmentation.mixup_prob(), 0.0, 1.0);
  problems->Range("augmentation.mixup_switch_prob (--mixup_switch_prob)", augmentation.mixup_switch_prob(), 0.0, 1.0);
  one_of("augmentation.mixup_mode (--mixup_mode)", augmentation.mixup_mode(), {"batch", "pair", "elem"});
  const auto& minmax = augmentation.cutmix_minmax();
  problems->AddIf(minmax.size() != 0 && minmax.size() != 2,
                  absl::StrCat("augmentation.cutmix_minmax (--cutmix_minmax) has ", minmax.size(),
                               " values; it must have 2 or none"));
  problems->AddIf(minmax.size() == 2 && !(minmax[0] >= 0 && minmax[0] < minmax[1] && minmax[1] <= 1),
                  absl::StrCat("augmentation.cutmix_minmax (--cutmix_minmax) is ", absl::StrJoin(minmax, " "),
                               "; it must be two shares of the side, 0 to 1, the smaller one first"));
  const bool mixes = augmentation.mixup() > 0 || augmentation.cutmix() > 0 || !minmax.empty();
  problems->AddIf(mixes && !finetune.eval() && batch_size % 2 != 0,
                  absl::StrCat("optimizer.batch_size (--batch_size) is ", batch_size,
                               ", an odd number; mixup and cutmix pair the pictures of a batch"));
}

}  // namespace

config::Finetune ReferenceFinetune() { return FinetuningDefaults().settings(); }

absl::StatusOr<config::Finetune> ParseFinetune(const std::string& text, const std::string& file) {
  return FinetuningDefaults().Parse(text, file);
}

absl::StatusOr<config::Finetune> LoadFinetune(const std::string& name_or_file) {
  return FinetuningDefaults().Load(name_or_file);
}

std::vector<std::string> FinetuneNames() {
  std::vector<std::string> names;
  for (const std::string& name : EmbeddedNames()) {
    if (ParseFinetune(FindEmbedded(name), name).ok()) names.push_back(name);
  }
  return names;
}

config::Finetune Resolve(config::Finetune finetune, const Machine& machine) {
  if (const NamedEncoder* named = EncoderOfModel(finetune.model())) {
    config_internal::FillEncoder(*named, finetune.mutable_encoder());
  }
  if (finetune.model() != kFromCheckpoint && !finetune.encoder().has_image_size()) {
    finetune.mutable_encoder()->set_image_size(kImageSize);
  }
  config_internal::FillRun(machine, finetune.mutable_logging(), finetune.mutable_runtime());
  return finetune;
}

absl::Status Validate(const config::Finetune& resolved, Paths paths) {
  Problems problems;
  problems.NotFinite(resolved);
  problems.Range("seed (--seed)", resolved.seed(), 0, int64_t{1} << 62);
  if (resolved.model() == kFromCheckpoint) {
    // The file says; whoever reads it checks the sizes. An image size, if there is one, changes the grid.
    problems.AddIf(resolved.finetune().empty() && resolved.checkpointing().resume().empty() && !resolved.eval(),
                   "model (--model) is from_checkpoint; give --finetune=CHECKPOINT");
    if (resolved.encoder().has_heads()) {
      problems.Range("encoder.heads (--heads)", resolved.encoder().heads(), 1, 1 << 16);
    }
    if (resolved.encoder().has_image_size()) {
      problems.Range("encoder.image_size (--input_size)", resolved.encoder().image_size(), 1, 1 << 16);
    }
  } else if (resolved.model() != kCustom && EncoderOfModel(resolved.model()) == nullptr) {
    std::vector<std::string> known;
    for (const NamedEncoder& encoder : config_internal::NamedEncoders()) {
      known.push_back(absl::StrCat(kModelPrefix, encoder.name));
    }
    known.push_back(kCustom);
    known.push_back(kFromCheckpoint);
    problems.Add(absl::StrCat("model (--model) is \"", resolved.model(), "\", which is not known",
                              DidYouMean(resolved.model(), known), " (known: ", absl::StrJoin(known, ", "), ")"));
  } else {
    config_internal::CheckEncoder("encoder", resolved.encoder(), /*sincos_positions=*/true, &problems);
  }
  problems.AddIf(
      resolved.drop_path() < 0 || resolved.drop_path() >= 1,
      absl::StrCat("drop_path (--drop_path) is ", resolved.drop_path(), "; it must be at least 0 and less than 1"));
  problems.AddIf(resolved.nb_classes() == 1,
                 "nb_classes (--nb_classes) is 1; it must be at least 2, or 0 for the data's");
  problems.Range("nb_classes (--nb_classes)", resolved.nb_classes(), 0, 1 << 24);
  problems.AddIf(resolved.layer_decay() <= 0 || resolved.layer_decay() > 1,
                 absl::StrCat("layer_decay (--layer_decay) is ", resolved.layer_decay(),
                              "; it must be larger than 0 and at most 1"));
  problems.Range("shots (--shots)", resolved.shots(), 0, int64_t{1} << 32);
  problems.Range("subset_seed (--subset_seed)", resolved.subset_seed(), 0, int64_t{1} << 62);
  problems.AddIf(resolved.shots() > 0 && resolved.data().train_fraction() < 1,
                 "shots (--shots) and data.train_fraction (--train_fraction) are both given; it must be one of them");
  problems.AddIf(resolved.model_ema_decay() < 0 || resolved.model_ema_decay() >= 1,
                 absl::StrCat("model_ema_decay (--model_ema_decay) is ", resolved.model_ema_decay(),
                              "; it must be at least 0 and less than 1"));
  problems.AddIf(absl::StartsWith(resolved.finetune(), "https://") || absl::StartsWith(resolved.finetune(), "http://"),
                 absl::StrCat("finetune (--finetune) is an address, ", resolved.finetune(),
                              "; download the file and give its path"));
  CheckAugmentation(resolved, &problems);
  config_internal::CheckData(resolved.data(), paths, &problems);
  config_internal::CheckOptimizer(resolved.optimizer(), &problems);
  config_internal::CheckSchedule(resolved.schedule(), &problems);
  config_internal::CheckCheckpointing(resolved.checkpointing(), &problems);
  config_internal::CheckLogging(resolved.logging(), &problems);
  config_internal::CheckRuntime(resolved.runtime(), &problems);
  return problems.ToStatus("finetuning experiment");
}

std::string ToText(const config::Finetune& finetune) { return MessageToText(finetune); }

}  // namespace tec
