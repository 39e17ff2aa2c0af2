#include "eval/report/run_report.h"

#include <sys/stat.h>
#include <sys/utsname.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "eval/report/curves.h"
#include "eval/report/html.h"
#include "eval/report/run_info.h"
#include "tec/base/file.h"
#include "tec/base/sha256.h"
#include "tec/base/version.h"
#include "tec/run/picture_events.h"

namespace tec {
namespace {

using nlohmann::json;

constexpr size_t kMostPoints = 600;  // Of a curve: about one a pixel.
constexpr double kMuchWaiting = 0.05;
constexpr size_t kMostBadLines = 50;
constexpr size_t kMostOverlayBytes = 8 << 20;  // The page stays below 20 MB.

// One chart of the page: which numbers of the logs belong together.
struct ChartOf {
  const char* title;
  std::vector<const char*> keys;
};

std::vector<json> LinesOf(const RunFolder& run, const char* name) {
  const absl::StatusOr<std::string> text = ReadFile(absl::StrCat(run.path, "/", name));
  return text.ok() ? ParseJsonLines(*text) : std::vector<json>();
}

// What the runs are called on the page: their folders' names, with those of the folders around where names are equal.
std::vector<std::string> NamesOf(const std::vector<RunFolder>& runs) {
  std::vector<std::string> names;
  for (const RunFolder& run : runs) {
    names.push_back(run.name.empty() ? std::filesystem::path(run.path).filename().string() : run.name);
  }
  const std::set<std::string> different(names.begin(), names.end());
  if (different.size() == names.size()) return names;
  for (size_t i = 0; i < runs.size(); ++i) {
    const std::filesystem::path path(runs[i].path);
    names[i] = (path.parent_path().filename() / path.filename()).string();
  }
  return names;
}

// y of the lines that have both numbers, over x.
std::vector<std::pair<double, double>> PointsOf(const std::vector<json>& lines, const char* x, const char* y) {
  std::vector<std::pair<double, double>> points;
  for (const json& line : lines) {
    const auto at_x = line.find(x), at_y = line.find(y);
    if (at_x == line.end() || at_y == line.end() || !at_x->is_number() || !at_y->is_number()) continue;
    points.emplace_back(at_x->get<double>(), at_y->get<double>());
  }
  return Thinned(points, kMostPoints);
}

double SettingOf(const RunFolder& run, const char* name) {
  double value = std::numeric_limits<double>::quiet_NaN();
  for (const auto& [setting, text] : run.settings) {
    if (setting == name && !absl::SimpleAtod(text, &value)) value = std::numeric_limits<double>::quiet_NaN();
  }
  return value;
}

// loss_att's floor, the entropy of its target: of the pictures of each epoch, where TensorBoard's events have it.
constexpr char kAttFloor[] = "loss_att_floor";
std::vector<std::pair<double, double>> FloorOf(const RunFolder& run) {
  std::map<int64_t, double> floors;  // An epoch that was done twice has the later one.
  for (const auto& [epoch, floor] : ReadEpochScalars(run.events_folder(), kAttFloor)) floors[epoch] = floor;
  return Thinned({floors.begin(), floors.end()}, kMostPoints);
}

// What a cross-entropy with smoothed labels cannot fall below: their entropy. Nothing where labels are whole (0) or
// mixed (another one in every batch).
std::optional<double> SmoothedFloorOf(const RunFolder& run) {
  const double smoothing = SettingOf(run, "augmentation.smoothing"), classes = SettingOf(run, "nb_classes");
  const bool mixed = SettingOf(run, "augmentation.mixup") > 0 || SettingOf(run, "augmentation.cutmix") > 0;
  if (run.kind != RunKind::kFinetuning || !(smoothing > 0) || !(classes > 1) || mixed) return std::nullopt;
  const double off = smoothing / classes, on = 1 - smoothing + off;
  return -on * std::log(on) - (classes - 1) * off * std::log(off);
}

std::string ChartsOf(const std::vector<RunFolder>& runs, const std::vector<std::string>& names) {
  // Over updates, from metrics.jsonl, and over epochs, from log.txt.
  const std::vector<ChartOf> by_update = {{"Losses over updates", {"loss", "loss_fea", "loss_att", "train_loss"}},
                                          {"Learning rate", {"lr"}},
                                          {"Norm of the gradient", {"grad_norm"}},
                                          {"Images a second", {"images_per_second"}},
                                          {"Seconds an update waited for data", {"data_wait_seconds"}}};
  const std::vector<ChartOf> by_epoch = {
      {"Mean losses over epochs", {"train_loss", "train_loss_fea", "train_loss_att", kAttFloor, "test_loss"}},
      {"Top-1 accuracy, percent, over epochs", {"knn_top1", "test_acc1", "test_ema_acc1"}},
      {"Mean IoU and accuracy of pixels, percent, over epochs", {"test_miou", "test_pixel_accuracy"}},
      {"RankMe over epochs", {"rank_me"}},
      {"Standard deviation of features over epochs", {"feature_std"}}};
  std::vector<std::vector<json>> updates;
  for (const RunFolder& run : runs) updates.push_back(LinesOf(run, "metrics.jsonl"));
  std::string html;
  const auto add = [&](const ChartOf& of, bool epochs) {
    Chart chart = {of.title, {}};
    for (size_t i = 0; i < runs.size(); ++i) {
      for (const char* key : of.keys) {
        Curve curve;
        curve.dashed = absl::string_view(key) == kAttFloor;
        curve.points = curve.dashed
                           ? FloorOf(runs[i])
                           : PointsOf(epochs ? runs[i].epoch_log : updates[i], epochs ? "epoch" : "update", key);
        curve.name = runs.size() == 1 ? key : absl::StrCat(names[i], " ", key);
        if (!curve.points.empty()) chart.curves.push_back(std::move(curve));
      }
      const std::optional<double> floor =
          of.keys[0] == absl::string_view("train_loss") ? SmoothedFloorOf(runs[i]) : std::nullopt;
      if (floor && runs[i].epochs_done() > 0) {
        chart.curves.push_back({runs.size() == 1 ? "floor of train_loss" : names[i] + " floor of train_loss",
                                {{0, *floor}, {static_cast<double>(runs[i].epochs_done() - 1), *floor}},
                                /*dashed=*/true});
      }
    }
    if (!chart.curves.empty()) html += InlineChart(chart);
  };
  for (const ChartOf& chart : by_update) add(chart, false);
  for (const ChartOf& chart : by_epoch) add(chart, true);
  return html.empty() ? "<p>No update is logged yet.</p>" : absl::StrCat("<div class=\"charts\">\n", html, "</div>\n");
}

std::string SummaryOf(const std::vector<RunFolder>& runs) {
  std::vector<std::vector<std::string>> rows = {{"run", "what", "state", "best accuracy", "last change (UTC)"}};
  for (const RunFolder& run : runs) {
    const auto best = run.best();
    rows.push_back({HtmlText(run.path), HtmlText(run.what), HtmlText(run.state()),
                    best ? absl::StrFormat("%.2f %% (%s)", best->second, HtmlText(best->first)) : "none",
                    absl::FormatTime("%Y-%m-%d %H:%M", absl::FromUnixSeconds(run.modified), absl::UTCTimeZone())});
  }
  return HtmlTable(rows);
}

std::string SettingsOf(const std::vector<RunFolder>& runs, const std::vector<std::string>& names) {
  std::vector<std::vector<std::string>> rows;
  if (runs.size() == 1) {
    rows.push_back({"setting", "value"});
    for (const auto& [name, value] : runs[0].settings) rows.push_back({HtmlText(name), HtmlText(value)});
    return HtmlTable(rows);
  }
  rows.push_back({"setting"});
  for (const std::string& name : names) rows[0].push_back(HtmlText(name));
  for (const SettingDifference& difference : DifferencesOf(runs)) {
    rows.push_back({HtmlText(difference.name)});
    for (const std::string& value : difference.values) rows.back().push_back(HtmlText(value));
  }
  return rows.size() == 1 ? "<p>No setting differs.</p>" : HtmlTable(rows);
}

// Sha256OfFile, computed once for a file that stays as it is: the page of a run is made again and again.
std::string ChecksumOf(const std::string& path, const struct stat& info) {
  static std::mutex mutex;
  static auto& known = *new std::map<std::string, std::pair<std::string, std::string>>;
  const std::string look = absl::StrCat(info.st_size, " ", info.st_mtim.tv_sec, " ", info.st_mtim.tv_nsec);
  {
    const std::lock_guard<std::mutex> lock(mutex);
    const auto found = known.find(path);
    if (found != known.end() && found->second.first == look) return found->second.second;
  }
  const absl::StatusOr<std::string> sum = Sha256OfFile(path);
  const std::string cell = sum.ok() ? absl::StrCat("<code>", *sum, "</code>") : HtmlText(sum.status().message());
  const std::lock_guard<std::mutex> lock(mutex);
  known[path] = {look, cell};
  return cell;
}

std::string FilesOf(const RunFolder& run) {
  std::vector<std::vector<std::string>> rows = {{"file", "bytes", "sha256"}};
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(run.path, error)) {
    const std::string name = entry.path().filename().string();
    if (entry.is_regular_file(error) && (absl::EndsWith(name, ".pth") || absl::EndsWith(name, ".safetensors"))) {
      names.push_back(name);
    }
  }
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    const std::string path = absl::StrCat(run.path, "/", name);
    struct stat info = {};
    stat(path.c_str(), &info);
    const bool changes = absl::StartsWith(name, "this_checkpoint") && absl::StartsWith(run.state(), "epoch ");
    rows.push_back({HtmlText(name), absl::StrCat(info.st_size),
                    changes ? "written anew after every epoch" : ChecksumOf(path, info)});
  }
  return rows.size() == 1 ? "<p>No checkpoint is written yet.</p>" : HtmlTable(rows);
}

