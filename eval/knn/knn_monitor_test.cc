#include "eval/knn/knn_monitor.h"

#include <filesystem>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "eval/features/pretrained.h"
#include "eval/testing/tiny.h"
#include "gtest/gtest.h"
#include "tec/base/file.h"
#include "tec/dist/forked_ranks.h"

namespace tec {
namespace {

// First: the ranks are forked from a process that has not used LibTorch's threads.
TEST(KnnMonitorTest, RanksFindWhatOneFinds) {
  const std::string folder = testing::FreshFolder("monitor_ranks");
  testing::WritePictures(folder + "/data/train", {"ant", "bee", "cat"}, 9, 1);
  testing::WritePictures(folder + "/data/val", {"ant", "bee", "cat"}, 5, 2);
  // Unreadable ones on two ranks.
  for (const char* name : {"ant/0", "bee/3"}) {
    ASSERT_TRUE(WriteFile(absl::StrCat(folder, "/data/train/", name, ".png"), "no picture").ok());
  }
  const auto evaluate = [&folder](ProcessGroup& group) -> std::string {
    testing::WriteTecCheckpoint(absl::StrCat(folder, "/tec", group.rank(), ".pth"), /*mlp_token=*/true);
    const auto pretrained = ReadPretrained(absl::StrCat(folder, "/tec", group.rank(), ".pth"));
    const auto encoder = MakeEncoder(*pretrained);
    KnnMonitorOptions options;
    options.data_path = folder + "/data";
    options.k = 3;
    options.encoder = pretrained->encoder;
    options.features.spec = kPoolFeatures;
    options.features.batch_size = 4;
    options.features.max_bad_fraction = 0.1;
    const auto monitor = KnnMonitor::Create(options);
    const auto alone = monitor->Evaluate(**encoder), shared = monitor->Evaluate(**encoder, &group);
    if (!alone.ok() || !shared.ok()) return absl::StrCat(alone.status().ToString(), shared.status().ToString());
    if (group.rank() == 0 ? *shared != *alone : !shared->empty()) return "other numbers than of one rank";
    // Two unreadable images are too many for one in a hundred: an error on every rank, which leaves the ranks together.
    options.features.max_bad_fraction = 0.01;
    const auto failed = KnnMonitor::Create(options)->Evaluate(**encoder, &group);
    if (!absl::IsDataLoss(failed.status()) ||
        !absl::StrContains(failed.status().message(), "2 of 27 images cannot be read; at most 1 ") ||
        !absl::StrContains(failed.status().message(), "ant/0.png: not an image") ||
        !absl::StrContains(failed.status().message(), "bee/3.png: not an image")) {
      return failed.status().ToString();
    }
    // And other images on one rank, which would have them wait for one another.
    options.features.max_bad_fraction = 1;
    options.max_images = group.rank() == 1 ? 9 : 0;
    const auto other = KnnMonitor::Create(options)->Evaluate(**encoder, &group);
    if (!absl::IsInvalidArgument(other.status())) return other.status().ToString();
    return group.Agree(absl::OkStatus()).ToString() == "OK" ? "" : "the ranks are apart";
  };
  for (const int ranks : {2, 3}) testing::RunRanks(ranks, evaluate);
}

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
