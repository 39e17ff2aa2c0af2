#include "eval/features/labelled_data.h"

#include <sys/stat.h>

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "eval/metrics/class_map.h"
#include "tec/base/fingerprint.h"
#include "tec/base/status.h"

namespace tec {
namespace {

// Four times those of the largest public set of pictures by class, ImageNet-21k.
constexpr size_t kMostClasses = 100000;

absl::StatusOr<std::shared_ptr<const Dataset>> OpenLabelled(const std::string& path, Split split, absl::string_view use,
                                                            const LabelledDataOptions& options) {
  DatasetOptions dataset_options;
  dataset_options.index_folder = options.index_folder;
  dataset_options.exclude = options.exclude;
  TEC_ASSIGN_OR_RETURN(std::unique_ptr<Dataset> dataset, OpenDataset(path, split, dataset_options));
  const std::string images = absl::StrCat(path, ": the ", split == Split::kTrain ? "training" : "held-out", " images");
  if (!dataset->labelled()) {
    return absl::InvalidArgumentError(absl::StrCat(images, " have no labels; ", use, " needs ", LabelsOf(*dataset)));
  }
  // A score of every image for each: what comes after this asks for memory by them.
  if (const size_t classes = dataset->classes().size(); classes > kMostClasses) {
    return absl::InvalidArgumentError(absl::StrCat(images, " have labels up to ", classes - 1, "; at most ",
                                                   kMostClasses,
                                                   " classes are evaluated. Number those that occur from 0 on"));
  }
  absl::StatusOr<std::shared_ptr<const Dataset>> kept = KeepClasses(std::move(dataset), options.classes);
  if (!kept.ok()) return Annotate(kept.status(), images);
  return kept;
}

}  // namespace

absl::StatusOr<LabelledData> OpenLabelledData(const std::string& path, absl::string_view use,
                                              const LabelledDataOptions& options) {
  LabelledData data;
  TEC_ASSIGN_OR_RETURN(data.train, OpenLabelled(path, Split::kTrain, use, options));
  TEC_ASSIGN_OR_RETURN(data.held_out, OpenLabelled(path, Split::kHeldOut, use, options));
  absl::StatusOr<std::vector<int64_t>> map = MapClasses(data.train->classes(), data.held_out->classes());
  if (!map.ok()) return Annotate(map.status(), path);
  data.class_of_held_out = *std::move(map);
  data.train = SubsetOf(std::move(data.train), options.subset);
  return data;
}

uint64_t FingerprintOf(const Dataset& dataset) {
  Fingerprint fingerprint;
  for (const std::string& name : dataset.classes()) fingerprint.Add(name);
  for (int64_t i = 0; i < dataset.size(); ++i) {
    const int32_t label = dataset.label(i);
    fingerprint.Add(dataset.name(i)).Add(&label, sizeof(label));
  }
  return fingerprint.value();
}

uint64_t FingerprintOfFiles(const Dataset& dataset) {
  const uint64_t images = FingerprintOf(dataset);
  Fingerprint fingerprint;
  fingerprint.Add(&images, sizeof(images));
  std::string newest;
  for (int64_t i = 0; i < dataset.size(); ++i) {
    const std::string path = dataset.file(i);
    if (path == newest) continue;  // The images of a shard follow one another.
    newest = path;
    struct stat info = {};
    // A file that is gone counts as one of no bytes: reading it is going to fail too.
    if (stat(path.c_str(), &info) != 0) info = {};
    const int64_t version[] = {info.st_size, info.st_mtim.tv_sec, info.st_mtim.tv_nsec};
    fingerprint.Add(path).Add(version, sizeof(version));
  }
  return fingerprint.value();
}

}  // namespace tec
