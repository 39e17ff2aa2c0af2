#include "eval/reproduce/plan.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"
#include "tec/config/config.h"
#include "tec/config/cost.h"
#include "tec/config/finetune.h"
#include "tec/config/rows.h"
#include "tec/dist/launch.h"

namespace tec {
namespace {

constexpr int kCheckpointCopies = 3;  // Each parameter, and AdamW's two moments.
constexpr double kFloat = 4;

// Micro-steps an update so that `ranks` processes make the batch that the row's number of processes makes.
absl::StatusOr<int64_t> AccumulationFor(const config::Optimizer& optimizer, int64_t row_ranks, int64_t ranks) {
  const int64_t micro_batches = optimizer.accum_iter() * row_ranks;
  if (micro_batches % ranks != 0) {
    return absl::InvalidArgumentError(absl::StrCat("--nproc=", ranks, ": the row's ", micro_batches, " batches of ",
                                                   optimizer.batch_size(), " an update cannot be shared equally among ",
                                                   ranks, " processes"));
  }
  return micro_batches / ranks;
}

// Checkpoints a run writes: `each_epoch` after each epoch and the numbered ones.
double WrittenBytes(double parameters, double each_epoch, const config::Schedule& schedule,
                    const config::Checkpointing& checkpointing) {
  const double epochs = static_cast<double>(schedule.epochs());
  const double numbered =
      1 + (checkpointing.save_period() > 0 ? std::ceil(epochs / static_cast<double>(checkpointing.save_period())) : 0);
  return parameters * kFloat * kCheckpointCopies * (each_epoch * epochs + numbered);
}

// As the reference's commands write numbers: 0.05, 1.5e-4.
std::string Number(double value) {
  const int exponent = value > 0 ? static_cast<int>(std::floor(std::log10(value))) : 0;
  return exponent >= -2 ? absl::StrCat(value) : absl::StrFormat("%ge%d", value * std::pow(10.0, -exponent), exponent);
}

std::string Switch(bool on, absl::string_view flag) { return absl::StrCat(on ? "--" : "--no", flag); }

std::string LearningRateText(const config::Optimizer& optimizer, int64_t ranks) {
  const int64_t images = optimizer.batch_size() * optimizer.accum_iter() * ranks;
  const std::string rate = absl::StrCat("lr ", Number(LearningRate(optimizer, ranks)));
  if (optimizer.lr() != 0) return absl::StrCat(rate, ", ", images, " images an update");
  return absl::StrCat(rate, " = blr ", Number(optimizer.blr()), " x ", images, " images an update / 256");
}

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
constexpr double CheckpointsAnEpoch(const config::Experiment&) { return 1; }
constexpr double CheckpointsAnEpoch(const config::Finetune&) { return 2; }  // best_checkpoint beside this_checkpoint.

class Planner {
 public:
  Planner(ReproducePlan* plan, const ImageCounts& images) : plan_(*plan), images_(images) {}

  Stage New(Program program, const std::string& name, const std::string& what, int64_t seed,
            const std::string& encoder) const {
    Stage stage;
    stage.name = name;
    stage.what = what;
    stage.seed = seed;
    stage.encoder = encoder;
    stage.program = program;
    return stage;
  }

  std::string FolderOf(const std::string& name) const { return absl::StrCat(plan_.options.output_dir, "/", name); }

  // Paths and the machine, in the settings of a run.
  template <typename Settings>
  void Place(const std::string& name, const std::string& data_path, int64_t seed, Settings* settings) const {
    settings->mutable_data()->set_path(data_path);
    settings->mutable_data()->set_num_workers(plan_.options.num_workers);
    settings->mutable_logging()->set_output_dir(FolderOf(name));
    settings->mutable_logging()->clear_log_dir();
    settings->mutable_runtime()->set_device(plan_.options.device);
    settings->mutable_runtime()->set_threads(plan_.options.threads);
    settings->set_seed(seed);
  }

