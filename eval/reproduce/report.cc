#include "eval/reproduce/report.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "eval/report/curves.h"
#include "eval/report/run_info.h"
#include "nlohmann/json.hpp"
#include "tec/base/file.h"
#include "tec/base/json_text.h"
#include "tec/base/printable.h"
#include "tec/base/status.h"
#include "tec/base/version.h"
#include "tec/dist/launch.h"

namespace tec {
namespace {

using Json = nlohmann::ordered_json;

// Percent, far below one image of any test set: 84.5 - 84.7 is a little less than -0.2 in binary.
constexpr double kRounding = 1e-9;

std::string FolderOf(const ReproducePlan& plan, const Stage& stage) {
  return absl::StrCat(plan.options.output_dir, "/", stage.name);
}

absl::StatusOr<std::vector<Json>> ReadLines(const std::string& path) {
  TEC_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  std::vector<Json> lines;
  for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    lines.push_back(Json::parse(line, nullptr, /*allow_exceptions=*/false));
    if (!lines.back().is_object()) return absl::InvalidArgumentError(absl::StrCat(path, " is not a log of JSON lines"));
  }
  return lines;
}

absl::StatusOr<double> FinetunedTop1(const std::string& path) {
  TEC_ASSIGN_OR_RETURN(const std::vector<Json> lines, ReadLines(path));
  double best = -1;
  for (const Json& line : lines) best = std::max(best, line.value("test_acc1", -1.0));
  if (best < 0) return absl::InvalidArgumentError(absl::StrCat(path, " has no test_acc1"));
  return best;
}

absl::StatusOr<double> KnnTop1(const std::string& path) {
  TEC_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_object() && json.contains("results") && json["results"].is_array()) {
    for (const Json& result : json["results"]) {
      if (result.is_object() && result.value("k", int64_t{0}) == kKnnNeighbours) return result.value("top1", -1.0);
    }
  }
  return absl::InvalidArgumentError(absl::StrCat(path, " has no accuracy for k = ", kKnnNeighbours));
}

// Results by (kind, encoder, seed).
class Results {
 public:
  explicit Results(const std::vector<StageResult>& results) {
    for (const StageResult& result : results) by_[{result.kind, result.encoder, result.seed}] = result.top1;
  }
  std::optional<double> Find(ResultKind kind, const std::string& encoder, int64_t seed) const {
    const auto found = by_.find({kind, encoder, seed});
    return found == by_.end() ? std::nullopt : std::optional<double>(found->second);
  }

 private:
  std::map<std::tuple<ResultKind, std::string, int64_t>, double> by_;
};

std::set<int64_t> SeedsOf(const ReproducePlan& plan) {
  std::set<int64_t> seeds;
  for (const Stage& stage : plan.stages) seeds.insert(stage.seed);
  return seeds;
}

Verdict JudgePaper(const ReproducePlan& plan, const std::vector<StageResult>& results) {
  const config::Row& row = plan.row;
  for (const StageResult& result : results) {
    if (result.kind != ResultKind::kFinetuneLog) continue;
    const double difference = result.top1 - row.top1();
    const bool reproduced = difference >= -row.tolerance() - kRounding;
    return {reproduced,
            absl::StrFormat(
                "%s: %.2f %% top-1 after finetuning, published %.1f (%+.2f; tolerance %.1f).",
                reproduced ? (difference > row.tolerance() + kRounding ? "Above the published result" : "Reproduced")
                           : "Not reproduced",
                result.top1, row.top1(), difference, row.tolerance())};
  }
  return {std::nullopt, "Not finished: no finetuning result yet."};
}

Verdict JudgeMini(const ReproducePlan& plan, const std::vector<StageResult>& results) {
  const Results found(results);
  bool above = true;
  for (const int64_t seed : SeedsOf(plan)) {
    for (const ResultKind kind : {ResultKind::kKnnJson, ResultKind::kFinetuneLog}) {
      const std::optional<double> base = found.Find(kind, "base", seed), tec = found.Find(kind, "tec", seed);
      if (!base || !tec) return {std::nullopt, "Not finished: stages are missing."};
      above = above && *tec > *base;
    }
  }
  return {above, above ? "The new model is above its base model in kNN and in finetuning for every seed."
                       : "The new model is not above its base model in both kNN and finetuning for every seed."};
}

std::string Percent(std::optional<double> value) { return value ? absl::StrFormat("%.2f", *value) : "-"; }