std::string BadImagesOf(const RunFolder& run) {
  std::string html;
  for (const char* name : {"bad_images.txt", "bad_images_val.txt"}) {
    const absl::StatusOr<std::string> text = ReadFile(absl::StrCat(run.path, "/", name));
    if (!text.ok()) continue;
    const std::vector<absl::string_view> lines = absl::StrSplit(*text, '\n', absl::SkipEmpty());
    absl::StrAppend(&html, "<p>", name, ": ", lines.size(), " unreadable pictures</p><ul>\n");
    for (size_t i = 0; i < std::min(lines.size(), kMostBadLines); ++i) {
      absl::StrAppend(&html, "<li>", HtmlText(lines[i]), "\n");
    }
    html += lines.size() > kMostBadLines ? "<li>...</ul>\n" : "</ul>\n";
  }
  return html;
}

std::string TextAt(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end()) return "";
  return found->is_string() ? found->get<std::string>() : found->dump(-1, ' ', false, json::error_handler_t::replace);
}

// Every start of the run: command, versions, machine.
std::string StartsOf(const RunFolder& run) {
  const std::vector<json> starts = ReadRunInfo(run.path);
  if (starts.empty()) return "";
  std::vector<std::vector<std::string>> rows = {{"started", "command", "versions", "machine"}};
  for (const json& start : starts) {
    const auto found = start.find("machine");
    const json machine = found != start.end() && found->is_object() ? *found : json::object();
    std::string gpus;
    if (const auto list = machine.find("gpus"); list != machine.end() && list->is_array()) {
      for (const json& gpu : *list) {
        if (gpu.is_string()) absl::StrAppend(&gpus, "; ", gpu.get<std::string>());
      }
    }
    rows.push_back({HtmlText(TextAt(start, "started")),
                    absl::StrCat("<code>", HtmlText(TextAt(start, "command")), "</code>"),
                    HtmlText(absl::StrCat("TEC ", TextAt(start, "version"), ", commit ", TextAt(start, "commit"),
                                          "; LibTorch ", TextAt(machine, "libtorch"), "; CUDA ",
                                          TextAt(machine, "cuda"), "; compiler ", TextAt(machine, "compiler"))),
                    HtmlText(absl::StrCat(TextAt(machine, "processor"), ", ", TextAt(machine, "cores"), " cores", gpus,
                                          "; ", TextAt(machine, "system")))});
  }
  return HtmlTable(rows);
}

