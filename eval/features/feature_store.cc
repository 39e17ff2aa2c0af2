#include "eval/features/feature_store.h"

#include <map>
#include <optional>
#include <string>
#include <utility>

#include "ATen/ATen.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "tec/base/file.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"
#include "tec/base/steady_seconds.h"
#include "tec/checkpoint/safetensors.h"
#include "tec/checkpoint/torch_tensors.h"

namespace tec {
namespace {

// Of ViT-B 25 MB, and of ImageNet 157 parts. A slow extraction loses at most a minute when it is killed.
constexpr int64_t kPartImages = 8192;
constexpr double kPartSeconds = 60;

constexpr char kValues[] = "values";
constexpr char kLabels[] = "labels";
constexpr char kImages[] = "images";

}  // namespace

absl::StatusOr<FeatureStore> FeatureStore::Open(const std::string& folder, int64_t images, int64_t width,
                                                int64_t batch_size) {
  TEC_CHECK(images > 0 && width > 0 && batch_size > 0);
  TEC_RETURN_IF_ERROR(MakeDirectories(folder));
  TEC_RETURN_IF_ERROR(RemoveLeftovers(folder).status());
  FeatureStore store(folder, images, width);
  std::vector<int64_t> begins;
  int64_t unreadable = 0;
  for (int64_t end = 0; end < images;) {
    const absl::StatusOr<Part> part = store.ReadPart(end);
    if (absl::IsNotFound(part.status())) break;
    if (!part.ok()) {
      TEC_LOG(WARNING) << "computing features again: " << part.status().message();
      break;
    }
    begins.push_back(end);
    end += part->images;
    unreadable += part->images - part->values.size(0);
    if (end % batch_size == 0 || end == images) {
      store.begins_ = begins;
      store.images_ = end;
      store.unreadable_ = unreadable;
    }
  }
  store.written_ = SteadySeconds();
  return store;
}

std::string FeatureStore::PathOf(int64_t begin) const {
  return absl::StrFormat("%s/images-%09d.safetensors", folder_, begin);
}

absl::StatusOr<FeatureStore::Part> FeatureStore::ReadPart(int64_t begin) const {
  const std::string path = PathOf(begin);
  TEC_ASSIGN_OR_RETURN(const Safetensors file, ReadSafetensors(path));
  std::map<std::string, at::Tensor> tensors = TensorsOf(file.tensors);
  Part part;
  part.begin = begin;
  part.values = tensors[kValues];
  part.labels = tensors[kLabels];
  const at::Tensor images = tensors[kImages];
  if (!part.values.defined() || part.values.dim() != 2 || part.values.scalar_type() != at::kFloat ||
      part.values.size(1) != width_ || !part.labels.defined() || part.labels.scalar_type() != at::kLong ||
      part.labels.sizes() != part.values.sizes().slice(0, 1) || !images.defined() || images.dim() != 0 ||
      images.scalar_type() != at::kLong) {
    return absl::DataLossError(absl::StrCat(path, " holds no features of width ", width_));
  }
  part.images = images.item<int64_t>();
  if (part.images < 1 || part.images > all_images_ - begin || part.values.size(0) > part.images) {
    return absl::DataLossError(absl::StrCat(path, " holds ", part.images, " images with ", part.values.size(0),
                                            " features, where up to ", all_images_ - begin, " are left"));
  }
  return part;
}

absl::Status FeatureStore::Append(const at::Tensor& values, const at::Tensor& labels, int64_t images) {
  TEC_CHECK(values.size(0) == labels.size(0) && values.size(0) <= images && images_ + images <= all_images_);
  // Copies: the caller may use its memory again.
  buffered_values_.push_back(values.clone());
  buffered_labels_.push_back(labels.clone());
  buffered_ += images;
  images_ += images;
  unreadable_ += images - values.size(0);
  if (buffered_ >= kPartImages || SteadySeconds() - written_ >= kPartSeconds) return Flush();
  return absl::OkStatus();
}

absl::Status FeatureStore::Flush() {
  if (buffered_ == 0) return absl::OkStatus();
  const int64_t begin = images_ - buffered_;
  TEC_RETURN_IF_ERROR(WriteSafetensors(PathOf(begin), ViewsOf({{kValues, at::cat(buffered_values_)},
                                                               {kLabels, at::cat(buffered_labels_)},
                                                               {kImages, at::full({}, buffered_, at::kLong)}})));
  begins_.push_back(begin);
  buffered_values_.clear();
  buffered_labels_.clear();
  buffered_ = 0;
  written_ = SteadySeconds();
  return absl::OkStatus();
}

absl::Status FeatureStore::Read(
    const std::function<absl::Status(const at::Tensor& values, const at::Tensor& labels)>& sink) const {
  for (const int64_t begin : begins_) {
    const absl::StatusOr<Part> part = ReadPart(begin);
    if (!part.ok()) return absl::DataLossError(part.status().message());
    if (part->values.size(0) > 0) TEC_RETURN_IF_ERROR(sink(part->values, part->labels));
  }
  return absl::OkStatus();
}

absl::StatusOr<Features> ExtractStored(Encoder& encoder, std::shared_ptr<const Dataset> dataset,
                                       const FeatureOptions& options, FeatureStore* store) {
  Features features;
  FeatureOptions rest = options;
  rest.first_image = store == nullptr ? 0 : store->images();
  if (options.group != nullptr) {
    TEC_ASSIGN_OR_RETURN(
        const std::string there,
        options.group->BroadcastText(absl::StrCat(rest.first_image, " ", store == nullptr ? 0 : store->unreadable())));
    const std::pair<std::string, std::string> numbers = absl::StrSplit(there, ' ');
    TEC_CHECK(absl::SimpleAtoi(numbers.first, &rest.first_image) &&
              absl::SimpleAtoi(numbers.second, &features.unreadable))
        << there;
  }
  if (rest.first_image < dataset->size()) {
    rest.sink = [store](const at::Tensor& values, const at::Tensor& labels, int64_t images) {
      return store->Append(values, labels, images);
    };
    const absl::StatusOr<Features> computed = ExtractFeatures(encoder, dataset, rest);
    if (store != nullptr && (computed.ok() || absl::IsCancelled(computed.status()))) {
      TEC_RETURN_IF_ERROR(store->Flush());
    }
    TEC_RETURN_IF_ERROR(computed.status());
    features.unreadable += computed->unreadable;
  }
  if (store == nullptr) return features;
  std::optional<ProcessGroup::Work> work;
  if (options.group != nullptr) work.emplace(*options.group, "reading features");
  features.unreadable = store->unreadable();
  const auto stop = [&options]() -> absl::Status {
    return options.stop && options.stop() ? absl::CancelledError("stopped on request") : absl::OkStatus();
  };
  if (options.sink) {
    TEC_RETURN_IF_ERROR(store->Read([&](const at::Tensor& values, const at::Tensor& labels) -> absl::Status {
      TEC_RETURN_IF_ERROR(stop());
      return options.sink(values, labels, values.size(0));
    }));
    return features;
  }
  const int64_t width = options.spec.Width(encoder.options().width);
  const int64_t rows = dataset->size() - features.unreadable;
  features.values = at::empty({rows, width}, at::kFloat);
  features.labels = at::empty({rows}, at::kLong);
  int64_t row = 0;
  TEC_RETURN_IF_ERROR(store->Read([&](const at::Tensor& values, const at::Tensor& labels) -> absl::Status {
    TEC_RETURN_IF_ERROR(stop());
    features.values.narrow(0, row, values.size(0)).copy_(values);
    features.labels.narrow(0, row, values.size(0)).copy_(labels);
    row += values.size(0);
    return absl::OkStatus();
  }));
  return features;
}

}  // namespace tec
