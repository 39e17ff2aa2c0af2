#include "eval/report/patch_maps.h"

#include <cmath>

#include "ATen/ATen.h"
#include "data/image/decode.h"
#include "gtest/gtest.h"

namespace tec {
namespace {

// Reproducible, without the generator of LibTorch. The square: sines of equal steps are a matrix of rank 2.
at::Tensor Wave(int64_t rows, int64_t columns, double step) {
  return at::sin(at::arange(rows * columns, at::kDouble).square() * step).view({rows, columns});
}

TEST(PatchMapsTest, HeatMapIsDarkToBright) {
  const auto image = DecodeImage(HeatMapPng(at::tensor({0.0, 1.0, 2.0, 4.0})));
  ASSERT_TRUE(image.ok()) << image.status();
  ASSERT_EQ(image->height(), 2);
  ASSERT_EQ(image->width(), 2);
  // viridis' ends, its quarter and its middle.
  EXPECT_EQ(image->at(0, 0, 0), 68);
  EXPECT_EQ(image->at(0, 0, 2), 84);
  EXPECT_EQ(image->at(0, 1, 1), 81);
  EXPECT_EQ(image->at(1, 0, 1), 144);
  EXPECT_EQ(image->at(1, 1, 0), 253);
  EXPECT_TRUE(DecodeImage(HeatMapPng(at::zeros({9}))).ok());
}

TEST(PatchMapsTest, ColoursAreKept) {
  const auto image = DecodeImage(ColoursPng(at::tensor({0.0, 0.5, 1.0}).expand({4, 3})));
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_EQ(image->at(1, 1, 0), 0);
  EXPECT_EQ(image->at(1, 1, 1), 128);
  EXPECT_EQ(image->at(1, 1, 2), 255);
}

TEST(PatchMapsTest, PrincipalComponentsFindTheDirections) {
  // Variance 9, 4 and 1 along known directions of five, and none elsewhere.
  const at::Tensor basis = std::get<0>(at::linalg_qr(Wave(5, 3, 0.7)));
  at::Tensor coordinates = Wave(200, 3, 1.3);
  coordinates = std::get<0>(at::linalg_qr(coordinates - coordinates.mean(0)));
  const at::Tensor features = (coordinates * at::tensor({9.0, 4.0, 1.0})).mm(basis.t()) + 5;
  const PrincipalComponents components = PrincipalComponentsOf(features);
  const at::Tensor cosines = components.directions.t().mm(basis).abs();
  EXPECT_TRUE(at::allclose(cosines, at::eye(3, at::kDouble), 0, 1e-9)) << cosines;
  EXPECT_TRUE(at::allclose(Project(components, features).square().sum(0), at::tensor({81.0, 16.0, 1.0}), 0, 1e-9));
  EXPECT_GT(components.directions.max().item<double>(), -components.directions.min().item<double>() - 1e-12);
}

TEST(PatchMapsTest, RotationUndoesARotation) {
  const at::Tensor reference = Wave(50, 3, 0.9);
  const at::Tensor rotation = std::get<0>(at::linalg_qr(Wave(3, 3, 2.1)));
  const at::Tensor turned = reference.mm(rotation);
  EXPECT_TRUE(at::allclose(turned.mm(RotationTo(reference, turned)), reference, 0, 1e-12));
}

TEST(PatchMapsTest, ColoursLieBetweenZeroAndOne) {
  const at::Tensor colours = ColoursOf(Wave(100, 3, 0.37) * 40 - 7);
  EXPECT_EQ(colours.min().item<double>(), 0);
  EXPECT_EQ(colours.max().item<double>(), 1);
  EXPECT_TRUE(ColoursOf(at::ones({10, 3}, at::kDouble)).isfinite().all().item<bool>());
}

TEST(PatchMapsTest, RankMeCountsDirections) {
  // Three equal singular values out of ten: the entropy is that of three, but for the 1e-7 added to each of ten.
  const at::Tensor orthogonal = std::get<0>(at::linalg_qr(Wave(40, 3, 1.1)));
  const at::Tensor features = at::cat({orthogonal, at::zeros({40, 7}, at::kDouble)}, 1);
  EXPECT_NEAR(RankMe(features), 3, 1e-4);
  EXPECT_NEAR(RankMe(at::ones({40, 10}, at::kDouble)), 1, 1e-3);
}

TEST(PatchMapsTest, DeviationTellsCollapse) {
  EXPECT_NEAR(FeatureDeviation(at::ones({20, 8}, at::kDouble)), 0, 1e-12);
  // +e_i and -e_i for each axis: each column is 2 of 2C rows +-1, unbiased variance 2 / (2C - 1).
  const int64_t c = 8;
  const at::Tensor axes = at::cat({at::eye(c, at::kDouble), -at::eye(c, at::kDouble)}) * 3;
  EXPECT_NEAR(FeatureDeviation(axes), std::sqrt(2.0 / (2 * c - 1)) * std::sqrt(double(c)), 1e-12);
}

}  // namespace
}  // namespace tec