absl::Status CopyIfThere(const std::string& from, const std::string& to) {
  std::error_code error;
  if (!std::filesystem::exists(from, error)) return absl::OkStatus();
  TEC_RETURN_IF_ERROR(MakeDirectories(std::filesystem::path(to).parent_path().string()));
  std::filesystem::copy_file(from, to, std::filesystem::copy_options::overwrite_existing, error);
  if (error) return absl::UnavailableError(absl::StrCat("cannot copy ", from, " to ", to, ": ", error.message()));
  return absl::OkStatus();
}

std::string DurationsFile(const std::string& output_dir) { return output_dir + "/durations.json"; }

// Seconds by stage; empty where nothing was recorded.
Json Durations(const std::string& output_dir) {
  const absl::StatusOr<std::string> text = ReadFile(DurationsFile(output_dir));
  const Json json = text.ok() ? Json::parse(*text, nullptr, /*allow_exceptions=*/false) : Json();
  return json.is_object() ? json : Json::object();
}

// A line a run: what changed from epoch to epoch.
std::vector<Curve> Curves(const ReproducePlan& plan, const char* field) {
  std::vector<Curve> curves;
  for (const Stage& stage : plan.stages) {
    const absl::StatusOr<std::vector<Json>> lines = ReadLines(FolderOf(plan, stage) + "/log.txt");
    if (!lines.ok()) continue;
    Curve curve{stage.name, {}};
    for (const Json& line : *lines) {
      if (line.contains(field) && line[field].is_number()) {
        curve.points.emplace_back(line.value("epoch", 0.0) + 1, line[field].get<double>());
      }
    }
    if (!curve.points.empty()) curves.push_back(std::move(curve));
  }
  return curves;
}

}  // namespace

absl::StatusOr<std::vector<StageResult>> ReadResults(const ReproducePlan& plan) {
  std::vector<StageResult> results;
  for (const Stage& stage : plan.stages) {
    if (stage.result == ResultKind::kNone || !std::filesystem::exists(stage.done_file)) continue;
    StageResult result{stage.name, stage.encoder, stage.seed, stage.result, 0};
    if (stage.result == ResultKind::kFinetuneLog) {
      TEC_ASSIGN_OR_RETURN(result.top1, FinetunedTop1(FolderOf(plan, stage) + "/log.txt"));
    } else {
      TEC_ASSIGN_OR_RETURN(result.top1, KnnTop1(stage.done_file));
    }
    results.push_back(std::move(result));
  }
  return results;
}

absl::Status AddDuration(const std::string& output_dir, const std::string& stage, double seconds) {
  Json durations = Durations(output_dir);
  durations[stage] = durations.value(stage, 0.0) + seconds;
  return WriteFile(DurationsFile(output_dir), absl::StrCat(DumpJson(durations, 2), "\n"));
}

Verdict Judge(const ReproducePlan& plan, const std::vector<StageResult>& results) {
  return plan.options.scale == Scale::kPaper ? JudgePaper(plan, results) : JudgeMini(plan, results);
}

std::string FormatResults(const ReproducePlan& plan, const std::vector<StageResult>& results) {
  const Results found(results);
  const std::set<int64_t> seeds = SeedsOf(plan);
  std::vector<MiniEncoder> encoders = {{"tec", "new model (TEC)"}};
  if (plan.options.scale == Scale::kMini) encoders = MiniEncoders();
  std::string text =
      absl::StrFormat("| %-30s | seed | kNN top-1 | finetuned top-1 |\n|%s|-----:|----------:|----------------:|\n",
                      "encoder", std::string(32, '-'));
  for (const MiniEncoder& encoder : encoders) {
    double knn_total = 0, finetuned_total = 0;
    int64_t knn_count = 0, finetuned_count = 0;
    for (const int64_t seed : seeds) {
      const std::optional<double> knn = found.Find(ResultKind::kKnnJson, encoder.name, seed);
      const std::optional<double> finetuned = found.Find(ResultKind::kFinetuneLog, encoder.name, seed);
      absl::StrAppendFormat(&text, "| %-30s | %4d | %9s | %15s |\n", encoder.what, seed, Percent(knn),
                            Percent(finetuned));
      if (knn) knn_total += *knn, ++knn_count;
      if (finetuned) finetuned_total += *finetuned, ++finetuned_count;
    }
    if (seeds.size() < 2) continue;
    const auto mean = [&](double total, int64_t count) {
      return Percent(count == static_cast<int64_t>(seeds.size()) ? std::optional<double>(total / count) : std::nullopt);
    };
    absl::StrAppendFormat(&text, "| %-30s | mean | %9s | %15s |\n", encoder.what, mean(knn_total, knn_count),
                          mean(finetuned_total, finetuned_count));
  }
  return text;
}

