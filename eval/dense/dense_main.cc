// //eval:dense: how well frozen patch features tell which thing each pixel shows (semantic segmentation).
//
//   ./bazelw run //eval:dense -- --checkpoint=runs/tec/checkpoint-299.pth --data_path=/voc --output_dir=dense
//
// Exit codes: 0 done, 1 bad use or input, 2 failed while running, 3 stopped on request.

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "eval/dense/capi.h"
#include "eval/dense/run_dense.h"
#include "eval/dense/segmentation_data.h"
#include "eval/metrics/report.h"
#include "eval/program/frozen_program.h"
#include "eval/program/head_flags.h"
#include "eval/program/told_encoder.h"
#include "nlohmann/json.hpp"
#include "tec/base/file.h"
#include "tec/base/printable.h"
#include "tec/base/program.h"
#include "tec/base/status.h"
#include "tec/config/vit_flags.h"
#include "tec/run/folder_lock.h"
#include "tec/run/stop_signal.h"

ABSL_FLAG(std::string, protocol, "capi",
          "capi: kNN and logistic regression on patches. pixio: a linear head trained on random squares.");
ABSL_FLAG(std::string, layout, "auto",
          "Of data_path: voc, ade20k, folders (images/train and masks/train and the like), or auto, by what is there.");
ABSL_FLAG(std::string, train_list, "train",
          "voc: the list in ImageSets/Segmentation of training pictures, say trainaug.");
ABSL_FLAG(std::string, ignore, "",
          "Numbers in masks that are no class, separated by commas; empty: 255, and in ade20k 0 too.");
ABSL_FLAG(std::string, classifiers, "knn,logistic", "Of these one or both.");
ABSL_FLAG(std::string, k, "1,3,10,30",
          "kNN: numbers of neighbours, separated by commas, of which one is chosen on training pictures put aside.");
ABSL_FLAG(
    std::string, c, "",
    "Logistic regression: inverse strengths of the penalty, as scikit-learn's C, of which one is chosen likewise; "
    "empty: 8 from 1e-6 to 1e5.");
ABSL_FLAG(double, validation_fraction, 0.1, "Part of the training pictures put aside to choose by.");
ABSL_FLAG(int64_t, max_iterations, 1000, "Of L-BFGS, for each C.");
ABSL_FLAG(double, tolerance, 1e-12, "A fit is done when no entry of the gradient is larger.");
ABSL_FLAG(int64_t, pictures, 8, "Held-out pictures that are drawn, with their masks, in output_dir/pictures.");
ABSL_FLAG(int64_t, batch_size, 64, "Pictures a forward pass; pixio: a micro-step (16).");

ABSL_FLAG(int64_t, nb_classes, 0,
          "pixio: numbers below this are classes; 0: 21 in voc, 151 in ade20k, else as classes.txt or the masks say.");
ABSL_FLAG(int64_t, accum_iter, 1, "Micro-steps an update.");
ABSL_FLAG(int64_t, epochs, 60, "Passes over the training pictures.");
ABSL_FLAG(double, lr, 2e-4, "Learning rate at the start; it falls to 0 with the power 0.9 of what is left.");
ABSL_FLAG(double, weight_decay, 0.01, "Of all of the head.");

