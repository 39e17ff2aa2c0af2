#include "data/loader/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace tec {
namespace {

Sampler Make(const SamplerOptions& options) {
  absl::StatusOr<Sampler> sampler = Sampler::Create(options);
  EXPECT_TRUE(sampler.ok()) << sampler.status();
  return *std::move(sampler);
}

SamplerOptions Training(int64_t dataset_size, int64_t batch_size, int64_t world_size = 1, int64_t rank = 0) {
  SamplerOptions options;
  options.dataset_size = dataset_size;
  options.batch_size = batch_size;
  options.world_size = world_size;
  options.rank = rank;
  options.seed = 5;
  return options;
}

std::vector<int64_t> Sequence(Sampler sampler, int64_t epoch) {
  sampler.SetEpoch(epoch);
  std::vector<int64_t> all, batch;
  for (int64_t b = 0; b < sampler.batches_per_epoch(); ++b) {
    sampler.Batch(b, &batch);
    all.insert(all.end(), batch.begin(), batch.end());
  }
  return all;
}

TEST(SamplerTest, EveryImageOnceAndAnotherOrderEachEpoch) {
  const std::vector<int64_t> first = Sequence(Make(Training(96, 8)), 0);
  std::vector<int64_t> sorted = first;
  std::sort(sorted.begin(), sorted.end());
  for (int64_t i = 0; i < 96; ++i) EXPECT_EQ(sorted[i], i);
  EXPECT_NE(first, sorted);
  EXPECT_NE(first, Sequence(Make(Training(96, 8)), 1));
  EXPECT_EQ(first, Sequence(Make(Training(96, 8)), 0));
  SamplerOptions other = Training(96, 8);
  other.seed = 6;
  EXPECT_NE(first, Sequence(Make(other), 0));
}

// 64 = 1 * 64 = 2 * 32 = 4 * 16 = 8 * 8: the ranks together see one and the same order.
TEST(SamplerTest, EveryWorldSizeGivesTheSameGlobalSequence) {
  const std::vector<int64_t> one = Sequence(Make(Training(64, 8)), 3);
  for (const int64_t world : {2, 4, 8}) {
    std::vector<int64_t> merged(64);
    for (int64_t rank = 0; rank < world; ++rank) {
      const std::vector<int64_t> mine = Sequence(Make(Training(64, 8, world, rank)), 3);
      ASSERT_EQ(mine.size(), 64 / world);
      for (size_t i = 0; i < mine.size(); ++i) merged[rank + i * world] = mine[i];
    }
    EXPECT_EQ(merged, one) << world;
  }
}

// A global batch holds the same images however it is spread.
TEST(SamplerTest, GlobalBatchesAreEqualForEveryWorldSize) {
  const std::vector<int64_t> one = Sequence(Make(Training(100, 24)), 0);
  const std::multiset<int64_t> expected(one.begin(), one.begin() + 24);
  for (const int64_t world : {2, 4, 8}) {
    std::multiset<int64_t> merged;
    std::vector<int64_t> batch;
    for (int64_t rank = 0; rank < world; ++rank) {
      Sampler sampler = Make(Training(100, 24 / world, world, rank));
      sampler.SetEpoch(0);
      sampler.Batch(0, &batch);
      merged.insert(batch.begin(), batch.end());
    }
    EXPECT_EQ(merged, expected) << world;
  }
}

TEST(SamplerTest, PadsWithTheHeadOfTheOrder) {
  const std::vector<int64_t> one = Sequence(Make(Training(10, 1)), 2);
  // 10 on 4 ranks: 12 positions, the last two are the first two once more.
  EXPECT_EQ(Sequence(Make(Training(10, 1, 4, 0)), 2), (std::vector<int64_t>{one[0], one[4], one[8]}));
  EXPECT_EQ(Sequence(Make(Training(10, 1, 4, 2)), 2), (std::vector<int64_t>{one[2], one[6], one[0]}));
  EXPECT_EQ(Sequence(Make(Training(10, 1, 4, 3)), 2), (std::vector<int64_t>{one[3], one[7], one[1]}));
  // Fewer images than ranks: the head again and again.
  EXPECT_EQ(Sequence(Make(Training(2, 1, 5, 4)), 0), Sequence(Make(Training(2, 1, 5, 0)), 0));
}

// recipe.md section 7: 1,281,167 images, 8 ranks, batch 256.
TEST(SamplerTest, TheReferencesNumberOfSteps) {
  EXPECT_EQ(Make(Training(1281167, 256, 8, 7)).batches_per_epoch(), 625);
  EXPECT_EQ(Make(Training(160146, 256)).batches_per_epoch(), 625);
}

TEST(SamplerTest, DropsTheLastIncompleteBatchInTrainingOnly) {
  SamplerOptions options = Training(10, 4);
  EXPECT_EQ(Make(options).batches_per_epoch(), 2);
  options.training = false;
  EXPECT_EQ(Make(options).batches_per_epoch(), 3);
  EXPECT_EQ(Sequence(Make(options), 0), (std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
}

TEST(SamplerTest, EvaluationShowsEveryImageOnceOverAllRanks) {
  std::multiset<int64_t> all;
  for (int64_t rank = 0; rank < 4; ++rank) {
    SamplerOptions options = Training(10, 3, 4, rank);
    options.training = false;
    for (const int64_t index : Sequence(Make(options), 0)) all.insert(index);
  }
  EXPECT_EQ(all, (std::multiset<int64_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
  // More ranks than images: the last rank has nothing to do.
  SamplerOptions options = Training(2, 3, 4, 3);
  options.training = false;
  EXPECT_EQ(Make(options).batches_per_epoch(), 0);
}

TEST(SamplerTest, Errors) {
  const auto message = [](const SamplerOptions& options) {
    const absl::Status status = Sampler::Create(options).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    return std::string(status.message());
  };
  EXPECT_EQ(message(Training(10, 11)), "the batch is larger than the data set: 11 of 10 images");
  EXPECT_EQ(message(Training(64, 9, 8, 0)),
            "the batch is larger than a rank's part of the data set: 9 of 8 images (64 on 8 ranks)");
  EXPECT_EQ(message(Training(10, 0)), "batch size 0 is not in 1 to 2147483647");
  EXPECT_EQ(message(Training(10, 1, 2, 2)), "rank 2 of 2 processes: a rank is in 0 to size - 1");
  EXPECT_EQ(message(Training(0, 1)), "the data set has no images");
}

// Numbers of PyTorch 2.11: torch.randperm(n, generator=torch.Generator().manual_seed(seed)).
TEST(TorchPermutationTest, IsPyTorchs) {
  using V = std::vector<int64_t>;
  EXPECT_EQ(TorchPermutation(10, 0), (V{4, 1, 7, 5, 3, 9, 0, 8, 6, 2}));
  EXPECT_EQ(TorchPermutation(10, 7), (V{5, 0, 3, 4, 1, 7, 9, 6, 8, 2}));
  EXPECT_EQ(TorchPermutation(5, (uint64_t{1} << 32) + 5), (V{1, 3, 0, 4, 2}));
  EXPECT_EQ(TorchPermutation(1, 3), (V{0}));
  EXPECT_EQ(TorchPermutation(0, 3), V());
  const V large = TorchPermutation(70000, 9);
  EXPECT_EQ(V(large.begin(), large.begin() + 5), (V{36670, 30551, 16564, 20478, 51786}));
  int64_t sum = 0;
  for (int64_t i = 0; i < 70000; ++i) sum += i * large[i];
  EXPECT_EQ(sum, 85787942661040);
}

// torch.utils.data.DistributedSampler over 11 images on 3 ranks, epoch 4.
TEST(SamplerTest, ReferenceOrderIsDistributedSamplers) {
  const std::vector<std::vector<int64_t>> expected = {{10, 8, 0, 2}, {5, 1, 4, 9}, {6, 7, 3, 10}};
  for (int rank = 0; rank < 3; ++rank) {
    SamplerOptions options;
    options.dataset_size = 11;
    options.batch_size = 4;
    options.world_size = 3;
    options.rank = rank;
    options.seed = 123;  // Plays no part.
    options.order = SampleOrder::kReference;
    auto sampler = Sampler::Create(options);
    ASSERT_TRUE(sampler.ok()) << sampler.status();
    sampler->SetEpoch(4);
    std::vector<int64_t> indices;
    sampler->Batch(0, &indices);
    EXPECT_EQ(indices, expected[rank]);
  }
}

}  // namespace
}  // namespace tec
