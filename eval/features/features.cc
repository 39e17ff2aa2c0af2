#include "eval/features/features.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "ATen/ATen.h"
#include "ATen/core/grad_mode.h"
#include "data/augment/resize.h"
#include "data/dataset/subset.h"
#include "data/image/decode.h"
#include "data/loader/bad_image_limit.h"
#include "data/loader/batch_images.h"
#include "data/loader/loader.h"
#include "eval/features/feature_exchange.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"
#include "tec/dist/socket.h"
#include "tec/nn/autocast.h"

namespace tec {

absl::Status FeatureTransform::Apply(absl::string_view encoded, const SampleKey& key, TransformScratch* scratch,
                                     uint8_t* out) const {
  bool as_it_is = false;
  const auto choose = [&](int height, int width) {
    as_it_is = height == size_ && width == size_;
    return as_it_is ? Box{0, 0, height, width} : EvalCropSource(height, width, size_);
  };
  ImageRegion& decoded = scratch->decoded;
  TEC_RETURN_IF_ERROR(DecodeImageRegion(encoded, choose, &decoded, channels_));
  if (as_it_is) {
    std::memcpy(out, decoded.pixels.data(), decoded.pixels.size_bytes());
  } else {
    EvalCrop(decoded, size_, &scratch->resize, out);
  }
  return absl::OkStatus();
}

namespace {

// Computes the features of one batch after the other, of this rank's share.
class BatchReader {
 public:
  BatchReader(Encoder& encoder, const FeatureOptions& options) : encoder_(encoder), options_(options) {}

  // whole: the share is the data set.
  absl::Status Open(std::shared_ptr<const Dataset> share, bool whole, int64_t first_batch, int64_t batch_size) {
    whole_ = whole;
    LoaderOptions loader;
    loader.batch_size = std::min(batch_size, share->size());
    loader.training = false;
    loader.threads = options_.threads;
    // How many are too many of all is not for the loader of a share to say.
    const bool sound = options_.max_bad_fraction >= 0 && options_.max_bad_fraction <= 1;
    loader.max_bad_fraction = whole || !sound ? options_.max_bad_fraction : 1;
    loader.bad_images_path = options_.bad_images_path;
    loader.allocate = BatchMemory(device(), options_.pin_mem);
    const VitOptions& vit = encoder_.options();
    TEC_ASSIGN_OR_RETURN(
        loader_,
        Loader::Create(std::move(share), std::make_shared<FeatureTransform>(vit.image_size, vit.channels), loader));
    loader_->StartEpoch(0, first_batch);
    return absl::OkStatus();
  }

  at::Device device() const { return encoder_.parameters().front().device(); }
  std::vector<BadImage> bad_images() const { return loader_ ? loader_->bad_images() : std::vector<BadImage>(); }
  int64_t bad_count() const { return loader_ ? loader_->bad_count() : 0; }

  // Of the next batch, which has `images`.
  absl::StatusOr<BatchFeatures> Next(int64_t images_of_batch) {
    BatchFeatures result;
    result.images = images_of_batch;
    const absl::StatusOr<const Batch*> next = loader_->Next();
    if (!whole_ && absl::IsDataLoss(next.status())) {
      // Of the share no image at all can be read.
      result.values = at::empty({0, options_.spec.Width(encoder_.options().width)}, at::kFloat);
      result.labels = at::empty({0}, at::kLong);
      return result;
    }
    TEC_RETURN_IF_ERROR(next.status());
    const Batch* batch = *next;
    TEC_CHECK(batch != nullptr && batch->count == images_of_batch);
    const at::Tensor images = BatchImages(*batch, device(), options_.mean, options_.std);
    {
      AutocastGuard autocast(device().type(), options_.precision);
      result.values = ComputeFeatures(encoder_, images, options_.spec).to(at::kCPU, at::kFloat).contiguous();
    }
    std::vector<int64_t> rows, labels;
    for (int64_t i = 0; i < batch->count; ++i) {
      // The loader put a neighbour in the place of an unreadable image; it has a turn of its own.
      if (batch->sources[i] != batch->indices[i]) continue;
      rows.push_back(i);
      labels.push_back(batch->labels[i]);
    }
    result.labels = at::tensor(labels, at::kLong);
    if (static_cast<int64_t>(rows.size()) < batch->count) {
      result.values = result.values.index_select(0, at::tensor(rows, at::kLong));
    }
    return result;
  }

