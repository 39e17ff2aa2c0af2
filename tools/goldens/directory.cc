#include "tools/goldens/directory.h"

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "nlohmann/json.hpp"
#include "tec/base/file.h"
#include "tec/base/logging.h"
#include "tools/goldens/checks.h"

namespace tec {
namespace {

struct Kind {
  std::string name;
  GoldenCheck check;
  // One that is there asks for the check. A name that ends in '/' stands for everything in that folder.
  std::vector<std::string> files;
  // Without one of these it cannot be done.
  std::vector<std::string> needs;
};

std::vector<Kind> Kinds(const std::set<std::string>& files) {
  const auto one = [](const std::string& name, GoldenCheck check) {
    return Kind{name, check, {name + ".safetensors"}, {}};
  };
  const auto json = [](const std::string& name, GoldenCheck check) { return Kind{name, check, {name + ".json"}, {}}; };
  std::vector<Kind> kinds = {
      one("tec_tiny", CheckTec),
      {"tec_tiny_plain", CheckTec, {"tec_tiny_plain.safetensors"}, {"tec_tiny.safetensors"}},
      one("teacher_tiny", CheckBaseModel),
      one("pretrain_trajectory", CheckPretrainTrajectory),
      one("finetune_tiny", CheckFinetuneModel),
      one("mixup", CheckMixup),
      one("finetune_trajectory", CheckFinetuneTrajectory),
      json("layer_decay_groups", CheckLayerDecay),
  };
  std::set<std::string> full;
  for (const std::string& file : files) {
    for (const char* end : {".json", ".safetensors"}) {
      if (absl::StartsWith(file, "full_") && absl::EndsWith(file, end)) {
        full.insert(file.substr(0, file.size() - strlen(end)));
      }
    }
  }
  for (const std::string& name : full) {
    kinds.push_back({name, CheckFullSize, {name + ".json", name + ".safetensors"}, {name + ".json"}});
  }
  const std::vector<Kind> rest = {
      json("schedules", CheckSchedules),
      one("pos_embed", CheckPositions),
      one("masking", CheckMasking),
      json("masking_kept", CheckMaskingKept),
      one("linprobe", CheckLinearProbe),
      one("knn", CheckKnn),
      json("metrics", CheckMetrics),
      {"weight_convert", CheckWeightConvert, {"weight_convert/"}, {"weight_convert/pretrain.pth"}},
      {"checkpoints", CheckCheckpoints, {"checkpoints/"}, {"checkpoints/index.json"}},
      {"images", CheckImages, {"images/"}, {"images/index.json"}},
      {"resize", CheckResize, {"resize.json", "resize.safetensors"}, {"resize.json", "images/decoded.safetensors"}},
      {"randaugment",
       CheckRandAugment,
       {"randaugment.json", "randaugment.safetensors"},
       {"randaugment.json", "randaugment.safetensors"}},
      json("inventory", CheckInventory),
  };
  kinds.insert(kinds.end(), rest.begin(), rest.end());
  return kinds;
}

// Between the processes, as JSON. Numbers go as text: JSON has no infinity.
nlohmann::json ToJson(const GoldenRow& row) {
  return {row.item,
          row.quantity,
          row.group,
          row.tolerance,
          absl::StrFormat("%a", row.absolute),
          absl::StrFormat("%a", row.relative),
          absl::StrFormat("%a", row.severity),
          row.pass,
          row.where};
}

GoldenRow FromJson(const nlohmann::json& json) {
  const auto number = [](const nlohmann::json& text) { return std::strtod(text.get<std::string>().c_str(), nullptr); };
  GoldenRow row;
  row.item = json.at(0);
  row.quantity = json.at(1);
  row.group = json.at(2);
  row.tolerance = json.at(3);
  row.absolute = number(json.at(4));
  row.relative = number(json.at(5));
  row.severity = number(json.at(6));
  row.pass = json.at(7);
  row.where = json.at(8);
  return row;
}

void WriteAll(int fd, const std::string& bytes) {
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t n = write(fd, bytes.data() + done, bytes.size() - done);
    if (n <= 0) return;
    done += n;
  }
}

std::string ReadAll(int fd) {
  std::string bytes;
  char buffer[1 << 16];
  for (ssize_t n; (n = read(fd, buffer, sizeof(buffer))) > 0;) bytes.append(buffer, n);
  return bytes;
}

std::string HowItEnded(int status) {
  if (WIFSIGNALED(status)) {
    return absl::StrCat("the check was ended by signal ", WTERMSIG(status), " (", strsignal(WTERMSIG(status)),
                        "); what it said before stands above");
  }
  return absl::StrCat("the check ended with exit code ", WEXITSTATUS(status));
}

std::string ErrorText(const GoldenRow& row, double error) {
  if (row.tolerance == "-") return "-";
  return error == 0 ? "0" : absl::StrFormat("%.1e", error);
}

}  // namespace

