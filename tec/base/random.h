// Randomness as a function, not a state: every random decision is drawn from a counter-based generator keyed by
// (seed, purpose, epoch, sample). The crop of image 17 in epoch 3 is therefore the same on 1 or 64 ranks, with 1 or 16
// threads, before and after a restart, and no generator state needs saving.
//
//   RandomStream stream(RandomKey{seed, RandomPurpose::kCrop, epoch, sample});
//   double area = stream.Uniform(0.2, 1.0);
//
// The generator is Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).

#ifndef TEC_BASE_RANDOM_H_
#define TEC_BASE_RANDOM_H_

#include <array>
#include <cstdint>
#include <vector>

namespace tec {

// What a stream is for. A number is written into results: never renumber, only append.
enum class RandomPurpose : uint32_t {
  kCrop = 1,         // RandomResizedCrop and flip of a training image.
  kMask = 2,         // Noise of the random masking.
  kInitialise = 3,   // Parameters of a new model; epoch 0, sample = index of the parameter.
  kShuffle = 4,      // Order of an epoch; sample 0.
  kDropPath = 5,     // Stochastic depth; sample = index of the image in the epoch.
  kMix = 6,          // Mixup and CutMix of a batch; sample = index of the batch in the epoch.
  kRandAugment = 7,  // Operations and magnitudes.
  kErase = 8,        // Random erasing.
  kPictures = 9,     // The quickstart's made pictures; epoch 0 train, 1 held-out.
  kSplit = 10,       // Choice of a subset.
  kBaseModels = 11,  // Base models left out for an image.
  kMaskBlocks = 12,  // Rectangles of a block-wise mask.
};

struct RandomKey {
  uint64_t seed = 0;
  RandomPurpose purpose = RandomPurpose::kCrop;
  uint64_t epoch = 0;
  uint64_t sample = 0;
};

// One 128-bit block of Philox4x32-10, for the published test vectors.
std::array<uint32_t, 4> Philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

// An endless sequence of numbers that depends on its key alone. Cheap to make; not for sharing between threads.
// Also a UniformRandomBitGenerator of 32 bits.
class RandomStream {
 public:
  explicit RandomStream(const RandomKey& key);

  uint32_t NextUint32();
  uint64_t NextUint64();
  // In [0, 1), 53 random bits.
  double NextDouble();
  // In [0, 1), 24 random bits, a multiple of 2^-24: what torch.rand gives in float32.
  float NextFloat();
  // In [low, high).
  double Uniform(double low, double high) { return low + (high - low) * NextDouble(); }
  // In [0, bound), without bias. bound > 0.
  uint64_t UniformInt(uint64_t bound);
  bool Bernoulli(double probability) { return NextDouble() < probability; }
  // Mean 0, standard deviation 1 (Box-Muller).
  double Normal();

  using result_type = uint32_t;
  static constexpr uint32_t min() { return 0; }
  static constexpr uint32_t max() { return 0xFFFFFFFFu; }
  uint32_t operator()() { return NextUint32(); }

 private:
  std::array<uint32_t, 2> key_;
  std::array<uint32_t, 4> counter_;
  std::array<uint32_t, 4> block_;
  int used_ = 4;
};

// A permutation of 0..n-1 (Fisher-Yates), a function of `stream`'s key.
std::vector<int64_t> RandomPermutation(int64_t n, RandomStream& stream);

}  // namespace tec

#endif  // TEC_BASE_RANDOM_H_
