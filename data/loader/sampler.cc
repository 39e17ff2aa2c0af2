#include "data/loader/sampler.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <random>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "tec/base/logging.h"
#include "tec/base/random.h"

namespace tec {

namespace {

// From there on PyTorch draws 64 bits for each step of a permutation.
constexpr int64_t kLargestTorchPermutation = std::numeric_limits<uint32_t>::max() / 20;

}  // namespace

std::vector<int64_t> TorchPermutation(int64_t n, uint64_t seed) {
  TEC_CHECK(n >= 0 && n < kLargestTorchPermutation) << n;
  std::mt19937 generator(static_cast<uint32_t>(seed));
  std::vector<int64_t> values(n);
  std::iota(values.begin(), values.end(), 0);
  for (int64_t i = 0; i < n - 1; ++i) std::swap(values[i], values[i + generator() % (n - i)]);
  return values;
}

absl::StatusOr<Sampler> Sampler::Create(const SamplerOptions& options) {
  // Far above any real value, and low enough that no product below overflows.
  constexpr int64_t kLargest = std::numeric_limits<int32_t>::max();
  if (options.batch_size < 1 || options.batch_size > kLargest) {
    return absl::InvalidArgumentError(absl::StrCat("batch size ", options.batch_size, " is not in 1 to ", kLargest));
  }
  if (options.world_size < 1 || options.world_size > kLargest || options.rank < 0 ||
      options.rank >= options.world_size) {
    return absl::InvalidArgumentError(
        absl::StrCat("rank ", options.rank, " of ", options.world_size, " processes: a rank is in 0 to size - 1"));
  }
  if (options.dataset_size < 1) return absl::InvalidArgumentError("the data set has no images");
  if (options.order == SampleOrder::kReference && options.dataset_size >= kLargestTorchPermutation) {
    return absl::InvalidArgumentError(absl::StrCat("the reference's order is known for fewer than ",
                                                   kLargestTorchPermutation, " images, not for ",
                                                   options.dataset_size));
  }
  Sampler sampler(options);
  if (options.training && sampler.batches_ == 0) {
    return absl::InvalidArgumentError(
        options.world_size == 1
            ? absl::StrCat("the batch is larger than the data set: ", options.batch_size, " of ", options.dataset_size,
                           " images")
            : absl::StrCat("the batch is larger than a rank's part of the data set: ", options.batch_size, " of ",
                           sampler.samples_, " images (", options.dataset_size, " on ", options.world_size, " ranks)"));
  }
  return sampler;
}

Sampler::Sampler(const SamplerOptions& options) : options_(options) {
  const int64_t n = options.dataset_size, world = options.world_size;
  if (options.training) {
    samples_ = (n + world - 1) / world;
    batches_ = samples_ / options.batch_size;
  } else {
    samples_ = options.rank < n ? (n - options.rank + world - 1) / world : 0;
    batches_ = (samples_ + options.batch_size - 1) / options.batch_size;
  }
}

void Sampler::SetEpoch(int64_t epoch) {
  TEC_CHECK_GE(epoch, 0);
  if (epoch == epoch_) return;
  epoch_ = epoch;
  if (!options_.training) return;
  if (options_.order == SampleOrder::kReference) {
    order_ = std::vector<int64_t>();
    order_ = TorchPermutation(options_.dataset_size, static_cast<uint64_t>(epoch));
    return;
  }
  RandomStream stream(RandomKey{options_.seed, RandomPurpose::kShuffle, static_cast<uint64_t>(epoch), 0});
  order_ = std::vector<int64_t>();  // Before the new one is made: one at a time is enough.
  order_ = RandomPermutation(options_.dataset_size, stream);
}

void Sampler::Batch(int64_t batch, std::vector<int64_t>* indices) const {
  TEC_CHECK(epoch_ >= 0) << "SetEpoch comes first";
  TEC_CHECK(batch >= 0 && batch < batches_) << batch << " of " << batches_;
  const int64_t begin = batch * options_.batch_size;
  const int64_t end = std::min(begin + options_.batch_size, samples_);
  indices->clear();
  for (int64_t i = begin; i < end; ++i) {
    const int64_t position = options_.rank + i * options_.world_size;
    indices->push_back(options_.training ? order_[position % options_.dataset_size] : position);
  }
}

}  // namespace tec