  // The last checkpoint of a run.
  template <typename Settings>
  std::string LastCheckpoint(const Settings& settings) const {
    return absl::StrCat(settings.logging().output_dir(), "/checkpoint-", settings.schedule().epochs() - 1, ".pth");
  }

  // `config`: the embedded name that `settings` were made from; `inputs`: flags that name the files it starts from.
  template <typename Settings>
  void AddTraining(Stage stage, const std::string& config, const Settings& settings,
                   const std::vector<std::string>& inputs, int ranks) {
    const Settings resolved = Resolve(settings);
    stage.ranks = ranks;
    stage.config_path = FolderOf(absl::StrCat("configs/", stage.name, ".textproto"));
    // Unresolved: what depends on the machine, the precision, is decided by the program where it runs.
    stage.config_text = ToText(settings);
    stage.arguments.push_back(absl::StrCat("--config=", stage.config_path));
    stage.spelled_out = {absl::StrCat("--config=", config)};
    for (const std::string& flag : SettingsOf(settings)) stage.spelled_out.push_back(flag);
    stage.spelled_out.push_back(absl::StrCat("--data_path=", settings.data().path()));
    stage.spelled_out.insert(stage.spelled_out.end(), inputs.begin(), inputs.end());
    stage.spelled_out.push_back(absl::StrCat("--output_dir=", settings.logging().output_dir()));
    for (const std::string& flag : MachineFlags(plan_.options.num_workers)) stage.spelled_out.push_back(flag);
    stage.learning_rate = LearningRateText(settings.optimizer(), ranks);
    stage.done_file = LastCheckpoint(settings);
    stage.images = static_cast<double>(images_.train) * static_cast<double>(settings.schedule().epochs());
    stage.flops = stage.images * TrainingFlopsPerImage(resolved);
    stage.evaluation_flops = EvaluationFlops(resolved, images_.held_out);
    stage.written_bytes = WrittenBytes(TrainedParameters(resolved), CheckpointsAnEpoch(resolved), settings.schedule(),
                                       settings.checkpointing());
    plan_.stages.push_back(std::move(stage));
  }

  void AddKnn(Stage stage, const config::Experiment& encoder, const std::string& data_path) {
    const std::string folder = FolderOf(stage.name);
    stage.arguments = {absl::StrCat("--checkpoint=", LastCheckpoint(encoder)), absl::StrCat("--data_path=", data_path),
                       absl::StrCat("--output_dir=", folder)};
    const int64_t num_workers = std::max<int64_t>(1, plan_.options.num_workers);
    for (const std::string& flag : MachineFlags(num_workers)) stage.arguments.push_back(flag);
    stage.spelled_out = stage.arguments;
    const config::Experiment resolved = Resolve(encoder);
    const config::Vit& vit = resolved.model().encoder();
    const double train = static_cast<double>(images_.train), held_out = static_cast<double>(images_.held_out);
    // The features, and each held-out one times each training one.
    stage.evaluation_flops = (train + held_out) * EncoderFlopsPerImage(vit, resolved.data()) +
                             2 * train * held_out * static_cast<double>(vit.width());
    stage.done_file = absl::StrCat(folder, "/results.json");
    stage.result = ResultKind::kKnnJson;
    plan_.stages.push_back(std::move(stage));
  }

 private:
  std::vector<std::string> MachineFlags(int64_t num_workers) const {
    std::vector<std::string> flags = {absl::StrCat("--device=", plan_.options.device),
                                      absl::StrCat("--num_workers=", num_workers)};
    if (plan_.options.threads > 0) flags.push_back(absl::StrCat("--threads=", plan_.options.threads));
    return flags;
  }

