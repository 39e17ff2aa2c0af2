#include "eval/report/run_folder.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <iterator>
#include <map>
#include <system_error>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "google/protobuf/io/tokenizer.h"
#include "google/protobuf/message.h"
#include "google/protobuf/text_format.h"
#include "tec/base/file.h"
#include "tec/base/status.h"
#include "tec/config/experiment.pb.h"
#include "tec/config/finetune.pb.h"

namespace tec {
namespace {

using nlohmann::json;
using Settings = std::vector<std::pair<std::string, std::string>>;

constexpr char kExperiment[] = "experiment.textproto", kLog[] = "log.txt", kResults[] = "results.json";

// Whether `text` is such a message and nothing else. Which of two it is, is found out by trying: quietly.
bool Parses(const std::string& text, google::protobuf::Message* message) {
  class Silent : public google::protobuf::io::ErrorCollector {
    void AddError(int, google::protobuf::io::ColumnNumber, const std::string&) override {}
  } silent;
  google::protobuf::TextFormat::Parser parser;
  parser.RecordErrorsTo(&silent);
  parser.SetRecursionLimit(100);
  return parser.ParseFromString(text, message);
}

// Every set field, by its path in the message.
void Flatten(const google::protobuf::Message& message, const std::string& prefix, Settings* settings) {
  const google::protobuf::Reflection& reflection = *message.GetReflection();
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const google::protobuf::FieldDescriptor* field : fields) {
    const std::string name = absl::StrCat(prefix, field->name());
    if (!field->is_repeated() && field->cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE) {
      Flatten(reflection.GetMessage(message, field), name + ".", settings);
      continue;
    }
    std::string values;
    const int count = field->is_repeated() ? reflection.FieldSize(message, field) : 1;
    for (int i = 0; i < count; ++i) {
      std::string value;
      google::protobuf::TextFormat::PrintFieldValueToString(message, field, field->is_repeated() ? i : -1, &value);
      absl::StrAppend(&values, i == 0 ? "" : ",", value);
    }
    settings->emplace_back(name, values);
  }
}

// Numbers, words and switches at the top of results.json.
void Flatten(const json& results, Settings* settings) {
  for (const auto& [key, value] : results.items()) {
    if (value.is_primitive()) settings->emplace_back(key, value.is_string() ? value.get<std::string>() : value.dump());
  }
}

// Sets kind, what, settings and epochs from the experiment's text.
void ReadExperiment(const std::string& text, RunFolder* run) {
  config::Experiment experiment;
  if (Parses(text, &experiment)) {
    run->kind = RunKind::kPretraining;
    run->what = experiment.method() == config::MAE ? "MAE pretraining" : "TEC pretraining";
    run->epochs = experiment.schedule().epochs();
    Flatten(experiment, "", &run->settings);
    return;
  }
  config::Finetune finetune;
  if (Parses(text, &finetune)) {
    run->kind = RunKind::kFinetuning;
    run->what = "finetuning";
    run->epochs = finetune.schedule().epochs();
    Flatten(finetune, "", &run->settings);
  }
}

// An evaluator's results, by what only it writes.
std::string EvaluatorOf(const json& results) {
  if (results.contains("segmentation")) return "segmentation";
  if (results.contains("temperature") && results.contains("results")) return "kNN";
  if (results.contains("choices") && results.contains("c")) return "logistic regression";
  if (results.contains("best") || results.contains("last_epoch")) return "linear probe";
  return "";
}

double NumberAt(const json& object, const char* key) {
  return object.is_object() && object.contains(key) && object[key].is_number() ? object[key].get<double>() : -1;
}

}  // namespace

std::vector<json> ParseJsonLines(const std::string& text) {
  std::vector<json> lines;
  for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    json parsed = json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!parsed.is_object()) {
      parsed = json::parse(
          absl::StrReplaceAll(line, {{": NaN", ": null"}, {": Infinity", ": null"}, {": -Infinity", ": null"}}),
          nullptr, /*allow_exceptions=*/false);
    }
    if (parsed.is_object()) lines.push_back(std::move(parsed));
  }
  return lines;
}

int64_t RunFolder::epochs_done() const {
  int64_t done = 0;
  for (const json& line : epoch_log) done = std::max<int64_t>(done, static_cast<int64_t>(NumberAt(line, "epoch")) + 1);
  return done;
}

std::optional<std::pair<std::string, double>> RunFolder::best() const {
  std::pair<std::string, double> best = {"", -1};
  const auto offer = [&best](const std::string& name, double value) {
    if (value > best.second) best = {name, value};
  };
  for (const json& line : epoch_log) {
    for (const char* key : {"test_acc1", "test_ema_acc1", "knn_top1"}) offer(key, NumberAt(line, key));
  }
  if (results.is_object()) {
    if (results.contains("results") && results["results"].is_array()) {
      for (const json& one : results["results"]) {
        offer(absl::StrFormat("knn_top1 (k = %.0f)", NumberAt(one, "k")), NumberAt(one, "top1"));
      }
    }
    for (const char* classifier : {"knn", "logistic", "linear"}) {
      if (results.contains(classifier)) offer(absl::StrCat("miou ", classifier), NumberAt(results[classifier], "miou"));
    }
    if (results.contains("accuracy")) offer("top1", NumberAt(results["accuracy"], "top1"));
    if (results.contains("best") && results["best"].is_object() && results["best"].contains("accuracy")) {
      offer("top1", NumberAt(results["best"]["accuracy"], "top1"));
    }
  }
  if (best.second < 0) return std::nullopt;
  return best;
}

