#include "eval/report/seen_run.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "ATen/ATen.h"
#include "absl/strings/str_cat.h"
#include "data/dataset/subset.h"
#include "eval/embed/numbered_images.h"
#include "eval/features/features.h"
#include "tec/base/status.h"
#include "tec/nn/normalize.h"

namespace tec {

absl::Status SeenRun::Open() {
  TEC_RETURN_IF_ERROR(OpenPictures());
  TEC_RETURN_IF_ERROR(ReadEncoders());
  TEC_RETURN_IF_ERROR(ReadPictures());
  for (const LookedAt& looked : encoders_) {
    TEC_ASSIGN_OR_RETURN(at::Tensor pooled, PooledFeatures(looked));
    pooled_.push_back(std::move(pooled));
  }
  return absl::OkStatus();
}

absl::Status SeenRun::OpenPictures() {
  const std::string data_path = options_.data_path.empty() ? subject_.data.path() : options_.data_path;
  DatasetOptions dataset_options;
  absl::StatusOr<std::shared_ptr<const Dataset>> dataset = OpenDataset(data_path, Split::kTrain, dataset_options);
  if (absl::IsInvalidArgument(dataset.status())) {
    dataset_options.labels = false;
    dataset = OpenDataset(data_path, Split::kTrain, dataset_options);
  }
  if (!dataset.ok()) return Annotate(dataset.status(), "the run's pictures (--data_path says where they are now)");
  dataset_ = *std::move(dataset);
  bank_ = EvenlySpaced(dataset_, options_.bank);
  return absl::OkStatus();
}

absl::Status SeenRun::ReadEncoders() {
  if (is_tec() || !subject_.before.empty()) {
    const std::string path = options_.base_model.empty() ? subject_.before : options_.base_model;
    absl::StatusOr<LookedAt> base = LookAt(path, subject_.before_name, device_, subject_.before_request);
    if (!base.ok()) {
      return Annotate(base.status(), absl::StrCat("the run's ", is_tec() ? "base model" : "weights to begin with",
                                                  " (--base_model says where it is now)"));
    }
    encoders_.push_back(*std::move(base));
    has_base_ = true;
  }
  for (const std::string& path : subject_.checkpoints) {
    TEC_ASSIGN_OR_RETURN(LookedAt looked,
                         LookAt(path, std::filesystem::path(path).stem().string(), device_, subject_.request));
    encoders_.push_back(std::move(looked));
  }
  if (encoders_.back().encoder->options().channels != 3) {
    return absl::UnimplementedError("pictures of other than three channels are not drawn");
  }
  config::Data& data = subject_.data;
  if (data.mean_size() == 0 || data.std_size() == 0) {
    const LookedAt& newest = encoders_.back();
    data.mutable_mean()->Assign(newest.mean.begin(), newest.mean.end());
    data.mutable_std()->Assign(newest.std.begin(), newest.std.end());
  }
  // A base model sees its images by its own mean and deviation, as in training: where nothing says them, by the run's.
  if (is_tec()) {
    LookedAt& base = encoders_.front();
    const Normalisation given = {{data.mean().begin(), data.mean().end()}, {data.std().begin(), data.std().end()}};
    const bool is_known = base.own.mean.size() == given.mean.size() && base.own.std.size() == given.std.size();
    base.mean = is_known ? base.own.mean : given.mean;
    base.std = is_known ? base.own.std : given.std;
    if (base.mean != given.mean || base.std != given.std) base.targets->Renormalise(given, {base.mean, base.std});
  }
  return absl::OkStatus();
}

absl::Status SeenRun::ReadPictures() {
  const int64_t size = encoders_.back().encoder->options().image_size;
  const FeatureTransform transform(static_cast<int>(size), 3);
  TransformScratch scratch;
  thumbnails_.resize(bank_->size());
  for (int64_t i = 0; i < bank_->size(); ++i) {
    at::Tensor pixels = at::empty({size, size, 3}, at::kByte);
    absl::StatusOr<std::string> bytes = bank_->Read(i);
    absl::Status status = bytes.status();
    if (status.ok()) status = transform.Apply(*bytes, SampleKey(), &scratch, pixels.mutable_data_ptr<uint8_t>());
    if (status.ok()) {
      thumbnails_[i] = pixels;
    } else {
      left_out_.push_back(bank_->name(i));
    }
  }
  std::vector<at::Tensor> pixels;
  const int64_t wanted = std::min(options_.images, bank_->size());
  for (int64_t i = 0; i < wanted; ++i) {
    const int64_t index = i * bank_->size() / wanted;
    if (!thumbnails_[index].defined()) continue;
    names_.push_back(bank_->name(index));
    indices_.push_back(index);
    pixels.push_back(thumbnails_[index]);
  }
  if (pixels.empty()) return absl::DataLossError("none of the pictures to show can be read");
  pixels_ = at::stack(pixels);
  const config::Data& data = subject_.data;
  const std::vector<float> mean(data.mean().begin(), data.mean().end()), std(data.std().begin(), data.std().end());
  images_ = NormalizePixels(pixels_, mean, std).to(device_);
  return absl::OkStatus();
}

absl::StatusOr<at::Tensor> SeenRun::PooledFeatures(const LookedAt& looked) {
  FeatureOptions options;
  options.spec = kPoolFeatures;
  options.threads = options_.threads;
  options.max_bad_fraction = 1;
  options.stop = options_.stop;
  const config::Data& data = subject_.data;
  options.mean.assign(data.mean().begin(), data.mean().end());
  options.std.assign(data.std().begin(), data.std().end());
  if (is_tec() && &looked == &encoders_.front()) {
    options.mean = looked.mean;
    options.std = looked.std;
  }
  TEC_ASSIGN_OR_RETURN(const Features features, ExtractFeatures(*looked.encoder, NumberedImages(bank_), options));
  at::Tensor all = at::full({bank_->size(), features.values.size(1)}, std::nan(""), at::kFloat);
  all.index_copy_(0, features.labels, features.values);
  return all;
}

}  // namespace tec
