// //eval:predict: what a finetuned model takes images for.
//
//   ./bazelw run //eval:predict -- --checkpoint=runs/finetuned/best_checkpoint.pth --data_path=/new_images
//
// Exit codes: 0 done, 1 bad use or input, 2 failed while running, 3 stopped on request.

#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/types/span.h"
#include "data/dataset/dataset.h"
#include "eval/finetune/evaluate.h"
#include "eval/predict/classifier.h"
#include "eval/predict/prediction_writer.h"
#include "eval/program/frozen_program.h"
#include "tec/base/file.h"
#include "tec/base/path.h"
#include "tec/base/printable.h"
#include "tec/base/program.h"
#include "tec/base/status.h"
#include "tec/config/vit_flags.h"
#include "tec/run/count_progress.h"
#include "tec/run/folder_lock.h"
#include "tec/run/rank_runtime.h"
#include "tec/run/stop_signal.h"
#include "tec/run/torch_runtime.h"

ABSL_FLAG(std::string, output, "predictions.csv", "The file to write: .csv, a table, or .jsonl, JSON lines.");
ABSL_FLAG(int64_t, top, 1, "Classes for each image, the most probable first.");
ABSL_FLAG(std::string, class_names, "",
          "A file with the name of a class a line, in the order of the model's outputs; empty: as the checkpoint says, "
          "or numbers.");
ABSL_FLAG(int64_t, batch_size, 64, "Images a forward pass.");