namespace tec {
namespace {

constexpr char kUsage[] =
    "Semantic segmentation by frozen patch features.\n\n"
    "  kNN and logistic regression, by the protocol of CAPI:\n"
    "  ./bazelw run //eval:dense -- --checkpoint=runs/tec/checkpoint-299.pth --data_path=/voc --output_dir=dense\n"
    "  a linear head, by the protocol of Pixio:\n"
    "  ./bazelw run //eval:dense -- --checkpoint=... --data_path=/voc --protocol=pixio --output_dir=head\n\n"
    "data_path holds VOC 2012, ADE20K, or pictures and masks: images/train/a.jpg and masks/train/a.png, "
    "images/val/...\n"
    "A mask is a PNG whose pixels are numbers of classes.\n\n"
    "With --output_dir capi keeps the regressions that it has fitted, and pixio, whose results are in ./output_dir\n"
    "unless said otherwise, goes on where it stopped.\n\n";

std::vector<FlagGroup> Flags() {
  FlagGroup inputs = {"What is evaluated",
                      {{"checkpoint"},
                       {"data_path"},
                       {"protocol"},
                       {"layout"},
                       {"train_list"},
                       {"ignore"},
                       {"mean"},
                       {"std"},
                       {"output_dir"},
                       {"pictures"}}};
  const std::vector<FlagSpec> vit = VitFlags();
  inputs.flags.insert(inputs.flags.begin() + 1, vit.begin(), vit.end());
  FlagGroup both = {"Both", {{"batch_size"}}};
  for (FlagSpec& flag : ReportFlags()) both.flags.push_back(std::move(flag));
  FlagGroup pixio_output = HeadOutputFlags();
  pixio_output.title = "pixio: results, checkpoints and logs";
  return {inputs,
          {"capi", {{"classifiers"}, {"k"}, {"c"}, {"validation_fraction"}, {"max_iterations"}, {"tolerance"}}},
          {"pixio", {{"nb_classes"}, {"accum_iter"}, {"epochs"}, {"lr"}, {"weight_decay"}}},
          pixio_output,
          both,
          FrozenRuntimeFlags()};
}

// Whole numbers from `least` to `most` of a flag's text.
absl::StatusOr<std::vector<int64_t>> WholeNumbers(const char* flag, const std::string& text, int64_t least,
                                                  int64_t most) {
  std::vector<int64_t> numbers;
  for (absl::string_view part : absl::StrSplit(text, ',', absl::SkipEmpty())) {
    int64_t number = 0;
    if (!absl::SimpleAtoi(part, &number) || number < least || number > most) {
      return absl::InvalidArgumentError(
          absl::StrCat("--", flag, "=", text, ": \"", part, "\" is not a whole number from ", least, " to ", most));
    }
    numbers.push_back(number);
  }
  return numbers;
}

absl::StatusOr<CapiOptions> CapiOptionsFromFlags() {
  CapiOptions options;
  options.knn = options.logistic = false;
  for (absl::string_view name : absl::StrSplit(absl::GetFlag(FLAGS_classifiers), ',')) {
    if (name != "knn" && name != "logistic") {
      return absl::InvalidArgumentError(
          absl::StrCat("--classifiers=", absl::GetFlag(FLAGS_classifiers), ": it must be knn, logistic or both"));
    }
    (name == "knn" ? options.knn : options.logistic) = true;
  }
  TEC_ASSIGN_OR_RETURN(options.k, WholeNumbers("k", absl::GetFlag(FLAGS_k), 1, 100000));
  if (options.k.empty()) return absl::InvalidArgumentError("--k names no number of neighbours");
  for (absl::string_view text : absl::StrSplit(absl::GetFlag(FLAGS_c), ',', absl::SkipEmpty())) {
    double c = 0;
    if (!absl::SimpleAtod(text, &c) || !(c > 0) || !std::isfinite(c)) {
      return absl::InvalidArgumentError(
          absl::StrCat("--c=", absl::GetFlag(FLAGS_c), ": \"", text, "\" is not a number above 0"));
    }
    options.c.push_back(c);
  }
  if (options.c.empty()) options.c = CapiGrid();
  options.validation_fraction = absl::GetFlag(FLAGS_validation_fraction);
  if (!(options.validation_fraction > 0 && options.validation_fraction < 1)) {
    return absl::InvalidArgumentError("--validation_fraction must be between 0 and 1");
  }
  options.max_iterations = absl::GetFlag(FLAGS_max_iterations);
  options.tolerance = absl::GetFlag(FLAGS_tolerance);
  options.pictures = absl::GetFlag(FLAGS_pictures);
  if (options.max_iterations < 1) return absl::InvalidArgumentError("--max_iterations must be at least 1");
  if (!(options.tolerance > 0)) return absl::InvalidArgumentError("--tolerance must be above 0");
  return options;
}

absl::StatusOr<DenseRunOptions> RunOptionsFromFlags(const FrozenSettings& settings, const ParsedFlags& parsed) {
  DenseRunOptions options;
  options.frozen = settings;
  TEC_RETURN_IF_ERROR(ReadHeadFlags(&options));
  options.layout = absl::GetFlag(FLAGS_layout);
  options.train_list = absl::GetFlag(FLAGS_train_list);
  options.nb_classes = absl::GetFlag(FLAGS_nb_classes);
  if (parsed.Given("batch_size")) options.batch_size = absl::GetFlag(FLAGS_batch_size);
  options.accum_iter = absl::GetFlag(FLAGS_accum_iter);
  options.epochs = absl::GetFlag(FLAGS_epochs);
  options.lr = absl::GetFlag(FLAGS_lr);
  options.weight_decay = absl::GetFlag(FLAGS_weight_decay);
  options.pictures = absl::GetFlag(FLAGS_pictures);
  if (options.nb_classes < 0 || options.nb_classes > 256) {
    return absl::InvalidArgumentError("--nb_classes must be from 1 to 256, or 0");
  }
  TEC_RETURN_IF_ERROR(CheckAtLeast("accum_iter", options.accum_iter, 1));
  TEC_RETURN_IF_ERROR(CheckAtLeast("epochs", options.epochs, 1));
  TEC_RETURN_IF_ERROR(CheckNotNegative({{"lr", options.lr}, {"weight_decay", options.weight_decay}}));
  return options;
}

absl::Status RunProtocolOfCapi(FrozenSettings settings, const std::vector<int>& ignored) {
  TEC_ASSIGN_OR_RETURN(const CapiOptions options, CapiOptionsFromFlags());
  const StopSignal stop_signal;
  settings.features.stop = [&stop_signal] { return stop_signal.received() != 0; };
  std::unique_ptr<FolderLock> lock;
  if (!settings.output_dir.empty()) {
    TEC_ASSIGN_OR_RETURN(lock, FolderLock::Take(settings.output_dir));
  }
  TEC_ASSIGN_OR_RETURN(
      const SegmentationData data,
      OpenSegmentationData(settings.data_path, absl::GetFlag(FLAGS_layout), absl::GetFlag(FLAGS_train_list), ignored));
  TEC_ASSIGN_OR_RETURN(const FrozenEncoder encoder, OpenFrozenEncoder(&settings));
  if (!settings.output_dir.empty()) TEC_RETURN_IF_ERROR(MakeDirectories(settings.output_dir));
  std::printf("%s: %s\n%s: layout %s, %d training pictures, %d held-out pictures; ignored: %s\n",
              Printable(settings.checkpoint).c_str(), Printable(encoder.description).c_str(),
              Printable(settings.data_path).c_str(), data.layout.c_str(), static_cast<int>(data.train->size()),
              static_cast<int>(data.held_out->size()), absl::StrJoin(data.ignored, ", ").c_str());
  std::fflush(stdout);

  nlohmann::ordered_json json = {{"segmentation", "capi"},
                                 {"checkpoint", settings.checkpoint},
                                 {"encoder", encoder.description},
                                 {"data_path", settings.data_path},
                                 {"layout", data.layout},
                                 {"ignored", data.ignored},
                                 {"image_size", encoder.encoder->options().image_size},
                                 {"train_images", data.train->size()},
                                 {"test_images", data.held_out->size()},
                                 {"seed", settings.seed}};
  RecordTold(settings.encoder, &json);
  TEC_ASSIGN_OR_RETURN(const nlohmann::ordered_json results, RunCapi(encoder, settings, data, options));
  json.update(results);
  if (!settings.output_dir.empty()) {
    const std::string path = absl::StrCat(settings.output_dir, "/results.json");
    TEC_RETURN_IF_ERROR(WriteFile(path, FormatJson(json)));
    std::printf("written to %s\n", Printable(path).c_str());
  }
  return absl::OkStatus();
}

absl::Status Run(const ParsedFlags& parsed) {
  TEC_ASSIGN_OR_RETURN(FrozenSettings settings, FrozenSettingsFromFlags());
  TEC_ASSIGN_OR_RETURN(const std::vector<int64_t> numbers, WholeNumbers("ignore", absl::GetFlag(FLAGS_ignore), 0, 255));
  const std::vector<int> ignored(numbers.begin(), numbers.end());
  settings.features.batch_size = absl::GetFlag(FLAGS_batch_size);
  if (settings.features.batch_size < 1) return absl::InvalidArgumentError("--batch_size must be at least 1");
  if (absl::GetFlag(FLAGS_pictures) < 0) return absl::InvalidArgumentError("--pictures must be at least 0");
  const std::string protocol = absl::GetFlag(FLAGS_protocol);
  if (protocol == "capi") {
    return RunWithPage(settings.output_dir, /*draws=*/false, [&]() -> absl::StatusOr<LoopResult> {
      TEC_RETURN_IF_ERROR(RunProtocolOfCapi(settings, ignored));
      return LoopResult();
    });
  }
  if (protocol != "pixio") {
    return absl::InvalidArgumentError(absl::StrCat("--protocol=", protocol, ": it must be capi or pixio"));
  }
  TEC_ASSIGN_OR_RETURN(DenseRunOptions options, RunOptionsFromFlags(settings, parsed));
  options.ignored = ignored;
  // The page has the pictures that the evaluation draws itself.
  return RunWithPage(options.eval ? "" : options.frozen.output_dir, /*draws=*/false,
                     [&options] { return RunDense(options); });
}

}  // namespace
}  // namespace tec

int main(int argc, char** argv) {
  return tec::RunProgram(argc, argv, [](int count, char** arguments) {
    return tec::FrozenMain(count, arguments, "dense", tec::kUsage, tec::Flags(), tec::Run);
  });
}
