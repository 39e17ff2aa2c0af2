// //eval:logistic: multinomial logistic regression on frozen features, fitted to convergence; nothing about it depends
// on a learning rate or on the order of the images.
//
//   ./bazelw run //eval:logistic -- --checkpoint=runs/tec/checkpoint-299.pth --data_path=/imagenet --shots=10
//
// Exit codes: 0 done, 1 bad use or input, 2 failed while running, 3 stopped on request.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "ATen/ATen.h"
#include "absl/flags/flag.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "eval/linear/logistic.h"
#include "eval/logistic/stored_fit.h"
#include "eval/logistic/validation_split.h"
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

ABSL_FLAG(std::string, c, "1e-4,1e-3,1e-2,0.1,1,10,100",
          "Inverse strengths of the penalty, as scikit-learn's C, separated by commas. Of several, the one that does "
          "best on a part of the training images is used.");
ABSL_FLAG(double, validation_fraction, 0.1, "That part, of each class.");
ABSL_FLAG(std::string, features, "cls",
          "cls: the [CLS] token after the final norm; pool: the patch tokens' mean; cls4+pool and the like: the [CLS] "
          "tokens of the last four blocks, and the mean.");
ABSL_FLAG(bool, normalise, false, "Scale each image's features to length 1 instead of standardising each feature.");
ABSL_FLAG(int64_t, max_iterations, 1000, "Of L-BFGS, for each C.");
ABSL_FLAG(double, tolerance, 1e-6, "A fit is done when no entry of the gradient is larger.");
ABSL_FLAG(int64_t, batch_size, 64, "Images a forward pass.");