namespace tec {
namespace {

constexpr char kUsage[] =
    "Writes which class a finetuned model takes each image for, and with which probability.\n\n"
    "  ./bazelw run //eval:predict -- --checkpoint=runs/finetuned/best_checkpoint.pth --data_path=/new_images\n"
    "  ./bazelw run //eval:predict -- --checkpoint=best_checkpoint.pth --data_path=new.tar --top=5 \\\n"
    "      --output=predictions.jsonl\n\n"
    "--data_path is a folder with pictures at any depth, a list, tar shards or a packed file; labels are not looked\n"
    "at. Images are resized and cut as for finetuning's evaluation. One that cannot be read has its reason in the\n"
    "place of a class.\n\n";

std::vector<FlagGroup> Flags() {
  return {
      {"What is predicted", {{"checkpoint"}, {"data_path"}, {"output"}, {"top"}, {"class_names"}, {"mean"}, {"std"}}},
      {"What the checkpoint does not tell", VitFlags()},
      {"How it runs", {{"batch_size"}, {"device"}, {"precision"}, {"threads"}, {"num_workers"}, {"fast_jpeg"}}}};
}

absl::Status TakeNames(const std::string& path, Classifier* classifier) {
  TEC_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  std::vector<std::string> names = absl::StrSplit(text, '\n');
  for (std::string& name : names) {
    if (!name.empty() && name.back() == '\r') name.pop_back();
  }
  while (!names.empty() && names.back().empty()) names.pop_back();
  if (names.size() != classifier->names.size()) {
    return absl::InvalidArgumentError(absl::StrCat("--class_names=", path, " has ", names.size(),
                                                   " lines, the model has ", classifier->names.size(), " classes"));
  }
  classifier->names = std::move(names);
  classifier->named = true;
  return absl::OkStatus();
}

absl::Status Run(const ParsedFlags&) {
  TEC_ASSIGN_OR_RETURN(const FrozenSettings settings, FrozenSettingsFromFlags());
  const int64_t top = absl::GetFlag(FLAGS_top);
  if (top < 1) return absl::InvalidArgumentError(absl::StrCat("--top=", top, ": it must be at least 1"));
  EvaluateOptions options;
  options.batch_size = absl::GetFlag(FLAGS_batch_size);
  if (options.batch_size < 1) return absl::InvalidArgumentError("--batch_size must be at least 1");
  TEC_ASSIGN_OR_RETURN(const c10::Device device, SelectDevice(settings.device));
  SetComputeThreads(settings.threads, LaunchEnvironment());
  TEC_ASSIGN_OR_RETURN(Classifier classifier, ReadClassifier(settings.checkpoint, settings.encoder));
  const std::string names = UserPath(absl::GetFlag(FLAGS_class_names));
  if (!names.empty()) TEC_RETURN_IF_ERROR(TakeNames(names, &classifier));
  options.mean = settings.mean.empty() ? classifier.mean : settings.mean;
  options.std = settings.std.empty() ? classifier.std : settings.std;
  const size_t channels = classifier.model->options().encoder.channels;
  if (options.mean.size() != channels || options.std.size() != channels) {
    return absl::InvalidArgumentError(absl::StrCat(settings.checkpoint, " takes images of ", channels,
                                                   " channels: give --mean and --std with a number for each"));
  }
  DatasetOptions data_options;
  data_options.labels = false;
  TEC_ASSIGN_OR_RETURN(std::unique_ptr<Dataset> opened, OpenDataset(settings.data_path, Split::kWhole, data_options));
  const std::shared_ptr<const Dataset> dataset = std::move(opened);
  std::printf("%s: %s\n%s: %lld images\n", Printable(settings.checkpoint).c_str(),
              Printable(classifier.description).c_str(), Printable(settings.data_path).c_str(),
              static_cast<long long>(dataset->size()));
  if (!classifier.named) {
    std::printf("the file does not name its classes: they are numbers; --class_names gives them names\n");
  }
  std::fflush(stdout);
  const std::string output = UserPath(absl::GetFlag(FLAGS_output));
  TEC_ASSIGN_OR_RETURN(const std::unique_ptr<FolderLock> lock, FolderLock::TakeForFile(output, "--output"));
  TEC_ASSIGN_OR_RETURN(PredictionWriter writer, PredictionWriter::Open(output, classifier.names, top));

  const StopSignal stop_signal;
  options.stop = [&stop_signal] { return stop_signal.received() != 0; };
  options.threads = static_cast<int>(DecodingThreads(settings.features.threads));
  options.precision = settings.features.precision;
  options.max_bad_fraction = 1;  // A line says of each what is wrong with it.
  int64_t unreadable = 0;
  const auto write = [&](const Batch& batch, const at::Tensor& logits, const Loader& loader) -> absl::Status {
    std::map<int64_t, std::string> reasons;
    for (int64_t i = 0; i < batch.count; ++i) {
      const std::string name = dataset->name(batch.indices[i]);
      if (batch.sources[i] == batch.indices[i]) {
        const absl::Span<const float> row(logits.const_data_ptr<float>() + i * logits.size(1), logits.size(1));
        TEC_RETURN_IF_ERROR(writer.Add(name, row));
        continue;
      }
      if (reasons.empty()) {
        for (const BadImage& bad : loader.bad_images()) reasons[bad.index] = std::string(bad.reason.message());
      }
      TEC_RETURN_IF_ERROR(writer.AddUnreadable(name, reasons[batch.indices[i]]));
      ++unreadable;
    }
    return absl::OkStatus();
  };
  classifier.model->to(device);
  absl::Status status;
  {
    CountProgress progress("prediction", stderr);
    options.progress = [&](int64_t done, int64_t total) { progress.Update(done, total); };
    status = ClassifyImages(*classifier.model, dataset, options, write);
  }
  if (absl::IsCancelled(status)) std::printf("stopped; nothing is written\n");
  TEC_RETURN_IF_ERROR(status);
  TEC_RETURN_IF_ERROR(writer.Close());
  std::printf("%lld images written to %s", static_cast<long long>(dataset->size()), Printable(output).c_str());
  if (unreadable > 0) {
    std::printf("; %lld of them could not be read, the last column says why", static_cast<long long>(unreadable));
  }
  std::printf("\n");
  return absl::OkStatus();
}

}  // namespace
}  // namespace tec

int main(int argc, char** argv) {
  return tec::RunProgram(argc, argv, [](int count, char** arguments) {
    return tec::FrozenMain(count, arguments, "predict", tec::kUsage, tec::Flags(), tec::Run);
  });
}
