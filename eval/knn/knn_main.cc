// //eval:knn: how well the nearest training images name a held-out image's class, by frozen features.
//
//   ./bazelw run //eval:knn -- --checkpoint=runs/tec/checkpoint-299.pth --data_path=/imagenet
//
// Exit codes: 0 done, 1 bad use or input, 2 failed while running, 3 stopped on request.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/flags/flag.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "eval/knn/knn_classifier.h"
#include "eval/metrics/confusion_file.h"
#include "eval/metrics/report.h"
#include "eval/program/frozen_program.h"
#include "eval/program/told_encoder.h"
#include "nlohmann/json.hpp"
#include "tec/base/file.h"
#include "tec/base/printable.h"
#include "tec/base/program.h"
#include "tec/base/status.h"
#include "tec/base/version.h"
#include "tec/run/folder_lock.h"
#include "tec/run/run_context.h"

ABSL_FLAG(std::string, k, "10,20,100,200", "Numbers of neighbours that vote, separated by commas.");
ABSL_FLAG(double, temperature, 0.07, "A neighbour's vote counts exp(cosine / temperature).");
ABSL_FLAG(std::string, features, "cls",
          "cls: the [CLS] token after the final norm; pool: the patch tokens' mean; cls4+pool and the like: the [CLS] "
          "tokens of the last four blocks, and the mean.");
ABSL_FLAG(int64_t, batch_size, 64, "Images a forward pass.");

