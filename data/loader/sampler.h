// Which images make up which batch: a pure function of (data set size, seed, epoch, world size, rank, batch).

#ifndef TEC_DATA_LOADER_SAMPLER_H_
#define TEC_DATA_LOADER_SAMPLER_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"

namespace tec {

// How an epoch of training is shuffled.
enum class SampleOrder {
  kOwn,        // By RandomKey{seed, kShuffle, epoch}.
  kReference,  // The reference's: torch.randperm of a generator seeded with the epoch, whatever the seed.
};

// torch.randperm(n) of a CPU generator with that seed (PyTorch 2.11): Fisher-Yates from the front, remainders of 32-bit
// Mersenne Twister numbers. 0 <= n < 2^32 / 20; larger ones draw otherwise there.
std::vector<int64_t> TorchPermutation(int64_t n, uint64_t seed);

struct SamplerOptions {
  int64_t dataset_size = 0;
  int64_t batch_size = 1;  // Images a micro-batch of one rank.
  int64_t world_size = 1;
  int64_t rank = 0;

  // Training: a new permutation each epoch, of RandomKey{seed, kShuffle, epoch}; padded by repeating its head until its
  // length is a multiple of world_size; rank r takes positions r, r + world_size, ...; the last incomplete batch of a
  // rank is dropped (recipe.md section 7). Every rank has the same number of batches.
  //
  // Evaluation: images in the data set's order, rank r takes r, r + world_size, ...; no padding, the last batch may be
  // smaller: every image once over all ranks. Ranks may differ by one batch: no collective call per batch.
  bool training = true;
  uint64_t seed = 0;  // Unused in evaluation.
  // kReference: the order of PyTorch's DistributedSampler with its default seed, rank by rank.
  SampleOrder order = SampleOrder::kOwn;
};

class Sampler {
 public:
  // InvalidArgument if there is no batch at all (batch_size above what a rank gets of the data set) or a field is out
  // of its range.
  static absl::StatusOr<Sampler> Create(const SamplerOptions& options);

  const SamplerOptions& options() const { return options_; }

  // Of this rank. In training at least 1.
  int64_t batches_per_epoch() const { return batches_; }

  // Chooses the order of `epoch`, epoch >= 0. Takes O(dataset_size) time and 8 bytes an image in training.
  void SetEpoch(int64_t epoch);
  int64_t epoch() const { return epoch_; }

  // Replaces `*indices` by the data set indices of batch `batch`, 0 <= batch < batches_per_epoch(). SetEpoch first.
  void Batch(int64_t batch, std::vector<int64_t>* indices) const;

 private:
  explicit Sampler(const SamplerOptions& options);

  SamplerOptions options_;
  int64_t samples_ = 0;  // Of this rank.
  int64_t batches_ = 0;
  int64_t epoch_ = -1;
  std::vector<int64_t> order_;  // Empty in evaluation: the identity.
};

}  // namespace tec

#endif  // TEC_DATA_LOADER_SAMPLER_H_
