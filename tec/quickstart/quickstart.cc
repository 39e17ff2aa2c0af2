#include "tec/quickstart/quickstart.h"

#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "data/pictures/made_pictures.h"
#include "nlohmann/json.hpp"
#include "tec/base/file.h"
#include "tec/base/json_text.h"
#include "tec/base/status.h"
#include "tec/base/version.h"
#include "tec/run/count_progress.h"
#include "tec/train/trainer.h"

namespace tec {
namespace {

absl::Status MakePictures(const config::Pictures& config, const std::string& folder) {
  PictureOptions options;
  options.train_images = config.train_images();
  options.test_images = config.test_images();
  options.size = static_cast<int>(config.size());
  options.seed = config.seed();
  CountProgress progress("pictures", stderr);
  const int64_t total = options.train_images + options.test_images;
  return WritePictures(options, folder, [&](int64_t done) { progress.Update(done, total); });
}

// The last checkpoint of the run. *report: its page.
absl::StatusOr<std::string> TrainToTheEnd(const config::Experiment& experiment, const WatchRun& watch,
                                          std::string* report) {
  const auto end = watch ? watch(experiment) : nullptr;
  const absl::StatusOr<TrainResult> result = Train(experiment, TrainOptions());
  if (end) *report = end(/*finished=*/result.ok() && !result->stopped);
  if (!result.ok()) return result.status();
  if (result->stopped) return absl::CancelledError("stopped and saved; the same command goes on from here");
  return result->checkpoint;
}

absl::Status WriteResults(const config::Quickstart& config, const QuickstartResult& result) {
  nlohmann::ordered_json json;
  json["knn_k"] = config.knn_k();
  json["classes"] = PictureClasses().size();
  json["train_images"] = config.pictures().train_images();
  json["test_images"] = config.pictures().test_images();
  json["seed"] = config.pictures().seed();
  json["seconds"] = result.seconds;
  json["version"] = kVersion;
  for (const QuickstartRow& row : result.rows) {
    json["encoders"].push_back(
        {{"encoder", row.encoder}, {"knn_top1", row.knn_top1}, {"linear_top1", row.linear_top1}});
  }
  return WriteFile(config.output_dir() + "/results.json", DumpJson(json, 2) + "\n");
}

void Announce(const std::string& line) {
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

}  // namespace

std::string FormatRows(const std::vector<QuickstartRow>& rows) {
  std::string text = absl::StrFormat("%-18s %10s %12s\n", "encoder", "kNN top-1", "linear top-1");
  for (const QuickstartRow& row : rows) {
    absl::StrAppendFormat(&text, "%-18s %9.1f%% %11.1f%%\n", row.encoder, row.knn_top1, row.linear_top1);
  }
  return text;
}

absl::StatusOr<QuickstartResult> RunQuickstart(const config::Quickstart& resolved, const QuickstartComparison& compare,
                                               const WatchRun& watch) {
  const absl::Time start = absl::Now();
  const std::string& folder = resolved.output_dir();
  QuickstartResult result;
  Announce(absl::StrCat("Quickstart: everything goes to ", folder));
  Announce(absl::StrFormat("\n[1/4] Pictures: %d to train on, %d held out, %d classes told apart by shape",
                           resolved.pictures().train_images(), resolved.pictures().test_images(),
                           PictureClasses().size()));
  QuickstartRuns runs;
  runs.pictures = folder + "/pictures";
  TEC_RETURN_IF_ERROR(MakePictures(resolved.pictures(), runs.pictures));

  Announce("\n[2/4] Base model: a masked autoencoder learns to predict pixels");
  TEC_ASSIGN_OR_RETURN(runs.base_model, TrainToTheEnd(resolved.mae(), watch, &result.report));
  Announce("\n[3/4] New model: TEC learns to predict the base model's features and relations");
  TEC_ASSIGN_OR_RETURN(runs.new_model, TrainToTheEnd(resolved.tec(), watch, &result.report));

  Announce("\n[4/4] Frozen features of the three encoders, on the held-out pictures");
  TEC_ASSIGN_OR_RETURN(result.rows, compare(resolved, runs));
  result.seconds = absl::ToDoubleSeconds(absl::Now() - start);
  TEC_RETURN_IF_ERROR(WriteResults(resolved, result));
  Announce(absl::StrCat("\n", FormatRows(result.rows)));
  Announce(
      absl::StrFormat("%.0f s in all. Pictures: %s   base model: %s   new model: %s\n"
                      "This table: %s/results.json",
                      result.seconds, runs.pictures, runs.base_model, runs.new_model, folder));
  if (!result.report.empty()) Announce(absl::StrCat("What the models see: ", result.report));
  return result;
}

}  // namespace tec
