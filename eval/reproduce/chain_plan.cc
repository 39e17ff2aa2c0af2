// A chain on a small scale: a base model, a new model against it, one against that, ...

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "eval/reproduce/planner.h"
#include "tec/base/status.h"
#include "tec/config/further_base_models.h"

namespace tec {

namespace {

// The shape, K and tau of the file that a chain begins with, in the place of those of the model that is made otherwise.
absl::Status ShapeGiven(const std::string& path, config::Experiment* run) {
  config::Experiment shaped = Resolve(*run);
  shaped.add_further_base_models()->set_path(path);
  TEC_RETURN_IF_ERROR(ShapeFurtherBaseModels(&shaped));
  config::BaseModel base = shaped.further_base_models(0);
  base.set_name(run->base_model().name());
  base.set_last_layers(run->base_model().last_layers());
  *run->mutable_base_model() = base;
  run->mutable_losses()->set_att_tau(base.att_tau());
  return absl::OkStatus();
}

}  // namespace

std::vector<MiniEncoder> ChainEncoders(const ReproduceOptions& options) {
  std::vector<MiniEncoder> encoders = {
      {"stage-0", options.base_model.empty() ? "base model (MAE)" : "base model (given)"}};
  for (int64_t link = 1; link < options.stages; ++link) {
    encoders.push_back({absl::StrCat("stage-", link), absl::StrCat("new model ", link, " (TEC)")});
  }
  return encoders;
}

absl::Status PlanChain(ReproducePlan* plan, const ImageCounts& images) {
  const ReproduceOptions& options = plan->options;
  const MiniChain chain = MiniChainFor(options);
  Planner planner(plan, MiniImages(options, images));
  const std::string data = planner.FolderOf("data");
  for (const int64_t seed : options.seeds.empty() ? std::vector<int64_t>{0} : options.seeds) {
    config::Experiment before;
    int64_t link = 0;
    for (const MiniEncoder& encoder : ChainEncoders(options)) {
      const auto stage = [&](Program program, const std::string& prefix, const std::string& what) {
        Stage made = planner.New(program, absl::StrCat("seed-", seed, "/", prefix, encoder.name),
                                 absl::StrCat(what, encoder.what), seed, encoder.name);
        made.link = link;
        return made;
      };
      config::Experiment run = link == 0 ? chain.mae : chain.tec;
      std::vector<std::string> inputs;
      Stage training = stage(Program::kPretrain, "", "");
      const bool given = link == 0 && !options.base_model.empty();
      if (link == 1 && !options.base_model.empty()) {
        TEC_RETURN_IF_ERROR(ShapeGiven(options.base_model, &run));
        inputs = {absl::StrCat("--base_model=", options.base_model)};
      } else if (link > 0) {
        run.mutable_base_model()->set_path(planner.LastCheckpoint(before));
        inputs = {absl::StrCat("--base_model=", run.base_model().path())};
      }
      planner.Place(training.name, data, seed, &run);
      const std::string checkpoint = given ? options.base_model : planner.LastCheckpoint(run);
      if (!given) planner.AddTraining(std::move(training), link == 0 ? "mini/mae" : "mini/tec", run, inputs, 1);
      planner.AddKnn(stage(Program::kKnn, "knn_", "kNN: "), run, checkpoint, data);
      planner.AddLinear(stage(Program::kLinear, "linear_", "linear probe: "), run, checkpoint, data);
      // Finetuning of the small scale is for its own model's size.
      if (options.finetune && !given) {
        config::Finetune finetune = chain.finetune;
        Stage finetuning = stage(Program::kFinetune, "finetune_", "finetune: ");
        finetuning.result = ResultKind::kFinetuneLog;
        planner.Place(finetuning.name, data, seed, &finetune);
        finetune.set_finetune(checkpoint);
        finetune.set_mlp_token(run.model().mlp_token());
        planner.AddTraining(std::move(finetuning), "mini/finetune", finetune,
                            {absl::StrCat("--finetune=", finetune.finetune())}, 1);
      }
      before = run;
      ++link;
    }
  }
  return absl::OkStatus();
}

}  // namespace tec
