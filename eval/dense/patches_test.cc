// Patches, votes and colours against the plain way of computing them.

#include "eval/dense/patches.h"

#include <string>
#include <vector>

#include "ATen/ATen.h"
#include "data/image/decode.h"
#include "eval/dense/knn_segmentation.h"
#include "eval/dense/overlays.h"
#include "eval/testing/program.h"
#include "gtest/gtest.h"
#include "tec/base/file.h"

namespace tec {
namespace {

TEST(PatchesTest, MasksToPatchesAndBack) {
  const at::Tensor masks = at::arange(0, 2 * 6 * 6, at::kLong).remainder(251).to(at::kByte).view({2, 6, 6});
  const at::Tensor patches = PatchesOf(masks, 3);
  ASSERT_EQ(patches.sizes(), (at::IntArrayRef{2, 4, 9}));
  // The second patch of the first row: columns 3 to 5.
  EXPECT_TRUE(at::equal(patches[0][1], masks[0].slice(0, 0, 3).slice(1, 3, 6).reshape({9})));
  EXPECT_TRUE(at::equal(patches[1][2], masks[1].slice(0, 3, 6).slice(1, 0, 3).reshape({9})));
  EXPECT_TRUE(at::equal(MasksOf(patches, 3), masks));
}

TEST(PatchesTest, TheSmallestOfTheMostFrequent) {
  const at::Tensor numbers = at::tensor({9, 3, 3, 9, 255, 7, 7, 255, 1, 7}, at::kByte).view({2, 5});
  EXPECT_TRUE(at::equal(MostFrequent(numbers), at::tensor({3, 7}, at::kByte)));
}

TEST(KnnSegmentationTest, VotesOfTheNearestPatches) {
  const at::Tensor bank = at::arange(0, 40 * 5, at::kFloat).mul(0.71).sin().view({40, 5}) *
                          at::arange(1, 41, at::kFloat).view({40, 1});  // Lengths differ: so do the distances.
  const at::Tensor labels = at::arange(0, 40 * 4, at::kLong).mul(7).remainder(5).to(at::kByte).view({40, 4});
  const at::Tensor queries = at::arange(0, 300 * 5, at::kFloat).mul(0.37).cos().view({300, 5}) * 9;
  const std::vector<int64_t> ks = {7, 1, 3, 100};
  for (const PatchDistance distance : {PatchDistance::kCosine, PatchDistance::kL2}) {
    const at::Tensor distances =
        distance == PatchDistance::kL2
            ? at::cdist(queries.to(at::kDouble), bank.to(at::kDouble))
            : 1 - at::matmul(queries / queries.norm(2, {1}, true), (bank / bank.norm(2, {1}, true)).t());
    const at::Tensor order = distances.argsort(int64_t{1}, /*descending=*/false);
    const std::vector<at::Tensor> predicted = KnnSegmentation(bank, labels, distance, ks).Predict(queries);
    for (size_t i = 0; i < ks.size(); ++i) {
      const int64_t k = std::min<int64_t>(ks[i], 40);
      const at::Tensor votes = labels.index_select(0, order.slice(1, 0, k).reshape({-1})).view({300, k, 4});
      const at::Tensor expected = MostFrequent(votes.permute({0, 2, 1}).reshape({-1, k})).view({300, 4});
      EXPECT_TRUE(at::equal(predicted[i], expected)) << ks[i];
    }
  }
}

TEST(OverlaysTest, ColoursOverThePicture) {
  EXPECT_EQ(MaskColour(0), (std::array<uint8_t, 3>{0, 0, 0}));
  EXPECT_EQ(MaskColour(1), (std::array<uint8_t, 3>{128, 0, 0}));
  EXPECT_EQ(MaskColour(15), (std::array<uint8_t, 3>{192, 128, 128}));  // VOC's person.
  EXPECT_EQ(MaskColour(255), (std::array<uint8_t, 3>{224, 224, 192}));
  const at::Tensor pixels = at::full({2, 3, 3}, 100, at::kByte);
  const at::Tensor mask = at::tensor({0, 1, 1, 255, 15, 15}, at::kByte).view({2, 3});
  const auto image = DecodeImage(OverlaysPng(pixels, {mask}, {255}));
  ASSERT_TRUE(image.ok()) << image.status();
  ASSERT_EQ(image->width(), 6);
  ASSERT_EQ(image->height(), 2);
  EXPECT_EQ(image->at(0, 2, 0), 100);
  EXPECT_EQ(image->at(0, 3, 0), 50);
  EXPECT_EQ(image->at(0, 4, 0), 114);
  EXPECT_EQ(image->at(1, 3, 0), 100);  // Ignored: the picture.
  EXPECT_EQ(image->at(1, 5, 1), 114);
}

TEST(OverlayWriterTest, EvenlySpacedPicturesInAFolder) {
  const std::string folder = testing::FreshFolder("overlays");
  for (const int64_t images : {1, 3, 7, 8, 9, 100}) {
    int wanted = 0;
    const OverlayWriter writer(folder, images, 8, {"picture"}, {});
    for (int64_t i = 0; i < images; ++i) wanted += writer.Wants(i);
    EXPECT_EQ(wanted, std::min<int64_t>(8, images)) << images;
    EXPECT_TRUE(writer.Wants(0));
  }
  OverlayWriter writer(folder, 4, 2, {"picture", "mask"}, {});
  const at::Tensor pixels = at::zeros({2, 2, 3}, at::kByte), mask = at::zeros({2, 2}, at::kByte);
  for (int64_t i = 0; i < 4; ++i) ASSERT_TRUE(writer.Add(i, "p", pixels, {mask}).ok());
  EXPECT_EQ(writer.ToJson().at("files").size(), 2);
  EXPECT_EQ(writer.ToJson().at("files")[1].at("file"), "pictures/00002.png");
  EXPECT_TRUE(ReadFile(folder + "/pictures/00002.png").ok());
  EXPECT_FALSE(OverlayWriter("", 4, 2, {}, {}).Wants(0));
}

}  // namespace
}  // namespace tec
