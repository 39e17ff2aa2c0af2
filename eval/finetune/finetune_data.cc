#include "eval/finetune/finetune_data.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "data/dataset/subset.h"
#include "eval/metrics/class_map.h"
#include "tec/base/status.h"

namespace tec {

absl::StatusOr<FinetuneData> OpenFinetuneData(config::Finetune* settings, Progress& progress) {
  const std::string& path = settings->data().path();
  DatasetOptions dataset_options;
  dataset_options.index_folder = settings->logging().output_dir();
  dataset_options.exclude = ParseExclude(settings->data().exclude());
  const auto open = [&](Split split, const char* what) -> absl::StatusOr<std::shared_ptr<const Dataset>> {
    TEC_ASSIGN_OR_RETURN(std::unique_ptr<Dataset> dataset, OpenDataset(path, split, dataset_options));
    if (!dataset->labelled()) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": the ", what, " images have no labels; finetuning needs ", LabelsOf(*dataset)));
    }
    absl::StatusOr<std::shared_ptr<const Dataset>> kept = KeepClasses(std::move(dataset), settings->data().classes());
    if (!kept.ok() || split == Split::kHeldOut) return kept;
    SubsetOptions subset;
    subset.fraction = settings->data().train_fraction();
    subset.per_class = settings->shots();
    subset.seed = static_cast<uint64_t>(settings->subset_seed());
    return SubsetOf(*std::move(kept), subset);
  };
  FinetuneData data;
  // First: what is no data set at all is named by what it is.
  absl::StatusOr<std::shared_ptr<const Dataset>> train = open(Split::kTrain, "training");
  // An evaluation needs the training folder for the numbers of its classes only; without one, those of the held-out
  // classes count, as in the reference.
  if (!train.ok() && !settings->eval()) return train.status();
  TEC_ASSIGN_OR_RETURN(data.held_out, open(Split::kHeldOut, "held-out"));
  data.train = train.ok() ? *std::move(train) : data.held_out;
  absl::StatusOr<std::vector<int64_t>> map = MapClasses(data.train->classes(), data.held_out->classes());
  TEC_RETURN_IF_ERROR(Annotate(map.status(), path));
  data.class_of_held_out = *std::move(map);

  data.class_names = data.train->classes();
  const int64_t classes = static_cast<int64_t>(data.class_names.size());
  if (settings->nb_classes() == 0) {
    settings->set_nb_classes(std::max<int64_t>(classes, 2));
    progress.Print(absl::StrCat("--nb_classes is not given: ", classes, ", as ", path, " has"));
  }
  if (settings->nb_classes() < classes) {
    return absl::InvalidArgumentError(absl::StrCat("--nb_classes=", settings->nb_classes(), ", but ", path, " has ",
                                                   classes, " classes; it must be at least that"));
  }
  settings->clear_class_names();
  for (const std::string& name : data.train->classes()) settings->add_class_names(name);
  for (int64_t i = classes; i < settings->nb_classes(); ++i) data.class_names.push_back(absl::StrCat("#", i));
  return data;
}

}  // namespace tec
