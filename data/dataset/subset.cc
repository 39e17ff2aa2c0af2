#include "data/dataset/subset.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "tec/base/fingerprint.h"
#include "tec/base/logging.h"
#include "tec/base/random.h"

namespace tec {
namespace {

class Subset : public Dataset {
 public:
  // `new_labels`: for each label of `whole`; empty: the same.
  Subset(std::shared_ptr<const Dataset> whole, std::vector<int64_t> indices, std::vector<int32_t> new_labels,
         std::vector<std::string> classes)
      : whole_(std::move(whole)),
        indices_(std::move(indices)),
        new_labels_(std::move(new_labels)),
        classes_(std::move(classes)) {}

  int64_t size() const override { return static_cast<int64_t>(indices_.size()); }
  int32_t label(int64_t index) const override {
    const int32_t label = whole_->label(At(index));
    return label < 0 || new_labels_.empty() ? label : new_labels_[label];
  }
  std::string name(int64_t index) const override { return whole_->name(At(index)); }
  std::string file(int64_t index) const override { return whole_->file(At(index)); }
  const std::vector<std::string>& classes() const override { return classes_; }
  std::vector<std::string> defects() const override { return whole_->defects(); }
  std::string left_out() const override { return whole_->left_out(); }
  using Dataset::Read;
  absl::Status Read(int64_t index, std::string* bytes) const override { return whole_->Read(At(index), bytes); }
  absl::StatusOr<absl::string_view> View(int64_t index, std::string* buffer) const override {
    return whole_->View(At(index), buffer);
  }

 private:
  int64_t At(int64_t index) const {
    TEC_CHECK(index >= 0 && index < size()) << index << " of " << size();
    return indices_[index];
  }

  const std::shared_ptr<const Dataset> whole_;
  const std::vector<int64_t> indices_;
  const std::vector<int32_t> new_labels_;
  const std::vector<std::string> classes_;
};

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
  TEC_CHECK(Validate(options).ok());
  if (options.whole()) return dataset;
  std::vector<std::vector<int64_t>> of_class(std::max<size_t>(1, dataset->classes().size()));
  for (int64_t i = 0; i < dataset->size(); ++i) of_class[std::max(0, dataset->label(i))].push_back(i);
  std::vector<int64_t> chosen;
  for (size_t c = 0; c < of_class.size(); ++c) {
    const std::vector<int64_t>& images = of_class[c];
    const int64_t all = static_cast<int64_t>(images.size());
    if (all == 0) continue;
    const int64_t wanted = options.per_class > 0
                               ? options.per_class
                               : std::max<int64_t>(1, std::llround(options.fraction * static_cast<double>(all)));
    // Keyed by the class's name: removing a class changes nothing about the others.
    const std::string name = dataset->labelled() ? dataset->classes()[c] : "";
    RandomStream stream(RandomKey{options.seed, RandomPurpose::kSplit, /*epoch=*/0, Fingerprint().Add(name).value()});
    std::vector<int64_t> order = RandomPermutation(all, stream);
    for (int64_t i = 0; i < std::min(wanted, all); ++i) chosen.push_back(images[order[i]]);
  }
  std::sort(chosen.begin(), chosen.end());
  return std::make_shared<Subset>(dataset, std::move(chosen), std::vector<int32_t>(), dataset->classes());
}

std::shared_ptr<const Dataset> EvenlySpaced(std::shared_ptr<const Dataset> dataset, int64_t count) {
  TEC_CHECK_GE(count, 1);
  const int64_t size = dataset->size();
  if (count >= size) return dataset;
  std::vector<int64_t> indices;
  for (int64_t i = 0; i < count; ++i) indices.push_back(i * size / count);
  const std::vector<std::string> classes = dataset->classes();
  return std::make_shared<Subset>(std::move(dataset), std::move(indices), std::vector<int32_t>(), classes);
}

std::shared_ptr<const Dataset> ShareOfBatches(std::shared_ptr<const Dataset> dataset, int64_t batch_size, int64_t rank,
                                              int64_t world_size) {
  TEC_CHECK(batch_size >= 1 && rank >= 0 && rank < world_size);
  if (world_size == 1) return dataset;
  std::vector<int64_t> indices;
  for (int64_t begin = rank * batch_size; begin < dataset->size(); begin += world_size * batch_size) {
    const int64_t end = std::min(begin + batch_size, dataset->size());
    for (int64_t i = begin; i < end; ++i) indices.push_back(i);
  }
  const std::vector<std::string> classes = dataset->classes();
  return std::make_shared<Subset>(std::move(dataset), std::move(indices), std::vector<int32_t>(), classes);
}

absl::StatusOr<std::shared_ptr<const Dataset>> KeepClasses(std::shared_ptr<const Dataset> dataset,
                                                           absl::string_view names) {
  if (names.empty()) return dataset;
  if (!dataset->labelled()) {
    return absl::InvalidArgumentError(
        absl::StrCat("no classes to choose ", names, " from: the pictures have no labels"));
  }
  const std::vector<std::string>& all = dataset->classes();
  std::vector<std::string> unknown;
  std::vector<bool> keep(all.size());
  for (const absl::string_view name : absl::StrSplit(names, ',')) {
    const auto found = std::find(all.begin(), all.end(), name);
    if (found == all.end()) {
      unknown.push_back(absl::StrCat("\"", name, "\""));
    } else {
      keep[found - all.begin()] = true;
    }
  }
  if (!unknown.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("not among the ", all.size(), " classes (", all.front(), " to ",
                                                   all.back(), "): ", absl::StrJoin(unknown, ", ")));
  }
  std::vector<int32_t> new_labels(all.size(), -1);
  std::vector<std::string> classes;
  for (size_t i = 0; i < all.size(); ++i) {
    if (!keep[i]) continue;
    new_labels[i] = static_cast<int32_t>(classes.size());
    classes.push_back(all[i]);
  }
  std::vector<int64_t> indices;
  for (int64_t i = 0; i < dataset->size(); ++i) {
    if (keep[dataset->label(i)]) indices.push_back(i);
  }
  if (indices.empty()) return absl::InvalidArgumentError(absl::StrCat("the classes ", names, " have no pictures"));
  return std::make_shared<Subset>(std::move(dataset), std::move(indices), std::move(new_labels), std::move(classes));
}

}  // namespace tec
