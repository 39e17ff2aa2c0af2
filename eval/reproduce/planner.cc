#include "eval/reproduce/planner.h"

#include <cmath>

#include "absl/strings/str_format.h"

namespace tec {
namespace planner_internal {
namespace {

constexpr int kCheckpointCopies = 3;  // Each parameter, and AdamW's two moments.
constexpr double kFloat = 4;

// As the reference's commands write numbers: 0.05, 1.5e-4.
std::string Number(double value) {
  const int exponent = value > 0 ? static_cast<int>(std::floor(std::log10(value))) : 0;
  return exponent >= -2 ? absl::StrCat(value) : absl::StrFormat("%ge%d", value * std::pow(10.0, -exponent), exponent);
}

std::string Switch(bool on, absl::string_view flag) { return absl::StrCat(on ? "--" : "--no", flag); }

void AppendTraining(const config::Optimizer& optimizer, const config::Schedule& schedule, int64_t seed,
                    std::vector<std::string>* flags) {
  flags->push_back(absl::StrCat("--batch_size=", optimizer.batch_size()));
  flags->push_back(absl::StrCat("--accum_iter=", optimizer.accum_iter()));
  flags->push_back(absl::StrCat("--epochs=", schedule.epochs()));
  flags->push_back(absl::StrCat("--warmup_epochs=", Number(schedule.warmup_epochs())));
  flags->push_back(optimizer.lr() != 0 ? absl::StrCat("--lr=", Number(optimizer.lr()))
                                       : absl::StrCat("--blr=", Number(optimizer.blr())));
  flags->push_back(absl::StrCat("--min_lr=", Number(schedule.min_lr())));
  flags->push_back(absl::StrCat("--weight_decay=", Number(optimizer.weight_decay())));
  flags->push_back(absl::StrCat("--seed=", seed));
}

}  // namespace

double WrittenBytes(double parameters, double each_epoch, const config::Schedule& schedule,
                    const config::Checkpointing& checkpointing) {
  const double epochs = static_cast<double>(schedule.epochs());
  const double numbered =
      1 + (checkpointing.save_period() > 0 ? std::ceil(epochs / static_cast<double>(checkpointing.save_period())) : 0);
  return parameters * kFloat * kCheckpointCopies * (each_epoch * epochs + numbered);
}

std::string LearningRateText(const config::Optimizer& optimizer, int64_t ranks) {
  const int64_t images = optimizer.batch_size() * optimizer.accum_iter() * ranks;
  const std::string rate = absl::StrCat("lr ", Number(LearningRate(optimizer, ranks)));
  if (optimizer.lr() != 0) return absl::StrCat(rate, ", ", images, " images an update");
  return absl::StrCat(rate, " = blr ", Number(optimizer.blr()), " x ", images, " images an update / 256");
}

std::vector<std::string> SettingsOf(const config::Experiment& experiment) {
  const config::Model& model = experiment.model();
  const config::BaseModel& base = experiment.base_model();
  std::vector<std::string> flags = {absl::StrCat("--model=", model.name())};
  if (experiment.method() == config::MAE) {
    flags.push_back("--method=mae");
    flags.push_back(Switch(experiment.losses().norm_pix_loss(), "norm_pix_loss"));
  } else {
    flags.insert(flags.end(),
                 {Switch(model.mlp_token(), "mlp_token"), Switch(model.pred_att(), "pred_att"),
                  absl::StrCat("--basemodel=", base.name()), absl::StrCat("--last_layers=", base.last_layers()),
                  absl::StrCat("--topkatt=", base.topkatt()),
                  absl::StrCat("--att_tau=", Number(experiment.losses().att_tau()))});
  }
  flags.push_back(absl::StrCat("--mask_ratio=", Number(experiment.masking().mask_ratio())));
  AppendTraining(experiment.optimizer(), experiment.schedule(), experiment.seed(), &flags);
  return flags;
}

std::vector<std::string> SettingsOf(const config::Finetune& finetune) {
  const config::Augmentation& augmentation = finetune.augmentation();
  std::vector<std::string> flags = {
      absl::StrCat("--model=", finetune.model()),
      Switch(finetune.mlp_token(), "mlp_token"),
      absl::StrCat("--nb_classes=", finetune.nb_classes()),
      absl::StrCat("--drop_path=", Number(finetune.drop_path())),
      absl::StrCat("--layer_decay=", Number(finetune.layer_decay())),
      absl::StrCat("--aa=", augmentation.aa()),
      absl::StrCat("--smoothing=", Number(augmentation.smoothing())),
      absl::StrCat("--reprob=", Number(augmentation.reprob())),
      absl::StrCat("--mixup=", Number(augmentation.mixup())),
      absl::StrCat("--cutmix=", Number(augmentation.cutmix())),
      Switch(finetune.dist_eval(), "dist_eval"),
  };
  AppendTraining(finetune.optimizer(), finetune.schedule(), finetune.seed(), &flags);
  return flags;
}

double EvaluationFlops(const config::Experiment&, int64_t) { return 0; }
double EvaluationFlops(const config::Finetune& resolved, int64_t held_out_images) {
  return static_cast<double>(resolved.schedule().epochs() * held_out_images) *
         EncoderFlopsPerImage(resolved.encoder(), resolved.data());
}

}  // namespace planner_internal

std::vector<std::string> Planner::MachineFlags() const {
  std::vector<std::string> flags = {absl::StrCat("--device=", plan_.options.device),
                                    absl::StrCat("--num_workers=", plan_.options.num_workers)};
  if (plan_.options.threads > 0) flags.push_back(absl::StrCat("--threads=", plan_.options.threads));
  return flags;
}

std::vector<std::string> Planner::EvaluatorFlags(const Stage& stage, const std::string& checkpoint,
                                                 const std::string& data_path) const {
  std::vector<std::string> flags = {absl::StrCat("--checkpoint=", checkpoint), absl::StrCat("--data_path=", data_path),
                                    absl::StrCat("--output_dir=", FolderOf(stage.name))};
  for (const std::string& flag : MachineFlags()) flags.push_back(flag);
  return flags;
}

void Planner::AddKnn(Stage stage, const config::Experiment& encoder, const std::string& checkpoint,
                     const std::string& data_path) {
  stage.arguments = EvaluatorFlags(stage, checkpoint, data_path);
  stage.spelled_out = stage.arguments;
  const config::Experiment resolved = Resolve(encoder);
  const config::Vit& vit = resolved.model().encoder();
  const double train = static_cast<double>(images_.train), held_out = static_cast<double>(images_.held_out);
  // The features, and each held-out one times each training one.
  stage.evaluation_flops = (train + held_out) * EncoderFlopsPerImage(vit, resolved.data()) +
                           2 * train * held_out * static_cast<double>(vit.width());
  stage.done_file = absl::StrCat(FolderOf(stage.name), "/results.json");
  stage.result = ResultKind::kKnnJson;
  plan_.stages.push_back(std::move(stage));
}

void Planner::AddLinear(Stage stage, const config::Experiment& encoder, const std::string& checkpoint,
                        const std::string& data_path) {
  stage.arguments = EvaluatorFlags(stage, checkpoint, data_path);
  // Features once, then heads alone; the protocol's batches and rate are for ImageNet's million images.
  for (const char* flag :
       {"--features=pool", "--noaugment", "--epochs=50", "--warmup_epochs=5", "--batch_size=64", "--blr=100"}) {
    stage.arguments.push_back(flag);
  }
  stage.spelled_out = stage.arguments;
  const config::Experiment resolved = Resolve(encoder);
  stage.evaluation_flops = static_cast<double>(images_.train + images_.held_out) *
                           EncoderFlopsPerImage(resolved.model().encoder(), resolved.data());
  stage.done_file = absl::StrCat(FolderOf(stage.name), "/results.json");
  stage.result = ResultKind::kLinearJson;
  plan_.stages.push_back(std::move(stage));
}

MiniChain MiniChainFor(const ReproduceOptions& options) {
  MiniChain chain = LoadMiniChain();
  if (options.epochs == 0) return chain;
  for (config::Schedule* schedule :
       {chain.mae.mutable_schedule(), chain.tec.mutable_schedule(), chain.finetune.mutable_schedule()}) {
    schedule->set_epochs(options.epochs);
  }
  return chain;
}

ImageCounts MiniImages(const ReproduceOptions& options, const ImageCounts& images) {
  return {std::min(images.train, options.train_images), std::min(images.held_out, options.held_out_images)};
}

}  // namespace tec