// Of a segmentation: results by classifier, IoU of each class, and the masks in colours that it drew.
std::string SegmentationOf(const RunFolder& run) {
  if (!run.results.is_object() || !run.results.contains("segmentation")) return "";
  std::vector<std::vector<std::string>> rows = {{"classifier", "mean IoU, percent", "accuracy of pixels, percent"}};
  std::vector<std::vector<std::string>> classes = {{"class"}};
  std::map<std::string, size_t> row_of;
  for (const char* name : {"knn", "logistic", "linear"}) {
    if (!run.results.contains(name) || !run.results[name].is_object()) continue;
    const json& result = run.results[name];
    rows.push_back({name, TextAt(result, "miou"), TextAt(result, "accuracy")});
    classes[0].push_back(absl::StrCat("IoU of ", name));
    if (!result.contains("iou") || !result["iou"].is_object()) continue;
    for (const auto& [class_name, iou] : result["iou"].items()) {
      const auto [found, is_new] = row_of.emplace(class_name, classes.size());
      if (is_new) classes.push_back({HtmlText(class_name)});
      std::vector<std::string>& row = classes[found->second];
      row.resize(classes[0].size() - 1, "-");
      row.push_back(iou.is_number() ? absl::StrFormat("%.2f", iou.get<double>()) : "-");
    }
  }
  for (std::vector<std::string>& row : classes) row.resize(classes[0].size(), "-");
  std::string html = HtmlTable(rows) + HtmlTable(classes);
  const auto pictures = run.results.find("pictures");
  if (pictures == run.results.end() || !pictures->is_object() || !pictures->contains("files")) return html;
  std::vector<std::string> panels;
  for (const json& panel : pictures->value("panels", json::array())) {
    if (panel.is_string()) panels.push_back(panel.get<std::string>());
  }
  absl::StrAppend(&html, "<p>From left to right: ", HtmlText(absl::StrJoin(panels, ", ")), ".</p>\n");
  size_t bytes = 0;
  for (const json& picture : (*pictures)["files"]) {
    // The file's name is read from a file: it may only lie in the folder.
    const std::string name = std::filesystem::path(TextAt(picture, "file")).filename().string();
    const absl::StatusOr<std::string> png = ReadFile(absl::StrCat(run.path, "/pictures/", name));
    if (!png.ok() || (bytes += png->size()) > kMostOverlayBytes) continue;
    absl::StrAppend(&html, "<figure class=\"wide\"><img alt=\"\" src=\"", DataUri("image/png", *png), "\"><figcaption>",
                    HtmlText(TextAt(picture, "name")), "</figcaption></figure>\n");
  }
  return html;
}

