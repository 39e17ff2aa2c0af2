#include "eval/knn/knn_monitor.h"

#include <algorithm>
#include <utility>

#include "ATen/ATen.h"
#include "absl/strings/str_cat.h"
#include "eval/features/labelled_data.h"
#include "tec/base/status.h"
#include "tec/models/encoder.h"
#include "tec/nn/module_state.h"

namespace tec {

absl::StatusOr<KnnMonitor> KnnMonitor::Create(const KnnMonitorOptions& options) {
  KnnMonitor monitor(options);
  DatasetOptions dataset_options;
  dataset_options.index_folder = options.index_folder;
  dataset_options.exclude = options.exclude;
  const bool leave_one_out =
      absl::IsNotFound(OpenDataset(options.data_path, Split::kHeldOut, dataset_options).status());
  if (leave_one_out) {
    TEC_ASSIGN_OR_RETURN(std::unique_ptr<Dataset> train,
                         OpenDataset(options.data_path, Split::kTrain, dataset_options));
    if (!train->labelled()) {
      return absl::InvalidArgumentError(
          absl::StrCat(options.data_path, ": the images have no labels; a kNN monitor needs ", LabelsOf(*train)));
    }
    monitor.train_ = std::move(train);
  } else {
    LabelledDataOptions data_options;
    data_options.index_folder = options.index_folder;
    data_options.exclude = options.exclude;
    TEC_ASSIGN_OR_RETURN(LabelledData data, OpenLabelledData(options.data_path, "a kNN monitor", data_options));
    monitor.train_ = std::move(data.train);
    monitor.held_out_ = std::move(data.held_out);
    monitor.class_of_held_out_ = std::move(data.class_of_held_out);
  }
  if (options.max_images > 0 && monitor.train_->size() > options.max_images) {
    const int64_t classes = static_cast<int64_t>(monitor.train_->classes().size());
    SubsetOptions subset;
    subset.per_class = std::max<int64_t>(1, options.max_images / classes);
    monitor.train_ = SubsetOf(std::move(monitor.train_), subset);
  }
  monitor.fingerprint_ = absl::StrCat(absl::Hex(FingerprintOf(*monitor.train_)), " ",
                                      monitor.held_out_ ? absl::Hex(FingerprintOf(*monitor.held_out_)) : absl::Hex(0));
  return monitor;
}

std::string KnnMonitor::Describe() const {
  return absl::StrCat("kNN (k ", options_.k, ") of ", held_out_ ? held_out_->size() : train_->size(), " images by ",
                      held_out_ ? absl::StrCat(train_->size()) : "the others");
}

absl::StatusOr<std::vector<std::pair<std::string, double>>> KnnMonitor::Evaluate(const torch::nn::Module& model,
                                                                                 ProcessGroup* group) const {
  TensorMap state;
  at::Device device = at::kCPU;
  for (const auto& [name, tensor] : NamedState(model)) {
    state.emplace(name, tensor.detach());
    device = tensor.device();
  }
  Encoder encoder(options_.encoder);
  encoder.to(device);
  at::NoGradGuard no_gradient;
  TEC_RETURN_IF_ERROR(Annotate(LoadEncoder(encoder, state), "kNN monitor"));
  const int64_t classes = static_cast<int64_t>(train_->classes().size());
  KnnOptions knn_options;
  knn_options.k = {options_.k};
  FeatureOptions feature_options = options_.features;
  if (group != nullptr && group->world_size() > 1) {
    // Ranks that see other images would wait for each other in vain. An error would not end the run, as Agree's does.
    feature_options.group = group;
    TEC_ASSIGN_OR_RETURN(const std::vector<std::string> images, group->Gather(fingerprint_, "a monitor's images"));
    for (int rank = 1; rank < group->world_size(); ++rank) {
      if (images[rank] == images[0]) continue;
      return absl::InvalidArgumentError(
          absl::StrCat("kNN monitor: ", group->NameOf(rank), " has other images or names in ", options_.data_path));
    }
  }
  // All that the ranks do together comes first: an error later on is the first rank's alone.
  TEC_ASSIGN_OR_RETURN(const Features bank, ExtractFeatures(encoder, train_, feature_options));
  Features queries;
  if (held_out_) {
    TEC_ASSIGN_OR_RETURN(queries, ExtractFeatures(encoder, held_out_, feature_options));
  }
  if (!bank.values.defined()) return std::vector<std::pair<std::string, double>>();
  TEC_ASSIGN_OR_RETURN(const KnnClassifier knn,
                       KnnClassifier::Create(bank.values.to(device), bank.labels.to(device), classes, knn_options));
  absl::StatusOr<std::vector<KnnAccuracy>> accuracy = absl::UnknownError("not run");
  if (held_out_) {
    accuracy = knn.Evaluate(queries.values.to(device),
                            at::tensor(class_of_held_out_, at::kLong).index_select(0, queries.labels));
  } else {
    accuracy = knn.EvaluateLeaveOneOut();
  }
  if (!accuracy.ok()) return accuracy.status();
  return std::vector<std::pair<std::string, double>>{{"knn_top1", accuracy->front().top1},
                                                     {"knn_top5", accuracy->front().top5}};
}

}  // namespace tec
