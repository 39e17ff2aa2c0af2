#include "eval/reproduce/plan.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
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

// Checkpoints a run writes: one after each epoch and the numbered ones.
double WrittenBytes(double parameters, const config::Schedule& schedule, const config::Checkpointing& checkpointing) {
  const double epochs = static_cast<double>(schedule.epochs());
  const double numbered =
      1 + (checkpointing.save_period() > 0 ? std::ceil(epochs / static_cast<double>(checkpointing.save_period())) : 0);
  return parameters * kFloat * kCheckpointCopies * (epochs + numbered);
}

class Planner {
 public:
  explicit Planner(ReproducePlan* plan, int64_t train_images) : plan_(*plan), train_images_(train_images) {}

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

  template <typename Settings>
  void AddTraining(Stage stage, const Settings& settings, int ranks) {
    const Settings resolved = Resolve(settings);
    stage.ranks = ranks;
    stage.config_path = FolderOf(absl::StrCat("configs/", stage.name, ".textproto"));
    // Unresolved: what depends on the machine, the precision, is decided by the program where it runs.
    stage.config_text = ToText(settings);
    stage.arguments.push_back(absl::StrCat("--config=", stage.config_path));
    stage.done_file = LastCheckpoint(settings);
    stage.images = static_cast<double>(train_images_) * static_cast<double>(settings.schedule().epochs());
    stage.flops = stage.images * TrainingFlopsPerImage(resolved);
    stage.written_bytes = WrittenBytes(TrainedParameters(resolved), settings.schedule(), settings.checkpointing());
    plan_.stages.push_back(std::move(stage));
  }

  void AddKnn(Stage stage, const std::string& checkpoint, const std::string& data_path) {
    const std::string folder = FolderOf(stage.name);
    stage.arguments = {absl::StrCat("--checkpoint=", checkpoint), absl::StrCat("--data_path=", data_path),
                       absl::StrCat("--device=", plan_.options.device),
                       absl::StrCat("--num_workers=", std::max<int64_t>(1, plan_.options.num_workers)),
                       absl::StrCat("--output_dir=", folder)};
    if (plan_.options.threads > 0) stage.arguments.push_back(absl::StrCat("--threads=", plan_.options.threads));
    stage.done_file = absl::StrCat(folder, "/results.json");
    stage.result = ResultKind::kKnnJson;
    plan_.stages.push_back(std::move(stage));
  }

 private:
  ReproducePlan& plan_;
  const int64_t train_images_;
};

absl::Status PlanPaper(ReproducePlan* plan, int64_t train_images) {
  const ReproduceOptions& options = plan->options;
  if (options.seeds.size() > 1) {
    return absl::InvalidArgumentError("--seeds: one seed at a time with --scale=paper; each takes days");
  }
  if (options.base_model.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("--base_model is needed: ", plan->row.base_model_file(), " (",
                                                   plan->row.base_model_source(), ")"));
  }
  TEC_ASSIGN_OR_RETURN(config::Experiment pretrain, LoadExperiment(plan->row.pretrain()));
  TEC_ASSIGN_OR_RETURN(config::Finetune finetune, LoadFinetune(plan->row.finetune()));
  Planner planner(plan, train_images);
  const int64_t seed = options.seeds.empty() ? pretrain.seed() : options.seeds[0];

  planner.Place("pretrain", options.data_path, seed, &pretrain);
  pretrain.mutable_base_model()->set_path(options.base_model);
  TEC_ASSIGN_OR_RETURN(const int64_t pretrain_accum,
                       AccumulationFor(pretrain.optimizer(), plan->row.ranks(), options.ranks));
  pretrain.mutable_optimizer()->set_accum_iter(pretrain_accum);
  planner.AddTraining(planner.New(Program::kPretrain, "pretrain", "pretrain the new model", seed, "tec"), pretrain,
                      options.ranks);
  const std::string checkpoint = planner.LastCheckpoint(pretrain);

  Stage convert = planner.New(Program::kConvert, "encoder", "its encoder as a file of its own", seed, "tec");
  const std::string file = absl::StrCat(plan->row.name(), ".pth");
  convert.done_file = absl::StrCat(planner.FolderOf(convert.name), "/", file);
  convert.arguments = {absl::StrCat("--resume=", checkpoint),
                       absl::StrCat("--output_dir=", planner.FolderOf(convert.name)), absl::StrCat("--ckptname=", file),
                       "--mlp_token"};
  plan->stages.push_back(std::move(convert));

  planner.AddKnn(planner.New(Program::kKnn, "knn", "k-nearest neighbours", seed, "tec"), checkpoint, options.data_path);

  planner.Place("finetune", options.data_path, seed, &finetune);
  finetune.set_finetune(checkpoint);
  TEC_ASSIGN_OR_RETURN(const int64_t finetune_accum,
                       AccumulationFor(finetune.optimizer(), plan->row.ranks(), options.ranks));
  finetune.mutable_optimizer()->set_accum_iter(finetune_accum);
  Stage stage = planner.New(Program::kFinetune, "finetune", "finetune it, evaluating every epoch", seed, "tec");
  stage.result = ResultKind::kFinetuneLog;
  planner.AddTraining(std::move(stage), finetune, options.ranks);
  return absl::OkStatus();
}