  ReproducePlan& plan_;
  const ImageCounts images_;
};

// An input that is not given: an error or, in a dry run, a line of the plan.
absl::Status Missing(const std::string& what, ReproducePlan* plan) {
  if (!plan->options.dry_run) return absl::InvalidArgumentError(what);
  plan->missing.push_back(what);
  return absl::OkStatus();
}

absl::Status PlanPaper(ReproducePlan* plan, const ImageCounts& images) {
  const ReproduceOptions& options = plan->options;
  if (options.seeds.size() > 1) {
    return absl::InvalidArgumentError("--seeds: one seed at a time with --scale=paper; each takes days");
  }
  if (options.base_model.empty()) {
    TEC_RETURN_IF_ERROR(Missing(
        absl::StrCat("--base_model is needed: ", plan->row.base_model_file(), " (", plan->row.base_model_source(), ")"),
        plan));
    plan->options.base_model = plan->row.base_model_file();
  }
  config::Experiment pretrain = plan->row.pretrain();
  config::Finetune finetune = plan->row.finetune();
  Planner planner(plan, images);
  const int64_t seed = options.seeds.empty() ? pretrain.seed() : options.seeds[0];

  planner.Place("pretrain", options.data_path, seed, &pretrain);
  pretrain.mutable_base_model()->set_path(options.base_model);
  TEC_ASSIGN_OR_RETURN(const int64_t pretrain_accum,
                       AccumulationFor(pretrain.optimizer(), plan->row.ranks(), options.ranks));
  pretrain.mutable_optimizer()->set_accum_iter(pretrain_accum);
  planner.AddTraining(planner.New(Program::kPretrain, "pretrain", "pretrain the new model", seed, "tec"),
                      plan->row.name(), pretrain, {absl::StrCat("--base_model=", options.base_model)}, options.ranks);
  const std::string checkpoint = planner.LastCheckpoint(pretrain);

  Stage convert = planner.New(Program::kConvert, "encoder", "its encoder as a file of its own", seed, "tec");
  const std::string file = absl::StrCat(plan->row.name(), ".pth");
  convert.done_file = absl::StrCat(planner.FolderOf(convert.name), "/", file);
  convert.arguments = {absl::StrCat("--resume=", checkpoint),
                       absl::StrCat("--output_dir=", planner.FolderOf(convert.name)), absl::StrCat("--ckptname=", file),
                       "--mlp_token"};
  convert.spelled_out = convert.arguments;
  plan->stages.push_back(std::move(convert));

  planner.AddKnn(planner.New(Program::kKnn, "knn", "k-nearest neighbours", seed, "tec"), pretrain, options.data_path);

  planner.Place("finetune", options.data_path, seed, &finetune);
  finetune.set_finetune(checkpoint);
  TEC_ASSIGN_OR_RETURN(const int64_t finetune_accum,
                       AccumulationFor(finetune.optimizer(), plan->row.ranks(), options.ranks));
  finetune.mutable_optimizer()->set_accum_iter(finetune_accum);
  Stage stage = planner.New(Program::kFinetune, "finetune", "finetune it, evaluating every epoch", seed, "tec");
  stage.result = ResultKind::kFinetuneLog;
  planner.AddTraining(std::move(stage), plan->row.name(), finetune, {absl::StrCat("--finetune=", checkpoint)},
                      options.ranks);
  return absl::OkStatus();
}

absl::Status PlanMini(ReproducePlan* plan, const ImageCounts& images) {
  const ReproduceOptions& options = plan->options;
  if (options.ranks != 1) return absl::InvalidArgumentError("--nproc: the small scale runs in one process");
  MiniChain chain = LoadMiniChain();
  if (options.epochs > 0) {
    for (config::Schedule* schedule :
         {chain.mae.mutable_schedule(), chain.tec.mutable_schedule(), chain.finetune.mutable_schedule()}) {
      schedule->set_epochs(options.epochs);
    }
  }
  Planner planner(plan,
                  {std::min(images.train, options.train_images), std::min(images.held_out, options.held_out_images)});
  const std::string data = planner.FolderOf("data");
  for (const int64_t seed : options.seeds.empty() ? std::vector<int64_t>{0} : options.seeds) {
    const auto name = [seed](absl::string_view stage) { return absl::StrCat("seed-", seed, "/", stage); };

    config::Experiment mae = chain.mae;
    planner.Place(name("base"), data, seed, &mae);
    planner.AddTraining(planner.New(Program::kPretrain, name("base"), "base model (MAE)", seed, "base"), "mini/mae",
                        mae, {}, 1);

    config::Experiment tec = chain.tec;
    tec.mutable_base_model()->set_path(planner.LastCheckpoint(mae));
    config::Experiment no_relation = tec;
    no_relation.mutable_model()->set_pred_att(false);
    planner.Place(name("tec"), data, seed, &tec);
    const std::vector<std::string> base_model = {absl::StrCat("--base_model=", tec.base_model().path())};
    planner.AddTraining(planner.New(Program::kPretrain, name("tec"), "new model (TEC)", seed, "tec"), "mini/tec", tec,
                        base_model, 1);
    planner.Place(name("tec_no_relation"), data, seed, &no_relation);
    planner.AddTraining(planner.New(Program::kPretrain, name("tec_no_relation"), "TEC without the relation loss", seed,
                                    "tec_no_relation"),
                        "mini/tec", no_relation, base_model, 1);

    for (const MiniEncoder& encoder : MiniEncoders()) {
      const std::string which = encoder.name;
      const bool scratch = which == "scratch";
      const config::Experiment& run = which == "tec" ? tec : which == "base" ? mae : no_relation;
      if (!scratch) {
        const std::string knn = name(absl::StrCat("knn_", which));
        planner.AddKnn(planner.New(Program::kKnn, knn, absl::StrCat("kNN: ", encoder.what), seed, which), run, data);
      }
      config::Finetune finetune = chain.finetune;
      const std::string stage_name = name(absl::StrCat("finetune_", which));
      planner.Place(stage_name, data, seed, &finetune);
      if (scratch) {
        // Smaller rates for lower blocks keep what pretraining taught them; here there is nothing to keep.
        finetune.set_layer_decay(1);
      } else {
        finetune.set_finetune(planner.LastCheckpoint(run));
      }
      finetune.set_mlp_token(!scratch && run.model().mlp_token());
      Stage stage = planner.New(Program::kFinetune, stage_name, absl::StrCat("finetune: ", encoder.what), seed, which);
      stage.result = ResultKind::kFinetuneLog;
      std::vector<std::string> inputs;
      if (!scratch) inputs = {absl::StrCat("--finetune=", finetune.finetune())};
      planner.AddTraining(std::move(stage), "mini/finetune", finetune, inputs, 1);
    }
  }
  return absl::OkStatus();
}

}  // namespace

const std::vector<MiniEncoder>& MiniEncoders() {
  static const auto* const encoders = new std::vector<MiniEncoder>{
      {"scratch", "from scratch"},
      {"base", "base model (MAE)"},
      {"tec_no_relation", "TEC without the relation loss"},
      {"tec", "new model (TEC)"},
  };
  return *encoders;
}

const char* PathOf(Program program) {
  switch (program) {
    case Program::kPretrain:
      return "tec/pretrain";
    case Program::kConvert:
      return "tools/convert/convert";
    case Program::kFinetune:
      return "eval/finetune/finetune";
    case Program::kKnn:
      break;
  }
  return "eval/knn/knn";
}

absl::StatusOr<ReproducePlan> MakePlan(const ReproduceOptions& options, const ImageCounts& images) {
  ReproducePlan plan;
  plan.options = options;
  TEC_ASSIGN_OR_RETURN(plan.row, LoadRow(options.row));
  if (options.data_path.empty()) {
    TEC_RETURN_IF_ERROR(Missing(
        options.scale == Scale::kPaper
            ? "--data_path is needed: ImageNet-1k (ILSVRC2012, image-net.org), a folder with train/ and val/, one "
              "folder a class in each"
            : "--data_path is needed: small pictures, for instance CIFAR-10 (\"CIFAR-10 and CIFAR-100 datasets\", "
              "Alex Krizhevsky, University of Toronto), in a folder with train/, and val/ or test/, one folder a class "
              "in each",
        &plan));
    plan.options.data_path = "DATA_PATH";
  }
  if (options.output_dir.empty()) return absl::InvalidArgumentError("--output_dir is empty");
  if (options.ranks < 0) return absl::InvalidArgumentError("--nproc must be at least 0");
  if (options.ranks == 0) {
    const bool published = options.dry_run && options.scale == Scale::kPaper;
    plan.options.ranks = published ? static_cast<int>(plan.row.ranks()) : 1;
  }
  if (options.train_images < 1 || options.held_out_images < 1) {
    return absl::InvalidArgumentError("--train_images and --held_out_images must be at least 1");
  }
  if (options.epochs < 0 || (options.epochs > 0 && options.scale == Scale::kPaper)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--epochs=", options.epochs, ": it must be at least 0 and is for --scale=mini only"));
  }
  TEC_RETURN_IF_ERROR(options.scale == Scale::kPaper ? PlanPaper(&plan, images) : PlanMini(&plan, images));
  return plan;
}

Throughput DefaultThroughput(Scale scale) {
  if (scale == Scale::kPaper) return {400e12, "assumed: 40 % of an H100's peak in bfloat16"};
  return {153e9, "measured: two cores of an AMD EPYC with bfloat16 instructions in this chain"};
}

std::string DescribePlan(const ReproducePlan& plan, const Throughput& throughput) {
  std::string text;
  if (plan.options.scale == Scale::kPaper) {
    absl::StrAppendFormat(&text, "%s: published %.1f %% top-1 after finetuning, tolerance %.1f, with %d processes\n",
                          plan.row.name(), plan.row.top1(), plan.row.tolerance(), plan.row.ranks());
  } else {
    absl::StrAppend(&text, "the small chain: base, TEC without the relation loss, TEC, and from scratch\n");
  }
  for (const std::string& missing : plan.missing) absl::StrAppend(&text, missing, "\n");
  double training = 0, evaluation = 0, written = 0, hours = 0;
  for (const Stage& stage : plan.stages) {
    std::vector<std::string> command = {absl::StrCat("bazel-bin/", PathOf(stage.program))};
    command.insert(command.end(), stage.spelled_out.begin(), stage.spelled_out.end());
    absl::StrAppend(&text, "\n", stage.name, ": ", stage.what, "\n  ", ShellCommand(command));
    if (stage.ranks > 1) absl::StrAppend(&text, "   (x ", stage.ranks, " processes)");
    absl::StrAppend(&text, "\n");
    if (!stage.learning_rate.empty()) absl::StrAppend(&text, "  ", stage.learning_rate, "\n");
    std::vector<std::string> costs;
    if (stage.flops > 0) {
      costs.push_back(absl::StrFormat("%.3g images, %.3g FLOP of training", stage.images, stage.flops));
    }
    if (stage.evaluation_flops > 0) costs.push_back(absl::StrFormat("%.3g FLOP of evaluation", stage.evaluation_flops));
    if (stage.written_bytes > 0) {
      costs.push_back(absl::StrFormat("%.3g GB of checkpoints written", stage.written_bytes * 1e-9));
    }
    const double stage_hours =
        (stage.flops + stage.evaluation_flops) / (throughput.flops_per_second * stage.ranks) / 3600;
    if (stage_hours > 0) costs.push_back(absl::StrFormat("%.3g h", stage_hours));
    if (!costs.empty()) absl::StrAppend(&text, "  ", absl::StrJoin(costs, ", "), "\n");
    training += stage.flops;
    evaluation += stage.evaluation_flops;
    written += stage.written_bytes;
    hours += stage_hours;
  }
  absl::StrAppendFormat(
      &text,
      "\nIn all: %.3g FLOP of training and %.3g of evaluation, at most %.3g GB of checkpoints written "
      "(not all kept), %.3g h at %.4g TFLOP/s a process (%s; --tflops gives another).\n",
      training, evaluation, written * 1e-9, hours, throughput.flops_per_second * 1e-12, throughput.what);
  return text;
}

}  // namespace tec
