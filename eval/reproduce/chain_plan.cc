// A chain on a small scale: a base model, a new model against it, one against that, ...

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "eval/reproduce/planner.h"

namespace tec {

std::vector<MiniEncoder> ChainEncoders(int64_t stages) {
  std::vector<MiniEncoder> encoders = {{"stage-0", "base model (MAE)"}};
  for (int64_t link = 1; link < stages; ++link) {
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
    for (const MiniEncoder& encoder : ChainEncoders(options.stages)) {
      const auto stage = [&](Program program, const std::string& prefix, const std::string& what) {
        Stage made = planner.New(program, absl::StrCat("seed-", seed, "/", prefix, encoder.name),
                                 absl::StrCat(what, encoder.what), seed, encoder.name);
        made.link = link;
        return made;
      };
      config::Experiment run = link == 0 ? chain.mae : chain.tec;
      std::vector<std::string> inputs;
      Stage training = stage(Program::kPretrain, "", "");
      if (link > 0) {
        run.mutable_base_model()->set_path(planner.LastCheckpoint(before));
        inputs = {absl::StrCat("--base_model=", run.base_model().path())};
      }
      planner.Place(training.name, data, seed, &run);
      planner.AddTraining(std::move(training), link == 0 ? "mini/mae" : "mini/tec", run, inputs, 1);
      planner.AddKnn(stage(Program::kKnn, "knn_", "kNN: "), run, data);
      planner.AddLinear(stage(Program::kLinear, "linear_", "linear probe: "), run, data);
      if (options.finetune) {
        config::Finetune finetune = chain.finetune;
        Stage finetuning = stage(Program::kFinetune, "finetune_", "finetune: ");
        finetuning.result = ResultKind::kFinetuneLog;
        planner.Place(finetuning.name, data, seed, &finetune);
        finetune.set_finetune(planner.LastCheckpoint(run));
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
