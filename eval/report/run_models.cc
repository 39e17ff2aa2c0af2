#include "eval/report/run_models.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "eval/features/pretrained.h"
#include "eval/program/told_encoder.h"
#include "tec/base/file.h"
#include "tec/base/status.h"
#include "tec/config/config.h"
#include "tec/config/finetune.h"

namespace tec {
namespace {

// N of "checkpoint-N.pth".
std::optional<int64_t> EpochOf(absl::string_view name) {
  int64_t epoch = 0;
  if (absl::ConsumePrefix(&name, "checkpoint-") && absl::ConsumeSuffix(&name, ".pth") &&
      absl::SimpleAtoi(name, &epoch)) {
    return epoch;
  }
  return std::nullopt;
}

}  // namespace

std::vector<std::string> CheckpointsToShow(const RunFolder& run) {
  std::vector<std::pair<int64_t, std::string>> numbered;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(run.path, error)) {
    if (const std::optional<int64_t> epoch = EpochOf(entry.path().filename().string())) {
      numbered.emplace_back(*epoch, entry.path().string());
    }
  }
  std::sort(numbered.begin(), numbered.end());
  std::vector<std::string> paths;
  if (!numbered.empty()) {
    for (const size_t i : {size_t{0}, numbered.size() / 2, numbered.size() - 1}) {
      if (paths.empty() || paths.back() != numbered[i].second) paths.push_back(numbered[i].second);
    }
    return paths;
  }
  const std::string newest = run.path + "/this_checkpoint.pth";
  if (std::filesystem::exists(newest, error)) paths.push_back(newest);
  return paths;
}

namespace {

// Settings with family, entry and grid, and the encoder of the file that they are of.
template <typename Settings>
absl::StatusOr<VitRequest> Told(const Settings& settings, const config::Vit& encoder) {
  VitRequest request;
  request.family = settings.family();
  request.entry = settings.entry();
  request.heads = encoder.heads();
  TEC_RETURN_IF_ERROR(ParseGrid(settings.grid(), &request));
  return request;
}

}  // namespace

absl::StatusOr<RunSubject> SubjectOf(const RunFolder& run) {
  RunSubject subject;
  const std::string settings = run.path + "/experiment.textproto";
  if (run.kind == RunKind::kPretraining) {
    TEC_ASSIGN_OR_RETURN(config::Experiment experiment, LoadExperiment(settings));
    experiment = Resolve(std::move(experiment));
    subject.data = experiment.data();
    subject.seed = experiment.seed();
    if (experiment.method() == config::TEC) {
      subject.before = experiment.base_model().path();
      subject.before_name = "base model";
      TEC_ASSIGN_OR_RETURN(subject.before_request, Told(experiment.base_model(), experiment.base_model().encoder()));
    }
    subject.pretraining = std::move(experiment);
  } else if (run.kind == RunKind::kFinetuning) {
    TEC_ASSIGN_OR_RETURN(const std::string text, ReadFile(settings));
    TEC_ASSIGN_OR_RETURN(subject.finetuning, ParseFinetune(text, settings));
    subject.data = subject.finetuning->data();
    subject.seed = subject.finetuning->seed();
    subject.before = subject.finetuning->finetune();
    subject.before_name = "before finetuning";
    TEC_ASSIGN_OR_RETURN(subject.before_request, Told(*subject.finetuning, subject.finetuning->encoder()));
  } else {
    const auto text_of = [&run](const char* key) {
      const bool there = run.results.is_object() && run.results.contains(key) && run.results[key].is_string();
      return there ? run.results[key].get<std::string>() : std::string();
    };
    const std::string checkpoint = text_of("checkpoint");
    if (checkpoint.empty()) return absl::InvalidArgumentError(run.path + " names no checkpoint that was evaluated");
    subject.data.set_path(text_of("data_path"));
    subject.checkpoints = {checkpoint};
    TEC_ASSIGN_OR_RETURN(subject.request, ToldIn(run.results));
    return subject;
  }
  subject.checkpoints = CheckpointsToShow(run);
  if (subject.checkpoints.empty()) return absl::InvalidArgumentError(run.path + " has no checkpoint yet");
  return subject;
}

absl::StatusOr<LookedAt> LookAt(const std::string& path, const std::string& name, c10::Device device,
                                const VitRequest& request) {
  TEC_ASSIGN_OR_RETURN(const Pretrained pretrained, ReadPretrained(path, request));
  LookedAt looked;
  looked.name = name;
  looked.path = path;
  looked.epoch = EpochOf(std::filesystem::path(path).filename().string()).value_or(0);
  looked.mean = pretrained.mean;
  looked.std = pretrained.std;
  looked.own = pretrained.recorded ? ImageStatistics{pretrained.mean, pretrained.std, ""} : pretrained.statistics;
  TEC_ASSIGN_OR_RETURN(looked.encoder, MakeEncoder(pretrained));
  BaseModelOptions options;
  options.encoder = pretrained.encoder;
  options.last_layers = 1;
  options.top_patches = 1;  // Without any there are no [CLS] logits.
  TEC_RETURN_IF_ERROR(Annotate(Validate(options), path));
  looked.targets = std::make_shared<BaseModel>(options);
  ShareBlocks(pretrained, looked.targets.get());
  TEC_RETURN_IF_ERROR(Annotate(LoadBaseModel(*looked.targets, pretrained.state), path));
  looked.encoder->to(device);
  looked.targets->to(device);
  looked.targets->eval();
  return looked;
}

}  // namespace tec
