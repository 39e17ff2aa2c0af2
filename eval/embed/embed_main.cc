// //tools:embed: vectors of pictures in a file.
//
//   ./bazelw run //tools:embed -- --checkpoint=runs/tec/checkpoint-299.pth --data_path=/photos --output=photos.npy
//
// Exit codes: 0 done, 1 bad use or input, 2 failed while running, 3 stopped on request.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"
#include "data/dataset/dataset.h"
#include "data/dataset/subset.h"
#include "eval/embed/embedding_file.h"
#include "eval/embed/numbered_images.h"
#include "eval/program/frozen_program.h"
#include "tec/base/path.h"
#include "tec/base/printable.h"
#include "tec/base/program.h"
#include "tec/base/status.h"
#include "tec/run/folder_lock.h"
#include "tec/run/run_context.h"

ABSL_FLAG(std::string, output, "", "The file to write; its ending says the format: .npy, .safetensors or .csv.");
ABSL_FLAG(std::string, features, "pool",
          "cls: the [CLS] token after the final norm; pool: the patch tokens' mean; cls4+pool and the like: the [CLS] "
          "tokens of the last four blocks, and the mean.");
ABSL_FLAG(std::string, part, "whole",
          "Of a data set in parts: train, val (or its test), or whole: the path as it stands.");
ABSL_FLAG(int64_t, batch_size, 64, "Images a forward pass.");