 private:
  Encoder& encoder_;
  const FeatureOptions& options_;
  std::unique_ptr<Loader> loader_;
  bool whole_ = true;
};

// What one rank would say of all that the ranks have met. `own`: of this one, numbered in its share.
absl::Status TooManyBadOfAll(ProcessGroup& group, const std::vector<BadImage>& own, int64_t batch_size,
                             double max_bad_fraction, int64_t images) {
  PayloadWriter writer;
  writer.Number(static_cast<int64_t>(own.size()));
  for (const BadImage& image : own) {
    const int64_t batch = image.index / batch_size * group.world_size() + group.rank();
    writer.Number(batch * batch_size + image.index % batch_size).Text(BadImageLine(image.name, image.reason));
  }
  TEC_ASSIGN_OR_RETURN(const std::vector<std::string> texts, group.Gather(writer.payload(), "unreadable images"));
  std::map<int64_t, std::string> by_index;
  for (const std::string& text : texts) {
    PayloadReader reader(text);
    for (int64_t left = reader.Number(); left > 0; --left) {
      const int64_t index = reader.Number();
      by_index[index] = reader.Text();
    }
  }
  std::vector<std::string> lines;
  for (auto& [index, line] : by_index) lines.push_back(std::move(line));
  return TooManyBadImages(lines, max_bad_fraction, images);
}

}  // namespace

absl::StatusOr<Features> ExtractFeatures(Encoder& encoder, std::shared_ptr<const Dataset> dataset,
                                         const FeatureOptions& options) {
  at::NoGradGuard no_gradient;
  const int64_t ranks = options.group ? options.group->world_size() : 1, rank = ranks > 1 ? options.group->rank() : 0;
  const int64_t size = dataset->size(), width = options.spec.Width(encoder.options().width);
  const int64_t batch_size = std::min(options.batch_size, size);
  const int64_t batches = (size + batch_size - 1) / batch_size, first_batch = options.first_image / batch_size;
  TEC_CHECK(options.first_image % batch_size == 0) << options.first_image << " is not a multiple of " << batch_size;
  BatchReader reader(encoder, options);
  absl::Status broken;
  if (rank < batches) {
    broken = reader.Open(ShareOfBatches(dataset, batch_size, rank, ranks), ranks == 1,
                         (first_batch - rank + ranks - 1) / ranks, batch_size);
  }
  std::optional<FeatureExchange> exchange;
  if (ranks > 1) exchange.emplace(*options.group, reader.device(), batch_size, width);
  const int64_t bad_allowed = BadImagesAllowed(options.max_bad_fraction, size);

  Features features;
  const bool keeps = !options.sink && rank == 0;
  if (keeps) {
    features.values = at::empty({size, width}, at::kFloat);
    features.labels = at::empty({size}, at::kLong);
  }
  int64_t done = 0, seen = options.first_image;
  // A round is one batch a rank; of the first one some may be there already.
  for (int64_t round = first_batch / ranks; round * ranks < batches; ++round) {
    absl::StatusOr<BatchFeatures> own = BatchFeatures();
    const int64_t number = round * ranks + rank;
    if (!broken.ok()) {
      own = broken;
    } else if (options.stop && options.stop()) {
      own = absl::CancelledError("stopped on request");
    } else if (number >= first_batch && number < batches) {
      own = reader.Next(std::min(batch_size, size - number * batch_size));
    }
    std::vector<BatchFeatures> all;
    if (exchange) {
      TEC_ASSIGN_OR_RETURN(all, exchange->Gather(own, reader.bad_count()));
      if (exchange->bad_images() > bad_allowed) {
        return TooManyBadOfAll(*options.group, reader.bad_images(), batch_size, options.max_bad_fraction, size);
      }
      features.unreadable += exchange->images() - exchange->readable();
    } else {
      TEC_RETURN_IF_ERROR(own.status());
      features.unreadable += own->images - own->values.size(0);
      all.push_back(*std::move(own));
    }
    std::optional<ProcessGroup::Work> work;
    if (exchange) work.emplace(*options.group, "taking features in");
    for (const BatchFeatures& batch : all) {
      if (batch.images == 0) continue;
      const int64_t count = batch.values.size(0);
      seen += batch.images;
      if (options.sink) {
        TEC_RETURN_IF_ERROR(options.sink(batch.values, batch.labels, batch.images));
      } else {
        features.values.narrow(0, done, count).copy_(batch.values);
        features.labels.narrow(0, done, count).copy_(batch.labels);
        done += count;
      }
      if (options.progress) options.progress(seen, size);
    }
  }
  if (!keeps) return features;
  features.values = features.values.narrow(0, 0, done);
  features.labels = features.labels.narrow(0, 0, done);
  return features;
}

absl::Status SendFeatures(ProcessGroup& group, at::Device device, Features* features) {
  if (group.world_size() == 1) return absl::OkStatus();
  const bool first = group.rank() == 0;
  PayloadWriter writer;
  if (first) {
    writer.Number(features->values.size(0)).Number(features->values.size(1)).Number(features->unreadable);
  }
  TEC_ASSIGN_OR_RETURN(const std::string sizes, group.BroadcastText(writer.payload()));
  PayloadReader reader(sizes);
  const int64_t rows = reader.Number(), width = reader.Number();
  features->unreadable = reader.Number();
  if (!first) {
    features->values = at::empty({rows, width}, at::kFloat);
    features->labels = at::empty({rows}, at::kLong);
  }
  constexpr int64_t kRowsAtOnce = 4096;
  for (int64_t begin = 0; begin < rows; begin += kRowsAtOnce) {
    const int64_t count = std::min(kRowsAtOnce, rows - begin);
    const at::Tensor values = features->values.narrow(0, begin, count);
    const at::Tensor labels = features->labels.narrow(0, begin, count);
    const at::Tensor there = values.to(device), labels_there = labels.to(device);
    TEC_RETURN_IF_ERROR(group.Broadcast({there, labels_there}, "sending features"));
    if (first || device.is_cpu()) continue;
    values.copy_(there);
    labels.copy_(labels_there);
  }
  return absl::OkStatus();
}

}  // namespace tec
