// What came of a reproduction: numbers read from the runs' own files, a verdict, and a folder to show.

#ifndef TEC_EVAL_REPRODUCE_REPORT_H_
#define TEC_EVAL_REPRODUCE_REPORT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "eval/reproduce/plan.h"

namespace tec {

// Of one finished stage.
struct StageResult {
  std::string stage;
  std::string encoder;
  int64_t seed = 0;
  ResultKind kind = ResultKind::kNone;
  double top1 = 0;  // Percent: the highest of any epoch (finetuning, linear probe), or with kKnnNeighbours (kNN).
};

// k of the report's kNN accuracy.
inline constexpr int64_t kKnnNeighbours = 20;

// The results of the stages that are done. InvalidArgument names a file that does not hold what it should.
absl::StatusOr<std::vector<StageResult>> ReadResults(const ReproducePlan& plan);

// The program's exit code when all stages are done and Verdict::reproduced is false: nothing failed. Beside ExitCode's.
inline constexpr int kExitNotReproduced = 4;

struct Verdict {
  // Unset while a stage is missing. kPaper: the result is within the row's tolerance of the published one, or above it.
  // kMini: for every seed the new model's encoder is above the base model's in kNN and in finetuning; of a chain: the
  // last model that was trained is above the base model in kNN.
  std::optional<bool> reproduced;
  std::string text;  // One sentence.
};
Verdict Judge(const ReproducePlan& plan, const std::vector<StageResult>& results);

// Why the model of a chain that `stage` makes or judges is left out: the kNN accuracy of the one before did not rise
// above that of the one before it by more than its standard error, sqrt(p (1 - p) / held_out_images). Empty: it is not
// left out, or not yet known to be.
std::string LeftOut(const Stage& stage, const std::vector<StageResult>& results, int64_t held_out_images);

// The table for people: encoders by columns of kNN and finetuning, a row a seed and their mean.
std::string FormatResults(const ReproducePlan& plan, const std::vector<StageResult>& results);

// Adds to what a stage has taken, over all its starts, in output_dir/durations.json.
absl::Status AddDuration(const std::string& output_dir, const std::string& stage, double seconds);

// Writes output_dir/report/, which needs nothing else to be read or sent: report.html (run_report.h: verdict, all runs'
// curves over one another, settings that differ), report.md, results.json (with commands, seeds, durations and
// versions), curves.svg (loss and accuracy by epoch of every run), and copies of what the stages left:
// pages/STAGE.html, configs/STAGE.textproto, resolved, logs/STAGE.log, as printed, and logs/STAGE.jsonl, an epoch a
// line.
absl::Status WriteReport(const ReproducePlan& plan, const std::vector<StageResult>& results, const Verdict& verdict);

}  // namespace tec

#endif  // TEC_EVAL_REPRODUCE_REPORT_H_
