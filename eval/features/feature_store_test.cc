// Stopping and going on, and what is done about parts that are not whole.

#include "eval/features/feature_store.h"

#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "ATen/ATen.h"
#include "eval/features/pretrained.h"
#include "eval/testing/tiny.h"
#include "gtest/gtest.h"
#include "tec/base/file.h"
#include "tec/base/file_operations.h"
#include "tec/base/power_failure.h"

namespace tec {
namespace {

constexpr int64_t kWidth = 16;  // Of the tiny encoder.

class FeatureStoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    testing::WriteTecCheckpoint(folder_ + "/tec.pth", /*mlp_token=*/true);
    absl::StatusOr<Pretrained> pretrained = ReadPretrained(folder_ + "/tec.pth");
    ASSERT_TRUE(pretrained.ok()) << pretrained.status();
    encoder_ = *MakeEncoder(*pretrained);
    testing::WritePictures(folder_ + "/data", {"ant", "bee"}, 11, 1);
    ASSERT_TRUE(WriteFile(folder_ + "/data/ant/1.png", "no picture").ok());
    data_ = *OpenDataset(folder_ + "/data", Split::kWhole);
    options_.batch_size = 4;
    options_.max_bad_fraction = 1;
    expected_ = *ExtractFeatures(*encoder_, data_, options_);
    ASSERT_EQ(expected_.values.size(0), 21);
  }

  FeatureStore Open(int64_t batch_size = 4) {
    absl::StatusOr<FeatureStore> store = FeatureStore::Open(folder_ + "/store", data_->size(), kWidth, batch_size);
    EXPECT_TRUE(store.ok()) << store.status();
    return *std::move(store);
  }

  // Runs `batches` more batches and is stopped then.
  void Extract(int batches) {
    FeatureOptions options = options_;
    int asked = 0;
    options.stop = [&] { return asked++ >= batches; };
    FeatureStore store = Open();
    const absl::Status status = ExtractStored(*encoder_, data_, options, &store).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kCancelled) << status;
  }

  void ExpectWhole(const FeatureStore& opened) {
    FeatureStore store = opened;
    const absl::StatusOr<Features> features = ExtractStored(*encoder_, data_, options_, &store);
    ASSERT_TRUE(features.ok()) << features.status();
    EXPECT_TRUE(at::equal(features->values, expected_.values));
    EXPECT_TRUE(at::equal(features->labels, expected_.labels));
    EXPECT_EQ(features->unreadable, 1);
  }

  const std::string folder_ = testing::FreshFolder("store");
  std::shared_ptr<Encoder> encoder_;
  std::shared_ptr<const Dataset> data_;
  FeatureOptions options_;
  Features expected_;
};

TEST_F(FeatureStoreTest, GoesOnWhereItWasStopped) {
  int64_t encoded = 0;
  options_.progress = [&](int64_t, int64_t) { ++encoded; };
  Extract(2);
  EXPECT_EQ(Open().images(), 8);
  EXPECT_EQ(Open().unreadable(), 1);
  Extract(1);
  EXPECT_EQ(Open().images(), 12);
  EXPECT_EQ(encoded, 3);
  ExpectWhole(Open());
  EXPECT_EQ(encoded, 6);  // Every batch once.
  EXPECT_TRUE(Open().complete());
  ExpectWhole(Open());
  EXPECT_EQ(encoded, 6);

  // One part after the other, for those who cannot hold all.
  std::vector<at::Tensor> values, labels;
  options_.sink = [&](const at::Tensor& part_values, const at::Tensor& part_labels, int64_t) {
    values.push_back(part_values.clone());
    labels.push_back(part_labels.clone());
    return absl::OkStatus();
  };
  FeatureStore store = Open();
  const absl::StatusOr<Features> given = ExtractStored(*encoder_, data_, options_, &store);
  ASSERT_TRUE(given.ok()) << given.status();
  EXPECT_FALSE(given->values.defined());
  EXPECT_EQ(values.size(), 3u);
  EXPECT_TRUE(at::equal(at::cat(values), expected_.values));
  EXPECT_TRUE(at::equal(at::cat(labels), expected_.labels));
  options_.stop = [&] { return values.size() == 4; };
  EXPECT_EQ(ExtractStored(*encoder_, data_, options_, &store).status().code(), absl::StatusCode::kCancelled);
}

