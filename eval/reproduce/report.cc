#include "eval/reproduce/report.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "eval/report/curves.h"
#include "eval/report/html.h"
#include "eval/report/run_folder.h"
#include "eval/report/run_info.h"
#include "eval/report/run_report.h"
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

absl::StatusOr<double> LinearTop1(const std::string& path) {
  TEC_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  const Json::json_pointer top1("/best/accuracy/top1");
  if (json.is_object() && json.contains(top1) && json[top1].is_number()) return json[top1].get<double>();
  return absl::InvalidArgumentError(absl::StrCat(path, " has no accuracy of a linear probe"));
}

const char* NameOf(ResultKind kind) {
  switch (kind) {
    case ResultKind::kKnnJson:
      return "knn";
    case ResultKind::kLinearJson:
      return "linear";
    default:
      return "finetune";
  }
}

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

// All runs of the reproduction on one page, the verdict first. Runs' own pages are copied beside it.
absl::Status WritePage(const ReproducePlan& plan, const std::vector<StageResult>& results, const Verdict& verdict,
                       const std::string& folder) {
  std::vector<std::vector<std::string>> stages = {{"stage", "what", "held-out top-1, percent", "seconds", "its page"}};
  const Json durations = Durations(plan.options.output_dir);
  std::vector<RunFolder> runs;
  for (const Stage& stage : plan.stages) {
    const std::string left = FolderOf(plan, stage), page = absl::StrCat("pages/", stage.name, ".html");
    std::error_code error;
    const bool has_page = std::filesystem::exists(left + "/report.html", error);
    TEC_RETURN_IF_ERROR(CopyIfThere(left + "/report.html", absl::StrCat(folder, "/", page)));
    const auto result = std::find_if(results.begin(), results.end(),
                                     [&stage](const StageResult& of) { return of.stage == stage.name; });
    stages.push_back({HtmlText(stage.name), HtmlText(stage.what),
                      result == results.end() ? "" : absl::StrFormat("%.2f", result->top1),
                      durations.contains(stage.name) ? absl::StrFormat("%.0f", durations.value(stage.name, 0.0)) : "",
                      has_page ? absl::StrCat("<a href=\"", HtmlText(page), "\">", HtmlText(page), "</a>") : ""});
    absl::StatusOr<RunFolder> run = ReadRunFolder(left);
    if (!run.ok()) continue;  // Not begun yet, or a conversion.
    run->name = stage.name;
    runs.push_back(*std::move(run));
  }
  const ReportSection first = {"verdict",
                               absl::StrCat(plan.row.name(), plan.options.scale == Scale::kMini ? ", small scale" : ""),
                               absl::StrCat("<p>", HtmlText(verdict.text), "</p>\n<pre>",
                                            HtmlText(FormatResults(plan, results)), "</pre>\n", HtmlTable(stages))};
  return WriteFile(folder + "/report.html", FormatRunReport(runs, {}, first));
}

}  // namespace

absl::StatusOr<std::vector<StageResult>> ReadResults(const ReproducePlan& plan) {
  std::vector<StageResult> results;
  for (const Stage& stage : plan.stages) {
    if (stage.result == ResultKind::kNone || !std::filesystem::exists(stage.done_file)) continue;
    StageResult result{stage.name, stage.encoder, stage.seed, stage.result, 0};
    if (stage.result == ResultKind::kFinetuneLog) {
      TEC_ASSIGN_OR_RETURN(result.top1, FinetunedTop1(FolderOf(plan, stage) + "/log.txt"));
    } else if (stage.result == ResultKind::kLinearJson) {
      TEC_ASSIGN_OR_RETURN(result.top1, LinearTop1(stage.done_file));
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
                               {"kind", NameOf(result.kind)},
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
  TEC_RETURN_IF_ERROR(WriteFile(folder + "/report.md", PrintableLines(text)));
  return WritePage(plan, results, verdict, folder);
}

}  // namespace tec
