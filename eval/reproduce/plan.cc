#include "eval/reproduce/plan.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "eval/reproduce/planner.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"
#include "tec/config/config.h"
#include "tec/config/finetune.h"
#include "tec/config/rows.h"
#include "tec/dist/launch.h"

namespace tec {
namespace {

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

  planner.AddKnn(planner.New(Program::kKnn, "knn", "k-nearest neighbours", seed, "tec"), pretrain, checkpoint,
                 options.data_path);

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
  const MiniChain chain = MiniChainFor(options);
  Planner planner(plan, MiniImages(options, images));
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
        planner.AddKnn(planner.New(Program::kKnn, knn, absl::StrCat("kNN: ", encoder.what), seed, which), run,
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
    case Program::kLinear:
      return "eval/linear/linear";
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
  if (options.stages < 0 || (options.stages > 0 && options.scale == Scale::kPaper)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--stages=", options.stages, ": it must be at least 0 and is for --scale=mini only"));
  }
  if (options.scale == Scale::kMini && options.stages == 0 && !options.base_model.empty()) {
    return absl::InvalidArgumentError(
        "--base_model: the comparison of the small scale makes its own; with --stages it begins a chain");
  }
  if (options.stages == 1 && !options.base_model.empty()) {
    return absl::InvalidArgumentError("--stages=1: nothing is to be trained against --base_model; give at least 2");
  }
  if (options.scale == Scale::kPaper) {
    TEC_RETURN_IF_ERROR(PlanPaper(&plan, images));
  } else {
    if (plan.options.ranks != 1) return absl::InvalidArgumentError("--nproc: the small scale runs in one process");
    TEC_RETURN_IF_ERROR(options.stages > 0 ? PlanChain(&plan, images) : PlanMini(&plan, images));
  }
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
  } else if (plan.options.stages > 0) {
    absl::StrAppendFormat(&text, "a chain of %d stages: a base model, and each new model against the one before\n",
                          plan.options.stages);
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
