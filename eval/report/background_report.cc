#include "eval/report/background_report.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "eval/report/html.h"
#include "eval/report/run_info.h"
#include "tec/base/file.h"
#include "tec/base/logging.h"
#include "tec/base/printable.h"
#include "tec/base/status.h"
#include "tec/base/steady_seconds.h"

namespace tec {
namespace {

// Size and time of a file; empty: there is none.
std::string LookOf(const std::string& path) {
  struct stat info = {};
  if (stat(path.c_str(), &info) != 0) return "";
  return absl::StrCat(info.st_size, " ", info.st_mtim.tv_sec, " ", info.st_mtim.tv_nsec);
}

// Names and looks of the numbered checkpoints, and the most bytes of one.
std::string NumberedCheckpoints(const std::string& folder, int64_t* bytes) {
  std::vector<std::string> found;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (!absl::StartsWith(name, "checkpoint-") || !absl::EndsWith(name, ".pth")) continue;
    found.push_back(absl::StrCat(name, " ", LookOf(entry.path().string())));
    *bytes = std::max<int64_t>(*bytes, static_cast<int64_t>(entry.file_size(error)));
  }
  std::sort(found.begin(), found.end());
  return absl::StrJoin(found, "\n");
}

// The same of the checkpoint that an evaluation's results name.
std::string EvaluatedCheckpoint(const RunFolder& run, int64_t* bytes) {
  if (!run.results.is_object() || !run.results.contains("checkpoint") || !run.results["checkpoint"].is_string()) {
    return "";
  }
  const std::string path = run.results["checkpoint"].get<std::string>();
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  if (!error) *bytes = static_cast<int64_t>(size);
  return absl::StrCat(path, " ", LookOf(path));
}

// This thread, and those that it starts, run where nothing else wants to.
void GiveWay() {
  struct sched_param none = {};
  if (sched_setscheduler(0, SCHED_IDLE, &none) != 0) setpriority(PRIO_PROCESS, 0, 19);
}

}  // namespace

BackgroundReport::BackgroundReport(BackgroundReportOptions options)
    : options_(std::move(options)),
      page_(options_.folder + "/report.html"),
      started_(SteadySeconds()),
      first_log_(LookOf(options_.folder + "/log.txt")),
      first_results_(LookOf(options_.folder + "/results.json")),
      last_log_(first_log_),
      thread_([this] { Watch(); }) {}

BackgroundReport::~BackgroundReport() { Stop(); }

void BackgroundReport::Stop() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void BackgroundReport::Watch() {
  GiveWay();
  double next = 0;
  while (true) {
    {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait_for(lock, std::chrono::duration<double>(options_.poll_seconds), [this] { return stop_.load(); });
      if (stop_) return;
    }
    const double now = SteadySeconds();
    const std::string log = LookOf(options_.folder + "/log.txt");
    if (log == last_log_ || now < next) continue;
    last_log_ = log;
    const double allowed = options_.share * (now - started_) - picture_seconds_;
    // A try that was too short is made again when twice as much may be spent.
    WritePage(/*pictures=*/!options_.pictures_of_results && allowed >= 1 && allowed >= 2 * tried_seconds_, allowed);
    next = SteadySeconds() + (SteadySeconds() - now) / options_.share;
  }
}

void BackgroundReport::DrawPictures(const RunFolder& run, double seconds) {
  int64_t bytes = 0;
  const std::string checkpoints =
      options_.pictures_of_results ? EvaluatedCheckpoint(run, &bytes) : NumberedCheckpoints(options_.folder, &bytes);
  if (!options_.pictures || checkpoints.empty() || checkpoints == drawn_) return;
  const auto not_drawn = [this](absl::string_view why) {
    sections_ = {{"pictures", "Pictures", absl::StrCat("<p class=\"warning\">Not drawn: ", HtmlText(why), "</p>\n")}};
  };
  const std::string remedy = "; //tools:report draws them";
  if (bytes > kMostBackgroundBytes) {
    drawn_ = checkpoints;
    return not_drawn("the checkpoints are too large to be read beside the training" + remedy);
  }
  const double begin = SteadySeconds();
  const bool watching = !stop_;
  const auto stop = [this, begin, seconds, watching] {
    return (watching && stop_) || SteadySeconds() - begin > seconds;
  };
  absl::StatusOr<std::vector<ReportSection>> sections = options_.pictures(run, stop);
  picture_seconds_ += SteadySeconds() - begin;
  if (absl::IsCancelled(sections.status())) {
    tried_seconds_ = seconds;
    if (sections_.empty()) not_drawn("it would have held up the run" + remedy);
    return;
  }
  tried_seconds_ = 0;
  drawn_ = checkpoints;
  if (sections.ok()) {
    sections_ = *std::move(sections);
  } else {
    TEC_LOG(WARNING) << page_ << " has no pictures: " << sections.status().message();
    not_drawn(sections.status().message());
  }
}

bool BackgroundReport::WritePage(bool pictures, double seconds) {
  absl::Status status;
  try {
    if (!recorded_) {
      recorded_ = true;
      status = AddRunInfo(options_.folder);
      if (!status.ok()) TEC_LOG(WARNING) << status.message();
    }
    const absl::StatusOr<RunFolder> run = ReadRunFolder(options_.folder);
    status = run.status();
    if (status.ok()) {
      if (pictures) DrawPictures(*run, seconds);
      status = WriteFile(page_, FormatRunReport({*run}, sections_));
    }
  } catch (const std::exception& error) {
    status = absl::InternalError(error.what());
  }
  if (!status.ok()) TEC_LOG(WARNING) << page_ << " was not written: " << status.message();
  return status.ok();
}

std::string BackgroundReport::Finish(bool pictures) {
  Stop();
  if (LookOf(options_.folder + "/log.txt") == first_log_ &&
      LookOf(options_.folder + "/results.json") == first_results_) {
    return "";
  }
  const double allowed = options_.share * (SteadySeconds() - started_) - picture_seconds_;
  return WritePage(pictures, std::max(options_.last_seconds, allowed)) ? page_ : "";
}

void BackgroundReport::FinishAndSay(bool pictures) {
  const std::string page = Finish(pictures);
  if (!page.empty()) std::printf("report: %s\n", Printable(page).c_str());
}

}  // namespace tec
