// //tools:runs: the output folders of many runs, in one table.
//
//   ./bazelw run //tools:runs -- ls runs
//   ./bazelw run //tools:runs -- best runs
//   ./bazelw run //tools:runs -- show runs/tec
//   ./bazelw run //tools:runs -- diff runs/a runs/b
//
// Exit codes: 0 done, 1 bad use or input.

#include <algorithm>
#include <cstdio>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "eval/report/run_folder.h"
#include "tec/base/exit_code.h"
#include "tec/base/json_text.h"
#include "tec/base/logging.h"
#include "tec/base/path.h"
#include "tec/base/printable.h"
#include "tec/base/program.h"
#include "tec/base/status.h"
#include "tec/config/flag_parser.h"

ABSL_FLAG(bool, json, false, "print JSON in place of text");

namespace tec {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kUsage[] =
    "Output folders as a collection.\n\n"
    "  runs ls FOLDER        the runs in it and below it: kind, how far they came, best accuracy\n"
    "  runs best FOLDER      the same, best accuracy first, those without one left out\n"
    "  runs show RUN         one run: settings, last epoch, best accuracy, newest checkpoint\n"
    "  runs diff RUN RUN...  the settings in which they differ\n\n";

std::vector<FlagGroup> Flags() { return {{"How it is said", {{"json"}}}}; }

Json SummaryOf(const RunFolder& run) {
  Json json = {{"path", run.path},     {"what", run.what},
               {"state", run.state()}, {"epochs_done", run.epochs_done()},
               {"epochs", run.epochs}, {"modified", run.modified}};
  if (const auto best = run.best()) json["best"] = {{"name", best->first}, {"percent", best->second}};
  if (!run.newest_checkpoint.empty()) json["checkpoint"] = run.newest_checkpoint;
  return json;
}

std::string BestOf(const RunFolder& run) {
  const auto best = run.best();
  return best ? absl::StrFormat("%.2f %s", best->second, best->first) : "-";
}

void PrintTable(const std::vector<RunFolder>& runs) {
  size_t width = 6;
  for (const RunFolder& run : runs) width = std::max(width, Printable(run.path).size());
  std::printf("%-*s  %-19s  %-18s  %-16s  %s\n", static_cast<int>(width), "folder", "what", "state", "changed (UTC)",
              "best, percent");
  for (const RunFolder& run : runs) {
    std::printf("%-*s  %-19s  %-18s  %-16s  %s\n", static_cast<int>(width), Printable(run.path).c_str(),
                run.what.c_str(), run.state().c_str(),
                absl::FormatTime("%Y-%m-%d %H:%M", absl::FromUnixSeconds(run.modified), absl::UTCTimeZone()).c_str(),
                BestOf(run).c_str());
  }
}

absl::Status List(const std::string& folder, bool best_first) {
  TEC_ASSIGN_OR_RETURN(std::vector<RunFolder> runs, FindRuns(folder));
  if (best_first) {
    runs.erase(std::remove_if(runs.begin(), runs.end(), [](const RunFolder& run) { return !run.best(); }), runs.end());
    std::stable_sort(runs.begin(), runs.end(),
                     [](const RunFolder& a, const RunFolder& b) { return a.best()->second > b.best()->second; });
  }
  if (absl::GetFlag(FLAGS_json)) {
    Json json = Json::array();
    for (const RunFolder& run : runs) json.push_back(SummaryOf(run));
    std::printf("%s\n", DumpJson(json, 2).c_str());
    return absl::OkStatus();
  }
  if (runs.empty()) {
    std::printf("no runs in %s%s\n", Printable(folder).c_str(), best_first ? " with an accuracy" : "");
  } else {
    PrintTable(runs);
  }
  return absl::OkStatus();
}

absl::Status Show(const std::string& folder) {
  TEC_ASSIGN_OR_RETURN(const RunFolder run, ReadRunFolder(folder));
  if (absl::GetFlag(FLAGS_json)) {
    Json json = SummaryOf(run);
    for (const auto& [name, value] : run.settings) json["settings"][name] = value;
    if (!run.epoch_log.empty()) json["last_epoch"] = run.epoch_log.back();
    std::printf("%s\n", DumpJson(json, 2).c_str());
    return absl::OkStatus();
  }
  PrintTable({run});
  if (!run.newest_checkpoint.empty())
    std::printf("\nnewest checkpoint: %s\n", Printable(run.newest_checkpoint).c_str());
  if (!run.epoch_log.empty()) {
    std::printf("\nlast epoch\n");
    for (const auto& [name, value] : run.epoch_log.back().items()) {
      std::printf("  %-28s %s\n", Printable(name).c_str(), Printable(value.dump()).c_str());
    }
  }
  std::printf("\nsettings\n");
  for (const auto& [name, value] : run.settings) {
    std::printf("  %-36s %s\n", Printable(name).c_str(), Printable(value).c_str());
  }
  return absl::OkStatus();
}

absl::Status Diff(const std::vector<std::string>& folders) {
  std::vector<RunFolder> runs;
  for (const std::string& folder : folders) {
    TEC_ASSIGN_OR_RETURN(RunFolder run, ReadRunFolder(folder));
    runs.push_back(std::move(run));
  }
  const std::vector<SettingDifference> differences = DifferencesOf(runs);
  if (absl::GetFlag(FLAGS_json)) {
    Json json = Json::object();
    for (const SettingDifference& difference : differences) json[difference.name] = difference.values;
    std::printf("%s\n", DumpJson(json, 2).c_str());
    return absl::OkStatus();
  }
  PrintTable(runs);
  std::printf("\n%s\n", differences.empty() ? "no setting differs" : "settings that differ, in the runs' order");
  for (const SettingDifference& difference : differences) {
    std::printf("  %-36s %s\n", Printable(difference.name).c_str(),
                Printable(absl::StrJoin(difference.values, "  |  ")).c_str());
  }
  return absl::OkStatus();
}

absl::Status Run(const std::vector<std::string>& words) {
  const std::string verb = words.empty() ? "" : words[0];
  std::vector<std::string> folders;
  for (size_t i = 1; i < words.size(); ++i) folders.push_back(UserPath(words[i]));
  const bool list = verb == "ls" || verb == "best";
  if (list && folders.empty()) folders.push_back(UserPath("."));
  if (list && folders.size() == 1) return List(folders[0], verb == "best");
  if (verb == "show" && folders.size() == 1) return Show(folders[0]);
  if (verb == "diff" && folders.size() >= 2) return Diff(folders);
  return absl::InvalidArgumentError("say what is wanted: ls FOLDER, best FOLDER, show RUN or diff RUN RUN...");
}

int Main(int argc, char** argv) {
  InitLogging(argv[0]);
  std::vector<std::string> words;
  const auto parsed = ParseFlags(argc, argv, Flags(), &words);
  if (parsed.ok() && (parsed->help || words.empty())) {
    std::printf("%s%s", kUsage, DescribeFlags(Flags()).c_str());
    return parsed->help ? kExitDone : kExitBadInput;
  }
  const absl::Status status = parsed.ok() ? Run(words) : parsed.status();
  return ReportStatus("runs", status);
}

}  // namespace
}  // namespace tec

int main(int argc, char** argv) { return tec::RunProgram(argc, argv, tec::Main); }