TEST_F(FeatureStoreTest, PartsThatAreNotWholeAreComputedAgain) {
  Extract(2);
  Extract(2);
  const std::string second = folder_ + "/store/images-000000008.safetensors";
  absl::StatusOr<std::string> bytes = ReadFile(second);
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  EXPECT_EQ(Open().images(), 16);

  for (const std::string& damaged : {bytes->substr(0, bytes->size() - 1), std::string("{}"), std::string()}) {
    ASSERT_TRUE(WriteFile(second, damaged).ok());
    EXPECT_EQ(Open().images(), 8);
  }
  ExpectWhole(Open());

  // Another set's features under this name: more images than are left, or another width.
  std::filesystem::copy_file(second, folder_ + "/store/images-000000000.safetensors",
                             std::filesystem::copy_options::overwrite_existing);
  const absl::StatusOr<FeatureStore> narrow = FeatureStore::Open(folder_ + "/store", data_->size(), kWidth - 1, 4);
  ASSERT_TRUE(narrow.ok()) << narrow.status();
  EXPECT_EQ(narrow->images(), 0);
  const absl::StatusOr<FeatureStore> few = FeatureStore::Open(folder_ + "/store", 7, kWidth, 4);
  ASSERT_TRUE(few.ok()) << few.status();
  EXPECT_EQ(few->images(), 0);
}

TEST_F(FeatureStoreTest, BeginsWithABatch) {
  Extract(3);
  Extract(1);
  EXPECT_EQ(Open(/*batch_size=*/8).images(), 16);
  EXPECT_EQ(Open(/*batch_size=*/6).images(), 12);
  EXPECT_EQ(Open(/*batch_size=*/5).images(), 0);
}

TEST_F(FeatureStoreTest, SaysThatAPartWentBad) {
  FeatureStore store = Open();
  ASSERT_TRUE(ExtractStored(*encoder_, data_, options_, &store).ok());
  ASSERT_TRUE(WriteFile(folder_ + "/store/images-000000000.safetensors", "").ok());
  EXPECT_EQ(ExtractStored(*encoder_, data_, options_, &store).status().code(), absl::StatusCode::kDataLoss);
}

// Before any call to the system the power goes: what is left is a part of the features to go on from, to the bit.
TEST_F(FeatureStoreTest, APowerFailureLeavesWholeParts) {
  const std::string root = std::filesystem::canonical(folder_).string();
  std::vector<std::string> left;
  {
    PowerFailure disk(root);
    file_operations::SetFaultHook([&](file_operations::Operation) {
      for (const auto names : {PowerFailure::Names::kSynced, PowerFailure::Names::kNewest}) {
        left.push_back(root + ".left" + std::to_string(left.size()));
        EXPECT_TRUE(disk.LeaveIn(left.back(), names).ok());
      }
      return 0;
    });
    Extract(2);
    Extract(1);
    FeatureStore store = Open();
    EXPECT_TRUE(ExtractStored(*encoder_, data_, options_, &store).ok());
    file_operations::SetFaultHook(nullptr);
    left.push_back(root + ".left" + std::to_string(left.size()));
    EXPECT_TRUE(disk.LeaveIn(left.back(), PowerFailure::Names::kSynced).ok());
  }
  ASSERT_GT(left.size(), 30);
  std::set<int64_t> images;
  for (const std::string& copy : left) {
    SCOPED_TRACE(copy);
    absl::StatusOr<FeatureStore> store = FeatureStore::Open(copy + "/store", data_->size(), kWidth, 4);
    ASSERT_TRUE(store.ok()) << store.status();
    images.insert(store->images());
    ExpectWhole(*store);
  }
  EXPECT_EQ(images, (std::set<int64_t>{0, 8, 12, 22}));
}

}  // namespace
}  // namespace tec
