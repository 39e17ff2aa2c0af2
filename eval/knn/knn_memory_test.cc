// A bank on disk, larger than what comparing it may take.

#include <sys/resource.h>

#include <cstdint>
#include <vector>

#include "ATen/ATen.h"
#include "eval/features/feature_store.h"
#include "eval/knn/knn_classifier.h"
#include "eval/testing/program.h"
#include "gtest/gtest.h"

namespace tec {
namespace {

constexpr int64_t kRows = 98304, kWidth = 768;  // 288 MiB.

// The largest resident size so far, in MiB.
int64_t PeakMiB() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss / 1024;  // Linux counts in KiB.
}

// Rows [begin, begin + count): unlike each other.
at::Tensor Rows(int64_t begin, int64_t count) {
  const at::Tensor row = at::arange(begin, begin + count, at::kFloat).unsqueeze(1);
  return (row * at::arange(1, kWidth + 1, at::kFloat) * 1e-3).sin();
}

TEST(KnnMemoryTest, ABankOnDiskIsNeverHeldAtOnce) {
  absl::StatusOr<FeatureStore> store = FeatureStore::Open(testing::FreshFolder("bank"), kRows, kWidth, 1024);
  ASSERT_TRUE(store.ok()) << store.status();
  for (int64_t begin = 0; begin < kRows; begin += 1024) {
    ASSERT_TRUE(store->Append(Rows(begin, 1024), at::arange(begin, begin + 1024, at::kLong).remainder(7), 1024).ok());
  }
  ASSERT_TRUE(store->Flush().ok());
  ASSERT_TRUE(store->complete());

  KnnOptions options;
  options.k = {1};
  options.bank_block = 4096;
  const std::vector<int64_t> own = {5, 50000, kRows - 1};
  const at::Tensor index = at::tensor(own, at::kLong);
  const at::Tensor queries = at::cat({Rows(own[0], 1), Rows(own[1], 1), Rows(own[2], 1)});
  absl::StatusOr<KnnStream> knn = KnnStream::Create(queries, index.remainder(7), 7, options);
  ASSERT_TRUE(knn.ok()) << knn.status();
  const int64_t before = PeakMiB();
  ASSERT_TRUE(
      store->Read([&](const at::Tensor& values, const at::Tensor& labels) { return knn->AddBank(values, labels); })
          .ok());
  const absl::StatusOr<std::vector<KnnAccuracy>> accuracy = knn->Finish();
  // A part of the file, 24 MiB, three forms of a block of 12 MiB, and what the matrix product packs: not half the bank.
  EXPECT_LE(PeakMiB() - before, kRows * kWidth * 4 / 1048576 / 2);
  ASSERT_TRUE(accuracy.ok()) << accuracy.status();
  EXPECT_EQ(knn->bank_size(), kRows);
  EXPECT_EQ(accuracy->front().top1, 100);  // Each finds itself.
}

}  // namespace
}  // namespace tec