namespace tec {
namespace {

constexpr char kUsage[] =
    "Weighted k-nearest-neighbour classification of frozen features.\n\n"
    "  ./bazelw run //eval:knn -- --checkpoint=runs/tec/checkpoint-299.pth --data_path=/imagenet\n\n"
    "The bank is data_path/train, the queries are data_path/val or data_path/test. An image that has exactly the "
    "model's\n"
    "size is used as it is; any other is resized and cut as for finetuning's evaluation.\n\n";

std::vector<FlagGroup> Flags() {
  return {FrozenInputFlags(),
          {"Nearest neighbours", {{"features"}, {"k"}, {"temperature"}, {"batch_size"}}},
          ConfusionFlags(),
          FrozenRuntimeFlags()};
}

absl::StatusOr<KnnOptions> KnnOptionsFromFlags() {
  KnnOptions options;
  options.reports = true;
  options.temperature = absl::GetFlag(FLAGS_temperature);
  options.k.clear();
  for (absl::string_view part : absl::StrSplit(absl::GetFlag(FLAGS_k), ',')) {
    int64_t k = 0;
    if (!absl::SimpleAtoi(part, &k) || k <= 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("--k=", absl::GetFlag(FLAGS_k), ": \"", part, "\" is not a whole number from 1"));
    }
    options.k.push_back(k);
  }
  TEC_RETURN_IF_ERROR(Validate(options));
  return options;
}

// Prints, and writes into output_dir.
absl::Status Report(const FrozenSettings& settings, const KnnOptions& options, const FrozenInputs& inputs,
                    const Features& queries, const Features& bank, KnnStream* stream) {
  KnnStream& knn = *stream;
  const std::vector<std::string>& classes = inputs.data.classes();
  TEC_ASSIGN_OR_RETURN(const std::vector<KnnAccuracy> results, knn.Finish());
  nlohmann::ordered_json json = {{"checkpoint", settings.checkpoint},
                                 {"encoder", inputs.description},
                                 {"data_path", settings.data_path},
                                 {"features", NameOf(settings.features.spec)},
                                 {"temperature", options.temperature},
                                 {"train_images", knn.bank_size()},
                                 {"test_images", queries.values.size(0)},
                                 {"unreadable_train_images", bank.unreadable},
                                 {"unreadable_test_images", queries.unreadable},
                                 {"version", kVersion},
                                 {"classes", classes}};
  RecordTold(settings.encoder, &json);
  std::printf("\n%8s %8s %8s %19s\n", "k", "top-1", "top-5", "calibration error");
  for (const KnnAccuracy& result : results) {
    const bool whole_bank = result.k > knn.bank_size();
    std::printf(
        "%8d %8.2f %8.2f %19.4f%s\n", static_cast<int>(result.k), result.top1, result.top5,
        result.report.calibration_error,
        whole_bank ? absl::StrCat("   (k is larger than the bank: all ", knn.bank_size(), " voted)").c_str() : "");
    // What is no number there is null: the accuracy of a class without held-out images, and the loss where an image's
    // class had no vote.
    json["results"].push_back({{"k", result.k},
                               {"neighbours", std::min(result.k, knn.bank_size())},
                               {"top1", result.top1},
                               {"top5", result.top5},
                               {"accuracy", ToJson(result.report, classes)}});
  }
  for (const KnnAccuracy& result : results) {
    std::printf("\nk = %d: %s", static_cast<int>(result.k), FormatReport(result.report, classes).c_str());
  }
  if (!settings.output_dir.empty()) {
    const std::string path = absl::StrCat(settings.output_dir, "/results.json");
    TEC_RETURN_IF_ERROR(WriteFile(path, FormatJson(json)));
    std::printf("\nwritten to %s\n", Printable(path).c_str());
    for (const KnnAccuracy& result : results) {
      TEC_RETURN_IF_ERROR(WriteConfusionFile(settings.output_dir, result.report, absl::StrCat("_k", result.k)));
    }
  }
  return absl::OkStatus();
}

absl::Status Run(FrozenSettings& settings, const KnnOptions& options, RunContext& context) {
  TEC_ASSIGN_OR_RETURN(const std::unique_ptr<FolderLock> lock, LockOutput(settings));
  TEC_ASSIGN_OR_RETURN(const FrozenInputs inputs, OpenFrozenInputs(&settings, "kNN"));
  TEC_RETURN_IF_ERROR(CheckFeatureSpec(settings.features.spec, inputs.encoder->options()));
  TEC_RETURN_IF_ERROR(
      CompareRanks(settings, inputs,
                   {{"training images", inputs.data.train.get()}, {"held-out images", inputs.data.held_out.get()}}));

  TEC_ASSIGN_OR_RETURN(const Features queries, FrozenFeatures(inputs, settings, Split::kHeldOut));
  std::optional<KnnStream> knn;  // First rank only.
  TEC_RETURN_IF_ERROR(context.OnFirstRank([&]() -> absl::Status {
    TEC_ASSIGN_OR_RETURN(knn, KnnStream::Create(queries.values.to(inputs.device), queries.labels,
                                                static_cast<int64_t>(inputs.data.classes().size()), options));
    return absl::OkStatus();
  }));
  // The bank's features are compared as they come, from the encoder or from the disk, and never held at once.
  settings.features.sink = [&knn](const at::Tensor& values, const at::Tensor& labels, int64_t) {
    return values.size(0) == 0 ? absl::OkStatus() : knn->AddBank(values, labels);
  };
  TEC_ASSIGN_OR_RETURN(const Features bank, FrozenFeatures(inputs, settings, Split::kTrain));
  return context.OnFirstRank([&] { return Report(settings, options, inputs, queries, bank, &*knn); }, "classifying");
}

absl::StatusOr<FrozenWork> Prepare(const ParsedFlags&) {
  TEC_ASSIGN_OR_RETURN(FrozenSettings settings, FrozenSettingsFromFlags());
  TEC_RETURN_IF_ERROR(CheckConfusionFlag(settings.output_dir));
  TEC_ASSIGN_OR_RETURN(const KnnOptions options, KnnOptionsFromFlags());
  const absl::StatusOr<FeatureSpec> spec = ParseFeatureSpec(absl::GetFlag(FLAGS_features));
  if (!spec.ok()) return Annotate(spec.status(), "--features");
  settings.features.spec = *spec;
  settings.features.batch_size = absl::GetFlag(FLAGS_batch_size);
  if (settings.features.batch_size < 1) return absl::InvalidArgumentError("--batch_size must be at least 1");
  return FrozenWork([settings, options]() mutable {
    return OverRanks(&settings, [&](RunContext& context) { return Run(settings, options, context); });
  });
}

}  // namespace
}  // namespace tec

int main(int argc, char** argv) {
  return tec::RunProgram(argc, argv, [](int count, char** arguments) {
    return tec::FrozenRanksMain(count, arguments, "knn", tec::kUsage, tec::Flags(), tec::Prepare);
  });
}