absl::StatusOr<GoldenDirectory> ListGoldens(const std::string& directory) {
  GoldenDirectory result;
  std::error_code error;
  const std::filesystem::path root(directory);
  if (!std::filesystem::is_directory(root, error)) {
    return error ? ErrnoToStatus(error.value(), "cannot read", directory)
                 : absl::NotFoundError(absl::StrCat(directory, " is no directory"));
  }
  using std::filesystem::recursive_directory_iterator;
  for (recursive_directory_iterator it(root, error), end; !error && it != end; it.increment(error)) {
    if (it->is_directory(error)) continue;
    const std::string file = it->path().lexically_relative(root).string();
    result.files.insert(file);
    if (absl::StartsWith(it->path().filename().string(), "README")) result.explains.insert(file);
  }
  if (error) return ErrnoToStatus(error.value(), "cannot read", directory);

  for (const Kind& kind : Kinds(result.files)) {
    GoldenJob job;
    job.name = kind.name;
    job.check = kind.check;
    for (const std::string& file : kind.files) {
      for (const std::string& present : result.files) {
        const bool belongs = absl::EndsWith(file, "/") ? absl::StartsWith(present, file) : present == file;
        if (belongs && result.explains.count(present) == 0) job.files.insert(present);
      }
    }
    if (job.files.empty()) continue;
    for (const std::string& need : kind.needs) {
      if (result.files.count(need) == 0) job.missing.push_back(need);
    }
    result.jobs.push_back(std::move(job));
  }
  return result;
}

GoldenOutcome RunGoldenJob(const std::string& directory, const GoldenJob& job, const GoldenOptions& options,
                           const std::string& record_to) {
  int ends[2];
  TEC_CHECK_EQ(pipe(ends), 0) << strerror(errno);
  std::fflush(nullptr);  // Or both would write it.
  const pid_t child = fork();
  TEC_CHECK_GE(child, 0) << strerror(errno);
  if (child == 0) {
    close(ends[0]);
    GoldenItem item(directory, job.name, options);
    RunGoldenCheck(job.check, item);
    nlohmann::json rows = nlohmann::json::array();
    for (const GoldenRow& row : item.rows()) rows.push_back(ToJson(row));
    if (options.record) {
      const absl::Status recorded = item.RecordTo(record_to);
      if (!recorded.ok()) {
        GoldenRow row;
        row.item = job.name;
        row.quantity = "(recording)";
        row.where = std::string(recorded.message());
        rows.push_back(ToJson(row));
      }
    }
    const nlohmann::json outcome = {rows, item.files()};
    WriteAll(ends[1], outcome.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    std::fflush(nullptr);
    _exit(0);
  }
  close(ends[1]);
  const std::string text = ReadAll(ends[0]);
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);

  GoldenOutcome outcome;
  const nlohmann::json json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (status == 0 && json.is_array()) {
    for (const nlohmann::json& row : json.at(0)) outcome.rows.push_back(FromJson(row));
    outcome.files = json.at(1).get<std::set<std::string>>();
  } else {
    GoldenRow row;
    row.item = job.name;
    row.quantity = "(not all compared)";
    row.tolerance = "-";
    row.where = HowItEnded(status);
    outcome.rows.push_back(row);
    outcome.files = job.files;
  }
  return outcome;
}

std::string FormatGoldenRows(const std::vector<GoldenRow>& rows, bool header) {
  struct Line {
    GoldenRow row;
    int count = 1;
  };
  std::vector<Line> lines;
  std::map<std::pair<std::string, std::string>, size_t> line_of_group;
  for (const GoldenRow& row : rows) {
    if (row.pass && !row.group.empty()) {
      const auto [found, is_new] = line_of_group.emplace(std::pair(row.item, row.group), lines.size());
      if (!is_new) {
        Line& line = lines[found->second];
        ++line.count;
        if (row.severity > line.row.severity) line.row = row;
        continue;
      }
    }
    lines.push_back({row, 1});
  }
  size_t item_width = 20, quantity_width = 40;
  for (Line& line : lines) {
    GoldenRow& row = line.row;
    if (line.count > 1) {
      if (!row.where.empty()) row.where = absl::StrCat(row.quantity, ", ", row.where);
      row.quantity = absl::StrCat(row.group, " (", line.count, ")");
    }
    item_width = std::max(item_width, row.item.size());
    quantity_width = std::max(quantity_width, row.quantity.size());
  }
  const auto format = [&](const std::string& item, const std::string& quantity, const std::string& absolute,
                          const std::string& relative, const std::string& tolerance, const std::string& verdict,
                          const std::string& where) {
    std::string line = absl::StrFormat("%-*s %-*s %8s %8s %10s %4s  %s", item_width, item, quantity_width, quantity,
                                       absolute, relative, tolerance, verdict, where);
    while (!line.empty() && line.back() == ' ') line.pop_back();
    return line + "\n";
  };
  std::string text;
  if (header) text = format("item", "quantity", "absolute", "relative", "tolerance", "", "largest error");
  for (const Line& line : lines) {
    const GoldenRow& row = line.row;
    text += format(row.item, row.quantity, ErrorText(row, row.absolute), ErrorText(row, row.relative), row.tolerance,
                   row.pass ? "pass" : "FAIL", row.where);
  }
  return text;
}

}  // namespace tec
