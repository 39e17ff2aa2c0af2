// The page of a run (run_report.h) made again and again while it runs, from what it leaves in its folder: after each
// epoch, by a thread that the system lets run where nothing else wants to. So that a run is never held up by more than
// a fiftieth, a page of curves is made at most so often that it takes that share of the time, and pictures, which take
// the models, only where a numbered checkpoint is new and within that share. A failure is a warning.
//
//   BackgroundReport report({output_dir});
//   ... train ...
//   const std::string page = report.Finish(/*pictures=*/!stopped);

#ifndef TEC_EVAL_REPORT_BACKGROUND_REPORT_H_
#define TEC_EVAL_REPORT_BACKGROUND_REPORT_H_

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "eval/report/run_folder.h"
#include "eval/report/run_report.h"

namespace tec {

struct BackgroundReportOptions {
  std::string folder;  // The run's output_dir. Nothing is written before the run has written its first epoch.
  // Draws pictures, asking `stop` now and then; Cancelled when it said yes. Null: none are drawn.
  std::function<absl::StatusOr<std::vector<ReportSection>>(const RunFolder& run, const std::function<bool()>& stop)>
      pictures;
  // Of an evaluation of a frozen encoder: they are drawn at the end alone, once results.json names the encoder.
  bool pictures_of_results = false;
  double share = 0.02;       // Of the run's time that may go into pages.
  double last_seconds = 10;  // That Finish may take for pictures, if the share is less.
  double poll_seconds = 0.5;
};

class BackgroundReport {
 public:
  explicit BackgroundReport(BackgroundReportOptions options);
  // Without a last page, unless Finish was called.
  ~BackgroundReport();
  BackgroundReport(const BackgroundReport&) = delete;
  BackgroundReport& operator=(const BackgroundReport&) = delete;

  // Ends the watching and makes the last page, `pictures` newly drawn or as they were. -> the page's path; empty where
  // the run has finished no epoch and written no results since the start, or the page could not be made.
  std::string Finish(bool pictures);
  // The same, and prints where the page is.
  void FinishAndSay(bool pictures);

 private:
  void Watch();
  void Stop();
  // Pictures of the newest numbered checkpoints, if they may take `seconds`; keeps those before otherwise.
  void DrawPictures(const RunFolder& run, double seconds);
  // Whether it was written.
  bool WritePage(bool pictures, double seconds);

  const BackgroundReportOptions options_;
  const std::string page_;
  const double started_;
  const std::string first_log_, first_results_;  // What log.txt and results.json looked like at the start.
  std::string last_log_;                         // And at the last page.
  bool recorded_ = false;                        // In run_info.jsonl.
  std::string drawn_;                            // Of which checkpoints sections_ are.
  double picture_seconds_ = 0;                   // Spent.
  double tried_seconds_ = 0;                     // That the last attempt had, if it was not enough.
  std::vector<ReportSection> sections_;
  std::atomic<bool> stop_{false};
  std::mutex mutex_;
  std::condition_variable wake_;
  std::thread thread_;
};

// Runs `run`, whose Result has a LoopResult's `stopped`, while its page is made. An empty folder: there is none.
template <typename Result>
absl::StatusOr<Result> WithReport(BackgroundReportOptions options, const std::function<absl::StatusOr<Result>()>& run) {
  if (options.folder.empty()) return run();
  BackgroundReport report(std::move(options));
  absl::StatusOr<Result> result = run();
  report.FinishAndSay(/*pictures=*/result.ok() && !result->stopped);
  return result;
}

// Larger checkpoints are not drawn from: a few times that is held in memory.
inline constexpr int64_t kMostBackgroundBytes = int64_t{2} << 30;

}  // namespace tec

#endif  // TEC_EVAL_REPORT_BACKGROUND_REPORT_H_