std::string MachineText() {
  struct utsname machine = {};
  uname(&machine);
  return absl::StrCat("Made ", absl::FormatTime("%Y-%m-%d %H:%M:%S", absl::Now(), absl::UTCTimeZone()), " UTC on ",
                      machine.sysname, " ", machine.release, ", ", machine.machine, ", by TEC ", kVersion, ".");
}

double SumOf(const std::vector<json>& lines, const char* key) {
  double sum = 0;
  for (const json& line : lines) sum += line.contains(key) && line[key].is_number() ? line[key].get<double>() : 0;
  return sum;
}

}  // namespace

std::vector<std::string> WarningsOf(const RunFolder& run) {
  std::vector<std::string> warnings;
  const double seconds = SumOf(run.epoch_log, "seconds"), waited = SumOf(run.epoch_log, "data_wait_seconds");
  if (seconds > 0 && waited > kMuchWaiting * seconds) {
    warnings.push_back(
        absl::StrFormat("%.0f %% of the time went in waiting for pictures: more --num_workers, or faster "
                        "storage, would make training faster.",
                        100 * waited / seconds));
  }
  if (const double skipped = SumOf(LinesOf(run, "metrics.jsonl"), "skipped"); skipped > 0) {
    warnings.push_back(absl::StrFormat("%.0f updates were skipped because the scaled gradient overflowed.", skipped));
  }
  if (!run.epoch_log.empty()) {
    const json& last = run.epoch_log.back();
    if (last.contains("bad_images") && last["bad_images"].is_number() && last["bad_images"].get<double>() > 0) {
      warnings.push_back(absl::StrFormat("%.0f pictures could not be read; others took their place.",
                                         last["bad_images"].get<double>()));
    }
  }
  const double warmup = SettingOf(run, "schedule.warmup_epochs"), epochs = SettingOf(run, "schedule.epochs");
  if (warmup >= epochs) {
    warnings.push_back(
        absl::StrFormat("The warm-up of %g epochs is as long as the run of %g: the learning rate never "
                        "reached its full height.",
                        warmup, epochs));
  }
  return warnings;
}