std::string RunFolder::state() const {
  const int64_t done = epochs_done();
  if (done == 0) return results.is_object() ? "evaluated" : "no epoch finished";
  if (epochs > 0 && done >= epochs) return "finished";
  if (epochs > 0) return absl::StrCat("epoch ", done, " of ", epochs);
  return results.is_object() ? "finished" : absl::StrCat("epoch ", done);
}

std::string RunFolder::events_folder() const {
  std::string log_dir, output_dir;  // As in a text file: within quotation marks.
  for (const auto& [setting, value] : settings) {
    if (setting == "logging.log_dir") log_dir = value;
    if (setting == "logging.output_dir") output_dir = value;
  }
  std::string folder;
  // Where both are one, the folder may have been moved since.
  if (log_dir.size() > 2 && log_dir != output_dir &&
      absl::CUnescape(absl::string_view(log_dir).substr(1, log_dir.size() - 2), &folder)) {
    return folder;
  }
  return path;
}

absl::StatusOr<RunFolder> ReadRunFolder(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) return absl::NotFoundError(absl::StrCat(path, " is not a folder"));
  RunFolder run;
  run.path = path;
  if (const absl::StatusOr<std::string> text = ReadFile(absl::StrCat(path, "/", kExperiment)); text.ok()) {
    ReadExperiment(*text, &run);
  }
  if (const absl::StatusOr<std::string> text = ReadFile(absl::StrCat(path, "/", kLog)); text.ok()) {
    run.epoch_log = ParseJsonLines(*text);
  }
  if (const absl::StatusOr<std::string> text = ReadFile(absl::StrCat(path, "/", kResults)); text.ok()) {
    run.results = json::parse(*text, nullptr, /*allow_exceptions=*/false);
    if (!run.results.is_object()) run.results = nullptr;
  }
  if (run.what.empty() && run.results.is_object()) {
    run.what = EvaluatorOf(run.results);
    if (!run.what.empty()) Flatten(run.results, &run.settings);
  }
  // A linear probe that was stopped, or is under way, has a log alone.
  if (run.what.empty() && !run.epoch_log.empty()) {
    if (run.epoch_log[0].contains("best_head")) run.what = "linear probe";
    if (run.epoch_log[0].contains("max_miou")) run.what = "segmentation";
  }
  if (run.what.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " holds no run: no ", kExperiment, " or ", kResults, " of this project is in it"));
  }
  std::filesystem::file_time_type newest_checkpoint;
  for (const auto& entry : std::filesystem::directory_iterator(path, error)) {
    if (!entry.is_regular_file(error)) continue;
    struct stat info = {};
    if (stat(entry.path().c_str(), &info) == 0) run.modified = std::max<int64_t>(run.modified, info.st_mtime);
    const std::string name = entry.path().filename().string();
    if (!absl::EndsWith(name, ".pth") || !absl::StrContains(name, "checkpoint")) continue;
    const auto time = entry.last_write_time(error);
    if (run.newest_checkpoint.empty() || time > newest_checkpoint) {
      run.newest_checkpoint = name;
      newest_checkpoint = time;
    }
  }
  return run;
}

std::vector<SettingDifference> DifferencesOf(const std::vector<RunFolder>& runs) {
  std::vector<std::string> names;
  std::vector<std::map<std::string, std::string>> values(runs.size());
  for (size_t i = 0; i < runs.size(); ++i) {
    for (const auto& [name, value] : runs[i].settings) {
      if (absl::StartsWith(name, "logging.")) continue;
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
      values[i][name] = value;
    }
  }
  std::vector<SettingDifference> differences;
  for (const std::string& name : names) {
    SettingDifference difference = {name, {}};
    for (const auto& of_run : values) {
      const auto found = of_run.find(name);
      difference.values.push_back(found == of_run.end() ? "-" : found->second);
    }
    const auto& all = difference.values;
    if (std::adjacent_find(all.begin(), all.end(), std::not_equal_to<>()) != all.end()) {
      differences.push_back(std::move(difference));
    }
  }
  return differences;
}

absl::StatusOr<std::vector<RunFolder>> FindRuns(const std::string& root, int depth) {
  std::vector<RunFolder> runs;
  absl::StatusOr<RunFolder> here = ReadRunFolder(root);
  if (absl::IsNotFound(here.status())) return here.status();
  if (here.ok()) runs.push_back(*std::move(here));
  if (depth == 0) return runs;
  std::vector<std::string> folders;
  std::error_code error;
  // What cannot be looked into is passed over: a folder of runs may lie beside others' folders.
  for (const auto& entry : std::filesystem::directory_iterator(root, error)) {
    if (entry.is_directory(error) && !entry.is_symlink(error)) folders.push_back(entry.path().string());
  }
  std::sort(folders.begin(), folders.end());
  for (const std::string& folder : folders) {
    TEC_ASSIGN_OR_RETURN(std::vector<RunFolder> below, FindRuns(folder, depth - 1));
    std::move(below.begin(), below.end(), std::back_inserter(runs));
  }
  return runs;
}

}  // namespace tec