namespace tec {
namespace {

constexpr char kUsage[] =
    "Multinomial logistic regression on frozen features, by L-BFGS.\n\n"
    "  ./bazelw run //eval:logistic -- --checkpoint=runs/tec/checkpoint-299.pth --data_path=/imagenet --shots=10\n\n"
    "Minimised: the mean cross-entropy + |W|^2 / (2 n C), n training images. An image that has exactly the model's\n"
    "size is used as it is; any other is resized and cut as for finetuning's evaluation.\n\n"
    "With --output_dir a run that was stopped goes on with the C that it was at.\n\n";

std::vector<FlagGroup> Flags() {
  return {FrozenInputFlags(),
          {"Regression",
           {{"features"},
            {"c"},
            {"validation_fraction"},
            {"normalise"},
            {"max_iterations"},
            {"tolerance"},
            {"batch_size"}}},
          ConfusionFlags(),
          FrozenRuntimeFlags()};
}

absl::StatusOr<std::vector<double>> GridFromFlag() {
  std::vector<double> grid;
  for (absl::string_view text : absl::StrSplit(absl::GetFlag(FLAGS_c), ',')) {
    double c = 0;
    if (!absl::SimpleAtod(text, &c) || !(c > 0) || !std::isfinite(c)) {
      return absl::InvalidArgumentError(
          absl::StrCat("--c=", absl::GetFlag(FLAGS_c), ": \"", text, "\" is not a number above 0"));
    }
    grid.push_back(c);
  }
  return grid;
}

struct Problem {
  at::Tensor values, labels;  // On the device.
  int64_t classes = 0;
  uint64_t fingerprint = 0;  // Of values and labels.
};

// A fit that settings.output_dir has is taken from there.
absl::StatusOr<StoredFit> Fit(const Problem& train, double c, const FrozenSettings& settings) {
  LogisticOptions options;
  options.stop = settings.features.stop;
  options.l2 = 1 / (c * static_cast<double>(train.values.size(0)));
  options.standardise = !absl::GetFlag(FLAGS_normalise);
  options.max_iterations = absl::GetFlag(FLAGS_max_iterations);
  options.tolerance = absl::GetFlag(FLAGS_tolerance);
  const std::string folder = settings.output_dir.empty() ? "" : absl::StrCat(settings.output_dir, "/fits");
  absl::StatusOr<StoredFit> fit =
      FitStored(folder, train.fingerprint, train.values, train.labels, train.classes, options);
  if (absl::IsCancelled(fit.status())) {
    std::printf("stopped while fitting with C = %g; %s\n", c,
                folder.empty()
                    ? "without --output_dir no fit is kept"
                    : absl::StrCat("the fits done are in ", folder, "; the same command goes on from there").c_str());
  }
  return fit;
}

ClassificationReport Evaluate(const LogisticProbe& probe, const Problem& images) {
  constexpr int64_t kRows = 1024;
  ReportCounter counter(images.classes);
  const at::Tensor labels = images.labels.cpu();
  for (int64_t begin = 0; begin < images.values.size(0); begin += kRows) {
    const int64_t rows = std::min(kRows, images.values.size(0) - begin);
    const at::Tensor logits = probe.Logits(images.values.narrow(0, begin, rows)).cpu().contiguous();
    for (int64_t i = 0; i < rows; ++i) {
      counter.Add(absl::Span<const double>(logits.const_data_ptr<double>() + i * images.classes, images.classes),
                  labels.const_data_ptr<int64_t>()[begin + i]);
    }
  }
  return counter.Report();
}

void PrintFit(double c, const StoredFit& fit, const ClassificationReport& report) {
  std::printf("%10g %8.2f %8.2f %10.4f %11d%s%s\n", c, report.top1, report.top5, report.loss,
              static_cast<int>(fit.probe.iterations), fit.probe.converged ? "" : "   not converged",
              fit.taken ? "   taken from the run before" : "");
  std::fflush(stdout);
}

// Fits, prints, and writes into output_dir.
absl::Status FitAndReport(const FrozenSettings& settings, const std::vector<double>& grid, const FrozenInputs& inputs,
                          const Features& train_features, const Features& test_features) {
  const double fraction = absl::GetFlag(FLAGS_validation_fraction);
  const std::vector<std::string>& classes = inputs.data.classes();
  const auto problem = [&](const at::Tensor& values, const at::Tensor& labels) {
    // Only a fit that is kept needs to be told from others.
    const uint64_t fingerprint = settings.output_dir.empty() ? 0 : FingerprintOfProblem(values.cpu(), labels.cpu());
    return Problem{values, labels, static_cast<int64_t>(classes.size()), fingerprint};
  };
  const auto problem_of = [&](const Features& features) {
    at::Tensor values = features.values.to(inputs.device);
    if (absl::GetFlag(FLAGS_normalise)) values = values / values.norm(2, {1}, /*keepdim=*/true).clamp_min(1e-12);
    return problem(values, features.labels.to(inputs.device));
  };
  const Problem train = problem_of(train_features), test = problem_of(test_features);

  double best_c = grid[0];
  nlohmann::ordered_json choices = nlohmann::ordered_json::array();
  if (grid.size() > 1) {
    TEC_ASSIGN_OR_RETURN(const ValidationSplit split,
                         SplitForValidation(train_features.labels, train.classes, fraction, settings.seed));
    const auto part = [&](const at::Tensor& rows) {
      const at::Tensor index = rows.to(inputs.device);
      return problem(train.values.index_select(0, index), train.labels.index_select(0, index));
    };
    const Problem fitted = part(split.fitted), validation = part(split.validation);
    std::printf("\non %d of the training images, fitted to the other %d:\n%10s %8s %8s %10s %11s\n",
                static_cast<int>(validation.values.size(0)), static_cast<int>(fitted.values.size(0)), "C", "top-1",
                "top-5", "loss", "iterations");
    double best = -1;
    for (const double c : grid) {
      TEC_ASSIGN_OR_RETURN(const StoredFit fit, Fit(fitted, c, settings));
      const ClassificationReport report = Evaluate(fit.probe, validation);
      PrintFit(c, fit, report);
      choices.push_back({{"c", c},
                         {"top1", report.top1},
                         {"loss", report.loss},
                         {"iterations", fit.probe.iterations},
                         {"converged", fit.probe.converged}});
      // Equal accuracy: the stronger penalty, that is the smaller C.
      if (report.top1 > best || (report.top1 == best && c < best_c)) {
        best = report.top1;
        best_c = c;
      }
    }
  }
  TEC_ASSIGN_OR_RETURN(const StoredFit fit, Fit(train, best_c, settings));
  const ClassificationReport report = Evaluate(fit.probe, test);
  std::printf("\non the held-out images, fitted to all training images:\n%10s %8s %8s %10s %11s\n", "C", "top-1",
              "top-5", "loss", "iterations");
  PrintFit(best_c, fit, report);
  std::printf("\n%s", FormatReport(report, classes).c_str());

  if (!settings.output_dir.empty()) {
    nlohmann::ordered_json json = {{"checkpoint", settings.checkpoint},
                                   {"encoder", inputs.description},
                                   {"data_path", settings.data_path},
                                   {"features", NameOf(settings.features.spec)},
                                   {"normalise", absl::GetFlag(FLAGS_normalise)},
                                   {"train_images", train.values.size(0)},
                                   {"test_images", test.values.size(0)},
                                   {"unreadable_train_images", train_features.unreadable},
                                   {"unreadable_test_images", test_features.unreadable},
                                   {"choices", choices},
                                   {"c", best_c},
                                   {"converged", fit.probe.converged},
                                   {"version", kVersion},
                                   {"accuracy", ToJson(report, classes)}};
    RecordTold(settings.encoder, &json);
    const std::string path = absl::StrCat(settings.output_dir, "/results.json");
    TEC_RETURN_IF_ERROR(WriteFile(path, FormatJson(json)));
    std::printf("written to %s\n", Printable(path).c_str());
    TEC_RETURN_IF_ERROR(WriteConfusionFile(settings.output_dir, report));
  }
  return absl::OkStatus();
}

absl::Status Run(FrozenSettings& settings, const std::vector<double>& grid, RunContext& context) {
  TEC_ASSIGN_OR_RETURN(const std::unique_ptr<FolderLock> lock, LockOutput(settings));
  TEC_ASSIGN_OR_RETURN(const FrozenInputs inputs, OpenFrozenInputs(&settings, "logistic regression"));
  TEC_RETURN_IF_ERROR(CheckFeatureSpec(settings.features.spec, inputs.encoder->options()));
  TEC_RETURN_IF_ERROR(
      CompareRanks(settings, inputs,
                   {{"training images", inputs.data.train.get()}, {"held-out images", inputs.data.held_out.get()}}));
  TEC_ASSIGN_OR_RETURN(const Features train, FrozenFeatures(inputs, settings, Split::kTrain));
  TEC_ASSIGN_OR_RETURN(const Features test, FrozenFeatures(inputs, settings, Split::kHeldOut));
  return context.OnFirstRank([&] { return FitAndReport(settings, grid, inputs, train, test); }, "fitting");
}

absl::StatusOr<FrozenWork> Prepare(const ParsedFlags&) {
  TEC_ASSIGN_OR_RETURN(FrozenSettings settings, FrozenSettingsFromFlags());
  TEC_RETURN_IF_ERROR(CheckConfusionFlag(settings.output_dir));
  TEC_ASSIGN_OR_RETURN(const std::vector<double> grid, GridFromFlag());
  const absl::StatusOr<FeatureSpec> spec = ParseFeatureSpec(absl::GetFlag(FLAGS_features));
  if (!spec.ok()) return Annotate(spec.status(), "--features");
  settings.features.spec = *spec;
  settings.features.batch_size = absl::GetFlag(FLAGS_batch_size);
  const double fraction = absl::GetFlag(FLAGS_validation_fraction);
  if (settings.features.batch_size < 1 || absl::GetFlag(FLAGS_max_iterations) < 1) {
    return absl::InvalidArgumentError("--batch_size and --max_iterations must be at least 1");
  }
  if (!(fraction > 0 && fraction < 1)) {
    return absl::InvalidArgumentError("--validation_fraction must be between 0 and 1");
  }
  if (!(absl::GetFlag(FLAGS_tolerance) > 0)) return absl::InvalidArgumentError("--tolerance must be above 0");
  return FrozenWork([settings, grid]() mutable {
    return OverRanks(&settings, [&](RunContext& context) { return Run(settings, grid, context); });
  });
}

}  // namespace
}  // namespace tec

int main(int argc, char** argv) {
  return tec::RunProgram(argc, argv, [](int count, char** arguments) {
    return tec::FrozenRanksMain(count, arguments, "logistic", tec::kUsage, tec::Flags(), tec::Prepare);
  });
}