std::string FormatRunReport(const std::vector<RunFolder>& runs, const std::vector<ReportSection>& sections,
                            const std::optional<ReportSection>& first) {
  const std::vector<std::string> names = NamesOf(runs);
  const bool one = runs.size() == 1;
  std::vector<ReportSection> all;
  if (first) all.push_back(*first);
  std::string warnings;
  for (size_t i = 0; i < runs.size(); ++i) {
    for (const std::string& warning : WarningsOf(runs[i])) {
      absl::StrAppend(&warnings, "<p class=\"warning\">", one ? "" : HtmlText(names[i] + ": "), HtmlText(warning),
                      "</p>\n");
    }
  }
  all.push_back({"summary", "Summary", SummaryOf(runs) + warnings});
  all.push_back({"curves", "Curves", ChartsOf(runs, names)});
  if (one) {
    if (std::string html = SegmentationOf(runs[0]); !html.empty())
      all.push_back({"segmentation", "Segmentation", html});
  }
  all.insert(all.end(), sections.begin(), sections.end());
  all.push_back({"settings", one ? "Settings" : "Settings that differ", SettingsOf(runs, names)});
  for (size_t i = 0; i < runs.size(); ++i) {
    const std::string of = one ? "" : absl::StrCat(" of ", names[i]), id = one ? "" : absl::StrCat("-", i);
    if (std::string starts = StartsOf(runs[i]); !starts.empty()) {
      all.push_back({"starts" + id, "Command, versions, machine" + of, std::move(starts)});
    }
    all.push_back({"files" + id, "Checkpoints" + of, FilesOf(runs[i])});
    if (const std::string bad = BadImagesOf(runs[i]); !bad.empty()) {
      all.push_back({"bad-images" + id, "Unreadable pictures" + of, bad});
    }
  }
  std::string body = absl::StrCat("<p>", HtmlText(MachineText()), "</p>\n<nav>");
  for (const ReportSection& section : all) {
    absl::StrAppend(&body, "<a href=\"#", section.id, "\">", HtmlText(section.title), "</a> ");
  }
  body += "</nav>\n";
  for (const ReportSection& section : all) {
    absl::StrAppend(&body, "<section id=\"", section.id, "\"><h2>", HtmlText(section.title), "</h2>\n", section.html,
                    "</section>\n");
  }
  return HtmlPage(first ? first->title
                  : one ? absl::StrCat(names[0], ": ", runs[0].what)
                        : absl::StrJoin(names, ", "),
                  body);
}

}  // namespace tec