absl::Status PlanMini(ReproducePlan* plan, int64_t train_images) {
  const ReproduceOptions& options = plan->options;
  if (options.ranks != 1) return absl::InvalidArgumentError("--nproc: the small scale runs in one process");
  const MiniChain chain = LoadMiniChain();
  Planner planner(plan, std::min(train_images, options.train_images));
  const std::string data = planner.FolderOf("data");
  for (const int64_t seed : options.seeds.empty() ? std::vector<int64_t>{0} : options.seeds) {
    const auto name = [seed](absl::string_view stage) { return absl::StrCat("seed-", seed, "/", stage); };

    config::Experiment mae = chain.mae;
    planner.Place(name("base"), data, seed, &mae);
    planner.AddTraining(planner.New(Program::kPretrain, name("base"), "base model (MAE)", seed, "base"), mae, 1);

    config::Experiment tec = chain.tec;
    tec.mutable_base_model()->set_path(planner.LastCheckpoint(mae));
    config::Experiment no_relation = tec;
    no_relation.mutable_model()->set_pred_att(false);
    planner.Place(name("tec"), data, seed, &tec);
    planner.AddTraining(planner.New(Program::kPretrain, name("tec"), "new model (TEC)", seed, "tec"), tec, 1);
    planner.Place(name("tec_no_relation"), data, seed, &no_relation);
    planner.AddTraining(planner.New(Program::kPretrain, name("tec_no_relation"), "TEC without the relation loss", seed,
                                    "tec_no_relation"),
                        no_relation, 1);

    for (const MiniEncoder& encoder : MiniEncoders()) {
      const std::string which = encoder.name;
      const bool scratch = which == "scratch";
      const config::Experiment& run = which == "tec" ? tec : which == "base" ? mae : no_relation;
      if (!scratch) {
        const std::string knn = name(absl::StrCat("knn_", which));
        planner.AddKnn(planner.New(Program::kKnn, knn, absl::StrCat("kNN: ", encoder.what), seed, which),
                       planner.LastCheckpoint(run), data);
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
      planner.AddTraining(std::move(stage), finetune, 1);
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
      return "tec/train/pretrain";
    case Program::kConvert:
      return "tools/convert/convert";
    case Program::kFinetune:
      return "eval/finetune/finetune";
    case Program::kKnn:
      break;
  }
  return "eval/knn/knn";
}

absl::StatusOr<ReproducePlan> MakePlan(const ReproduceOptions& options, int64_t train_images) {
  ReproducePlan plan;
  plan.options = options;
  TEC_ASSIGN_OR_RETURN(plan.row, LoadRow(options.row));
  if (options.data_path.empty()) {
    return absl::InvalidArgumentError(
        options.scale == Scale::kPaper
            ? "--data_path is needed: ImageNet-1k, a folder with train/ and val/, one folder a class in each"
            : "--data_path is needed: small pictures, for instance CIFAR-10, in a folder with train/, and val/ or "
              "test/, one folder a class in each");
  }
  if (options.output_dir.empty()) return absl::InvalidArgumentError("--output_dir is empty");
  if (options.ranks < 1) return absl::InvalidArgumentError("--nproc must be at least 1");
  if (options.train_images < 1 || options.held_out_images < 1) {
    return absl::InvalidArgumentError("--train_images and --held_out_images must be at least 1");
  }
  TEC_RETURN_IF_ERROR(options.scale == Scale::kPaper ? PlanPaper(&plan, train_images) : PlanMini(&plan, train_images));
  return plan;
}

std::string DescribePlan(const ReproducePlan& plan, double flops_per_second) {
  std::string text;
  double flops = 0, written = 0;
  for (const Stage& stage : plan.stages) {
    std::vector<std::string> command = {absl::StrCat("bazel-bin/", PathOf(stage.program))};
    command.insert(command.end(), stage.arguments.begin(), stage.arguments.end());
    absl::StrAppend(&text, stage.name, ": ", stage.what, "\n  ", ShellCommand(command));
    if (stage.ranks > 1) absl::StrAppend(&text, "   (x ", stage.ranks, " processes)");
    if (stage.flops > 0) {
      absl::StrAppendFormat(&text, "\n  %.3g images, %.3g FLOP, %.3g GB of checkpoints written", stage.images,
                            stage.flops, stage.written_bytes * 1e-9);
      if (flops_per_second > 0) {
        absl::StrAppendFormat(&text, ", %.3g h", stage.flops / (flops_per_second * stage.ranks) / 3600);
      }
    }
    absl::StrAppend(&text, "\n");
    flops += stage.flops;
    written += stage.written_bytes;
  }
  absl::StrAppendFormat(&text, "In all: %.3g FLOP of training, %.3g GB of checkpoints written (not all kept)", flops,
                        written * 1e-9);
  if (flops_per_second > 0) {
    absl::StrAppendFormat(&text, ", %.3g h at %.4g TFLOP/s a process",
                          flops / (flops_per_second * plan.options.ranks) / 3600, flops_per_second * 1e-12);
  }
  absl::StrAppend(&text, "\n");
  return text;
}

}  // namespace tec
