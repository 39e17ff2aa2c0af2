// The stages of a plan, one at a time: settings put in their place, commands, costs. Of plan.cc and chain_plan.cc.

#ifndef TEC_EVAL_REPRODUCE_PLANNER_H_
#define TEC_EVAL_REPRODUCE_PLANNER_H_

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "eval/reproduce/plan.h"
#include "tec/config/config.h"
#include "tec/config/cost.h"
#include "tec/config/finetune.h"
#include "tec/config/rows.h"

namespace tec {
namespace planner_internal {

// Checkpoints a run writes, bytes: `each_epoch` after each epoch and the numbered ones.
double WrittenBytes(double parameters, double each_epoch, const config::Schedule& schedule,
                    const config::Checkpointing& checkpointing);
std::string LearningRateText(const config::Optimizer& optimizer, int64_t ranks);
// As flags, the settings that the reference's commands give.
std::vector<std::string> SettingsOf(const config::Experiment& experiment);
std::vector<std::string> SettingsOf(const config::Finetune& finetune);
double EvaluationFlops(const config::Experiment& resolved, int64_t held_out_images);
double EvaluationFlops(const config::Finetune& resolved, int64_t held_out_images);
constexpr double CheckpointsAnEpoch(const config::Experiment&) { return 1; }
constexpr double CheckpointsAnEpoch(const config::Finetune&) { return 2; }  // best_checkpoint beside this_checkpoint.

}  // namespace planner_internal

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
    for (const std::string& flag : planner_internal::SettingsOf(settings)) stage.spelled_out.push_back(flag);
    stage.spelled_out.push_back(absl::StrCat("--data_path=", settings.data().path()));
    stage.spelled_out.insert(stage.spelled_out.end(), inputs.begin(), inputs.end());
    stage.spelled_out.push_back(absl::StrCat("--output_dir=", settings.logging().output_dir()));
    for (const std::string& flag : MachineFlags()) stage.spelled_out.push_back(flag);
    stage.learning_rate = planner_internal::LearningRateText(settings.optimizer(), ranks);
    stage.done_file = LastCheckpoint(settings);
    stage.images = static_cast<double>(images_.train) * static_cast<double>(settings.schedule().epochs());
    stage.flops = stage.images * TrainingFlopsPerImage(resolved);
    stage.evaluation_flops = planner_internal::EvaluationFlops(resolved, images_.held_out);
    stage.written_bytes =
        planner_internal::WrittenBytes(TrainedParameters(resolved), planner_internal::CheckpointsAnEpoch(resolved),
                                       settings.schedule(), settings.checkpointing());
    plan_.stages.push_back(std::move(stage));
  }

  // Evaluates a checkpoint, of a model as `encoder` has it.
  void AddKnn(Stage stage, const config::Experiment& encoder, const std::string& checkpoint,
              const std::string& data_path);
  void AddLinear(Stage stage, const config::Experiment& encoder, const std::string& checkpoint,
                 const std::string& data_path);

 private:
  std::vector<std::string> MachineFlags() const;
  // An evaluator's common flags.
  std::vector<std::string> EvaluatorFlags(const Stage& stage, const std::string& checkpoint,
                                          const std::string& data_path) const;

  ReproducePlan& plan_;
  const ImageCounts images_;
};

// The settings of the small scale, with options.epochs where they are given; and how many images it takes.
MiniChain MiniChainFor(const ReproduceOptions& options);
ImageCounts MiniImages(const ReproduceOptions& options, const ImageCounts& images);

// The stages of options.stages > 0 (chain_plan.cc).
absl::Status PlanChain(ReproducePlan* plan, const ImageCounts& images);

}  // namespace tec

#endif  // TEC_EVAL_REPRODUCE_PLANNER_H_
