#include "eval/knn/knn_monitor.h"

#include <filesystem>
#include <string>

#include "eval/features/pretrained.h"
#include "eval/testing/tiny.h"
#include "gtest/gtest.h"

namespace tec {
namespace {

TEST(KnnMonitorTest, HeldOutOrLeaveOneOut) {
  const std::string folder = testing::FreshFolder("monitor");
  testing::WritePictures(folder + "/data/train", {"ant", "bee", "cat"}, 8, 1);
  testing::WritePictures(folder + "/data/val", {"ant", "bee", "cat"}, 4, 2);
  testing::WriteTecCheckpoint(folder + "/tec.pth", /*mlp_token=*/true);
  const absl::StatusOr<Pretrained> pretrained = ReadPretrained(folder + "/tec.pth");
  ASSERT_TRUE(pretrained.ok()) << pretrained.status();
  const absl::StatusOr<std::shared_ptr<Encoder>> encoder = MakeEncoder(*pretrained);
  ASSERT_TRUE(encoder.ok()) << encoder.status();

  KnnMonitorOptions options;
  options.data_path = folder + "/data";
  options.k = 3;
  options.encoder = pretrained->encoder;
  options.features.spec = kPoolFeatures;
  for (const std::string expected : {"kNN (k 3) of 12 images by 24", "kNN (k 3) of 24 images by the others",
                                     "kNN (k 3) of 15 images by the others"}) {
    const absl::StatusOr<KnnMonitor> monitor = KnnMonitor::Create(options);
    ASSERT_TRUE(monitor.ok()) << monitor.status();
    EXPECT_EQ(monitor->Describe(), expected);
    const auto result = monitor->Evaluate(**encoder);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ((*result)[0].first, "knn_top1");
    // Stripes of different directions, which even an untrained encoder keeps apart.
    EXPECT_GE((*result)[0].second, 75);
    EXPECT_EQ((*result)[1].second, 100);  // Three classes.
    if (!std::filesystem::exists(folder + "/data/val")) options.max_images = 15;
    std::filesystem::remove_all(folder + "/data/val");
  }
  std::filesystem::remove_all(folder + "/data");
  testing::WritePictures(folder + "/data", {"."}, 2, 1);
  EXPECT_EQ(KnnMonitor::Create(options).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace tec
