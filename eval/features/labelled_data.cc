#include "eval/features/labelled_data.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "eval/features/fingerprint.h"
#include "eval/metrics/class_map.h"
#include "tec/base/logging.h"
#include "tec/base/random.h"
#include "tec/base/status.h"

namespace tec {
namespace {

class Subset : public Dataset {
 public:
  Subset(std::shared_ptr<const Dataset> whole, std::vector<int64_t> indices)
      : whole_(std::move(whole)), indices_(std::move(indices)) {}

  int64_t size() const override { return static_cast<int64_t>(indices_.size()); }
  int32_t label(int64_t index) const override { return whole_->label(indices_[index]); }
  std::string name(int64_t index) const override { return whole_->name(indices_[index]); }
  const std::vector<std::string>& classes() const override { return whole_->classes(); }
  absl::Status Read(int64_t index, std::string* bytes) const override { return whole_->Read(indices_[index], bytes); }

 private:
  std::shared_ptr<const Dataset> whole_;
  std::vector<int64_t> indices_;
};

absl::StatusOr<std::shared_ptr<const Dataset>> OpenLabelled(const std::string& path, Split split,
                                                            absl::string_view use) {
  TEC_ASSIGN_OR_RETURN(std::unique_ptr<Dataset> dataset, OpenDataset(path, split));
  if (!dataset->labelled()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": the ", split == Split::kTrain ? "training" : "held-out",
                                                   " images have no labels; ", use,
                                                   " needs one folder a class, or a list with labels"));
  }
  return std::shared_ptr<const Dataset>(std::move(dataset));
}

}  // namespace

absl::Status Validate(const SubsetOptions& options) {
  if (!(options.fraction > 0 && options.fraction <= 1)) {
    return absl::InvalidArgumentError(absl::StrCat("the fraction of the training images is ", options.fraction,
                                                   "; it must be above 0 and at most 1"));
  }
  if (options.per_class < 0) {
    return absl::InvalidArgumentError(absl::StrCat(options.per_class, " images of each class: not a number of images"));
  }
  if (options.per_class > 0 && options.fraction < 1) {
    return absl::InvalidArgumentError("a fraction of the training images, or a number of each class: not both");
  }
  return absl::OkStatus();
}

std::shared_ptr<const Dataset> SubsetOf(std::shared_ptr<const Dataset> dataset, const SubsetOptions& options) {
  TEC_CHECK(Validate(options).ok() && dataset->labelled());
  if (options.whole()) return dataset;
  std::vector<std::vector<int64_t>> of_class(dataset->classes().size());
  for (int64_t i = 0; i < dataset->size(); ++i) of_class[dataset->label(i)].push_back(i);
  std::vector<int64_t> chosen;
  for (size_t c = 0; c < of_class.size(); ++c) {
    const std::vector<int64_t>& images = of_class[c];
    const int64_t all = static_cast<int64_t>(images.size());
    if (all == 0) continue;
    const int64_t wanted = options.per_class > 0
                               ? options.per_class
                               : std::max<int64_t>(1, std::llround(options.fraction * static_cast<double>(all)));
    // Keyed by the class's name: removing a class changes nothing about the others.
    RandomStream stream(
        RandomKey{options.seed, RandomPurpose::kSplit, /*epoch=*/0, Fingerprint().Add(dataset->classes()[c]).value()});
    std::vector<int64_t> order = RandomPermutation(all, stream);
    for (int64_t i = 0; i < std::min(wanted, all); ++i) chosen.push_back(images[order[i]]);
  }
  std::sort(chosen.begin(), chosen.end());
  return std::make_shared<Subset>(std::move(dataset), std::move(chosen));
}

absl::StatusOr<LabelledData> OpenLabelledData(const std::string& path, absl::string_view use,
                                              const SubsetOptions& subset) {
  LabelledData data;
  TEC_ASSIGN_OR_RETURN(data.train, OpenLabelled(path, Split::kTrain, use));
  TEC_ASSIGN_OR_RETURN(data.held_out, OpenLabelled(path, Split::kHeldOut, use));
  absl::StatusOr<std::vector<int64_t>> map = MapClasses(data.train->classes(), data.held_out->classes());
  if (!map.ok()) return Annotate(map.status(), path);
  data.class_of_held_out = *std::move(map);
  data.train = SubsetOf(std::move(data.train), subset);
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

}  // namespace tec
