#include "data/pictures/made_pictures.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdlib>
#include <vector>

#include "data/dataset/dataset.h"
#include "data/image/decode.h"
#include "tec/base/file.h"

namespace tec {
namespace {

constexpr PictureOptions kOptions{.train_images = 30, .test_images = 14, .size = 64, .seed = 3};

std::string Folder() {
  std::string pattern = ::testing::TempDir() + "/picturesXXXXXX";
  return mkdtemp(pattern.data());
}

std::vector<uint8_t> Pixels(const Image& image) { return {image.data(), image.data() + image.size_bytes()}; }

TEST(MadePicturesTest, APictureDependsOnSeedSplitAndIndexAlone) {
  const std::vector<uint8_t> picture = Pixels(DrawPicture(kOptions, PictureSplit::kTrain, 5));
  EXPECT_EQ(picture, Pixels(DrawPicture(kOptions, PictureSplit::kTrain, 5)));
  EXPECT_NE(picture, Pixels(DrawPicture(kOptions, PictureSplit::kTrain, 5 + PictureClasses().size())));
  EXPECT_NE(picture, Pixels(DrawPicture(kOptions, PictureSplit::kTest, 5)));
  PictureOptions other = kOptions;
  other.seed = 4;
  EXPECT_NE(picture, Pixels(DrawPicture(other, PictureSplit::kTrain, 5)));
}

TEST(MadePicturesTest, ThereAreAtLeastTenClassesInTheOrderOfFolders) {
  EXPECT_GE(PictureClasses().size(), 10u);
  EXPECT_TRUE(std::is_sorted(PictureClasses().begin(), PictureClasses().end()));
}

// Shape must be the only clue: a classifier that knows the true class means of brightness and of each colour channel
// must do no better than chance. With n pictures the number of hits of a guesser is binomial with p = 1/classes.
TEST(MadePicturesTest, ColourAndBrightnessDoNotGiveTheClassAway) {
  const int classes = PictureClasses().size(), per_class = 120, n = classes * per_class;
  using Means = std::array<double, 3>;
  std::vector<Means> pictures(n);
  std::vector<Means> centre(classes, Means{});
  for (int i = 0; i < n; ++i) {
    const Image image = DrawPicture(kOptions, PictureSplit::kTrain, i);
    for (size_t j = 0; j < image.size_bytes(); ++j) pictures[i][j % 3] += image.data()[j] / (64.0 * 64.0);
    // Centres from the first half, guesses on the second: no peeking.
    for (int c = 0; c < 3 && i < n / 2; ++c) centre[PictureLabel(i)][c] += pictures[i][c] / (per_class / 2);
  }
  int hits = 0;
  for (int i = n / 2; i < n; ++i) {
    int best = 0;
    double best_distance = INFINITY;
    for (int k = 0; k < classes; ++k) {
      double distance = 0;
      for (int c = 0; c < 3; ++c) distance += std::pow(pictures[i][c] - centre[k][c], 2);
      if (distance < best_distance) best = k, best_distance = distance;
    }
    hits += best == PictureLabel(i);
  }
  const double chance = 1.0 / classes, draws = n / 2;
  EXPECT_LT(hits, draws * chance + 5 * std::sqrt(draws * chance * (1 - chance)));
}

// The shapes are brighter than the ground by more than textures and slopes take: a mask in the wrong place would show.
TEST(MadePicturesTest, MasksLieOnTheShapes) {
  for (int64_t i = 0; i < 24; ++i) {
    const Image picture = DrawPicture(kOptions, PictureSplit::kTest, i),
                mask = DrawMask(kOptions, PictureSplit::kTest, i);
    double sum[2] = {}, count[2] = {};
    for (int y = 0; y < picture.height(); ++y) {
      for (int x = 0; x < picture.width(); ++x) {
        const int number = mask.at(y, x, 0);
        ASSERT_TRUE(number == 0 || number == 1 + PictureLabel(i)) << number;
        for (int c = 0; c < 3; ++c) sum[number != 0] += picture.at(y, x, c);
        count[number != 0] += 3;
      }
    }
    // Four shapes of 0.16 to 0.36 of a quarter each, less what lies before them.
    EXPECT_GT(count[1] / (count[0] + count[1]), 0.1) << i;
    EXPECT_LT(count[1] / (count[0] + count[1]), 0.4) << i;
    EXPECT_GT(sum[1] / count[1], sum[0] / count[0] + 15) << i;
  }
}

TEST(MadePicturesTest, WritesClassFoldersOfJpegsAndLeavesFinishedOnesAlone) {
  const std::string folder = Folder() + "/pictures";
  int64_t last = 0;
  ASSERT_TRUE(WritePictures(kOptions, folder, [&](int64_t done) { last = done; }).ok());
  const auto train = OpenDataset(folder, Split::kTrain), test = OpenDataset(folder, Split::kHeldOut);
  ASSERT_TRUE(train.ok()) << train.status();
  ASSERT_TRUE(test.ok()) << test.status();
  EXPECT_EQ((*train)->size(), 30);
  EXPECT_EQ((*test)->size(), 14);
  EXPECT_EQ((*train)->classes(), PictureClasses());
  const auto decoded = DecodeImage(*(*train)->Read(0));
  ASSERT_TRUE(decoded.ok());
  // JPEG at quality 90 keeps a picture recognisable: the mean error stays below a few levels.
  const Image drawn = DrawPicture(kOptions, PictureSplit::kTrain, 0);
  double error = 0;
  for (size_t i = 0; i < drawn.size_bytes(); ++i) error += std::abs(drawn.data()[i] - decoded->data()[i]);
  EXPECT_LT(error / drawn.size_bytes(), 8);

  const std::string path = folder + "/train/" + (*train)->name(0).substr((*train)->name(0).find("bar"));
  ASSERT_TRUE(WriteFile(path, "changed").ok());
  ASSERT_TRUE(WritePictures(kOptions, folder).ok());
  EXPECT_EQ(*ReadFile(path), "changed");

  PictureOptions other = kOptions;
  other.seed = 4;
  EXPECT_EQ(WritePictures(other, folder).code(), absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace tec