absl::Status WriteReport(const ReproducePlan& plan, const std::vector<StageResult>& results, const Verdict& verdict) {
  const std::string folder = absl::StrCat(plan.options.output_dir, "/report");
  TEC_RETURN_IF_ERROR(MakeDirectories(folder));
  const Json machine = ThisMachineInfo();
  const auto gpus = machine["gpus"].get<std::vector<std::string>>();
  const std::string commit = ProjectCommit();
  const Json durations = Durations(plan.options.output_dir);

  Json json = {{"row", plan.row.name()},
               {"scale", plan.options.scale == Scale::kPaper ? "paper" : "mini"},
               {"verdict", verdict.text},
               {"reproduced", verdict.reproduced ? Json(*verdict.reproduced) : Json(nullptr)},
               {"published_top1", plan.row.top1()},
               {"tolerance", plan.row.tolerance()},
               {"version", kVersion},
               {"commit", commit},
               {"machine", machine},
               {"results", Json::array()},
               {"stages", Json::array()}};
  for (const StageResult& result : results) {
    json["results"].push_back({{"stage", result.stage},
                               {"encoder", result.encoder},
                               {"seed", result.seed},
                               {"kind", result.kind == ResultKind::kKnnJson ? "knn" : "finetune"},
                               {"top1", result.top1}});
  }
  std::string stages;
  for (const Stage& stage : plan.stages) {
    std::vector<std::string> command = {PathOf(stage.program)};
    command.insert(command.end(), stage.arguments.begin(), stage.arguments.end());
    const bool done = std::filesystem::exists(stage.done_file);
    const double seconds = durations.value(stage.name, 0.0);
    const std::string left = FolderOf(plan, stage);
    TEC_RETURN_IF_ERROR(
        CopyIfThere(left + "/experiment.textproto", absl::StrCat(folder, "/configs/", stage.name, ".textproto")));
    TEC_RETURN_IF_ERROR(CopyIfThere(left + "/log.txt", absl::StrCat(folder, "/logs/", stage.name, ".jsonl")));
    TEC_RETURN_IF_ERROR(CopyIfThere(absl::StrCat(plan.options.output_dir, "/logs/", stage.name, ".log"),
                                    absl::StrCat(folder, "/logs/", stage.name, ".log")));
    json["stages"].push_back({{"name", stage.name},
                              {"seed", stage.seed},
                              {"processes", stage.ranks},
                              {"command", command},
                              {"done", done},
                              {"seconds", seconds},
                              {"flops", stage.flops}});
    absl::StrAppend(&stages, "* `", stage.name, "` (seed ", stage.seed, ", ", done ? "done" : "not done", ", ",
                    absl::StrFormat("%.1f s", seconds), "): ", stage.what, "\n\n      ", ShellCommand(command), "\n");
  }
  TEC_RETURN_IF_ERROR(WriteFile(folder + "/results.json", absl::StrCat(DumpJson(json, 2), "\n")));
  TEC_RETURN_IF_ERROR(WriteFile(
      folder + "/curves.svg",
      DrawCurves({{"training loss", Curves(plan, "train_loss")}, {"held-out top-1, %", Curves(plan, "test_acc1")}})));

  const std::string text = absl::StrCat(
      "# ", plan.row.name(), plan.options.scale == Scale::kMini ? ", small scale" : "", "\n\n", verdict.text, "\n\n",
      FormatResults(plan, results), "\nkNN: ", kKnnNeighbours,
      " neighbours, frozen features. Finetuned: the highest top-1 of any epoch on the held-out images.\n\n",
      "![Curves](curves.svg)\n\n## Machine\n\n", machine["processor"].get<std::string>(), ", ", machine["cores"].dump(),
      " cores; GPUs: ", gpus.empty() ? "none" : absl::StrJoin(gpus, "; "), "; ", machine["system"].get<std::string>(),
      "; compiler ", machine["compiler"].get<std::string>(), "; LibTorch ", machine["libtorch"].get<std::string>(),
      "; CUDA ", machine["cuda"].get<std::string>(), "; TEC ", kVersion, ", commit ", commit,
      "\n\n## Stages\n\nconfigs/ holds the settings of each, every field set; logs/ what it printed (.log) and its "
      "epochs (.jsonl). The time is that of all its starts. Its checkpoints are in a folder beside this one.\n\n",
      stages);
  return WriteFile(folder + "/report.md", PrintableLines(text));
}

}  // namespace tec