namespace tec {
namespace {

constexpr char kUsage[] =
    "Writes one vector for each picture of a folder, list or archive, with names and labels.\n\n"
    "  ./bazelw run //tools:embed -- --checkpoint=runs/tec/checkpoint-299.pth --data_path=/photos --output=photos.npy\n"
    "\n"
    "photos.npy is float32 [pictures, width]; photos.images.csv names its rows:\n\n"
    "  values, images = numpy.load('photos.npy'), pandas.read_csv('photos.images.csv')\n\n"
    "A run that is stopped goes on where it was if --feature_cache or --output_dir is given.\n\n";

std::vector<FlagGroup> Flags() {
  return {FrozenInputFlags(),
          {"What is written", {{"output"}, {"features"}, {"part"}, {"batch_size"}}},
          FrozenRuntimeFlags()};
}

absl::StatusOr<Split> PartFromFlag() {
  const std::string part = absl::GetFlag(FLAGS_part);
  if (part == "whole") return Split::kWhole;
  if (part == "train") return Split::kTrain;
  if (part == "val" || part == "test") return Split::kHeldOut;
  return absl::InvalidArgumentError(absl::StrCat("--part=", part, ": it must be train, val or whole"));
}

// With labels where the data set has them; where its form gives none, say pictures beside folders, without.
absl::StatusOr<std::shared_ptr<const Dataset>> OpenImages(const FrozenSettings& settings) {
  TEC_ASSIGN_OR_RETURN(const Split part, PartFromFlag());
  DatasetOptions options;
  options.index_folder = settings.output_dir.empty() ? settings.feature_cache : settings.output_dir;
  options.exclude = settings.exclude;
  absl::StatusOr<std::shared_ptr<const Dataset>> dataset = OpenDataset(settings.data_path, part, options);
  if (absl::IsInvalidArgument(dataset.status()) && settings.classes.empty()) {
    const absl::Status why = dataset.status();
    options.labels = false;
    dataset = OpenDataset(settings.data_path, part, options);
    if (dataset.ok() && settings.first_rank()) std::printf("without labels: %s\n", Printable(why.message()).c_str());
  }
  TEC_RETURN_IF_ERROR(dataset.status());
  TEC_ASSIGN_OR_RETURN(dataset, KeepClasses(*std::move(dataset), settings.classes));
  return SubsetOf(*std::move(dataset), settings.subset);
}

absl::Status WriteOutput(const std::string& output, const FrozenSettings& settings, const FrozenEncoder& encoder,
                         const Dataset& images_of, const Features& features) {
  const int64_t rows = features.values.size(0), width = features.values.size(1);
  TEC_ASSIGN_OR_RETURN(const std::unique_ptr<EmbeddingWriter> writer,
                       EmbeddingWriter::Open(output, rows, width,
                                             {{"checkpoint", settings.checkpoint},
                                              {"encoder", encoder.description},
                                              {"data_path", settings.data_path},
                                              {"features", NameOf(settings.features.spec)}}));
  constexpr int64_t kRowsAtOnce = 4096;
  for (int64_t begin = 0; begin < rows; begin += kRowsAtOnce) {
    const int64_t count = std::min(kRowsAtOnce, rows - begin);
    std::vector<EmbeddedImage> images;
    for (int64_t row = begin; row < begin + count; ++row) {
      const int64_t index = features.labels[row].item<int64_t>();
      EmbeddedImage image;
      image.name = images_of.name(index);
      image.label = images_of.label(index);
      if (image.label >= 0) image.class_name = images_of.classes()[image.label];
      images.push_back(std::move(image));
    }
    TEC_RETURN_IF_ERROR(writer->Append(features.values.narrow(0, begin, count), images));
  }
  TEC_RETURN_IF_ERROR(writer->Commit());
  std::printf("%d vectors of %d numbers written to %s", static_cast<int>(rows), static_cast<int>(width),
              Printable(output).c_str());
  if (features.unreadable > 0) std::printf("; %d unreadable images left out", static_cast<int>(features.unreadable));
  std::printf("\n");
  return absl::OkStatus();
}

absl::Status Run(const std::string& output, FrozenSettings& settings, RunContext& context) {
  std::unique_ptr<FolderLock> file_lock;  // First rank only.
  TEC_RETURN_IF_ERROR(context.OnFirstRank([&]() -> absl::Status {
    TEC_ASSIGN_OR_RETURN(file_lock, FolderLock::TakeForFile(output, "--output"));
    return absl::OkStatus();
  }));
  TEC_ASSIGN_OR_RETURN(const std::unique_ptr<FolderLock> lock, LockOutput(settings));
  TEC_ASSIGN_OR_RETURN(const FrozenEncoder encoder, OpenFrozenEncoder(&settings));
  TEC_RETURN_IF_ERROR(CheckFeatureSpec(settings.features.spec, encoder.encoder->options()));
  TEC_ASSIGN_OR_RETURN(const std::shared_ptr<const Dataset> dataset, OpenImages(settings));
  TEC_RETURN_IF_ERROR(MakeFrozenFolders(&settings));
  if (settings.first_rank()) {
    std::printf("%s: %s\n%s: %d images%s\n", Printable(settings.checkpoint).c_str(),
                Printable(encoder.description).c_str(), Printable(settings.data_path).c_str(),
                static_cast<int>(dataset->size()),
                dataset->labelled() ? absl::StrCat(", ", dataset->classes().size(), " classes").c_str() : "");
    std::fflush(stdout);
  }
  TEC_RETURN_IF_ERROR(CompareRanks(settings, encoder, {{"images", dataset.get()}}));

  // Without a folder for parts the rows are kept till the last is there: the number of rows stands in a file's header.
  TEC_ASSIGN_OR_RETURN(const Features features, StoredFeatures(encoder, settings, NumberedImages(dataset), "the images",
                                                               "embed", "bad_images.txt"));
  return context.OnFirstRank([&] { return WriteOutput(output, settings, encoder, *dataset, features); }, "writing");
}

absl::StatusOr<FrozenWork> Prepare(const ParsedFlags&) {
  TEC_ASSIGN_OR_RETURN(FrozenSettings settings, FrozenSettingsFromFlags());
  const std::string output = UserPath(absl::GetFlag(FLAGS_output));
  if (output.empty())
    return absl::InvalidArgumentError("--output is needed: the file to write, photos.npy for example");
  TEC_RETURN_IF_ERROR(Annotate(CheckEmbeddingPath(output), "--output"));
  const absl::StatusOr<FeatureSpec> spec = ParseFeatureSpec(absl::GetFlag(FLAGS_features));
  if (!spec.ok()) return Annotate(spec.status(), "--features");
  settings.features.spec = *spec;
  settings.features.batch_size = absl::GetFlag(FLAGS_batch_size);
  if (settings.features.batch_size < 1) return absl::InvalidArgumentError("--batch_size must be at least 1");
  return FrozenWork([output, settings]() mutable {
    return OverRanks(&settings, [&](RunContext& context) { return Run(output, settings, context); });
  });
}

}  // namespace
}  // namespace tec

int main(int argc, char** argv) {
  return tec::RunProgram(argc, argv, [](int count, char** arguments) {
    return tec::FrozenRanksMain(count, arguments, "embed", tec::kUsage, tec::Flags(), tec::Prepare);
  });
}
