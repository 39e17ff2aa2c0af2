// What the goldens do not show (rand_augment_test.cc compares with those): other sizes, down to one pixel, against a
// slow and plain version of Pillow's formulas; arguments at and beyond their ends; texts.

#include "data/augment/augment_op.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>

#include "data/augment/augment_op_reference.h"
#include "data/image/image.h"
#include "data/testing/golden_images.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tec/base/random.h"

namespace tec {
namespace {

using testing::CopyImage;
using ::testing::HasSubstr;

constexpr AugmentStyle kBicubic{Interpolation::kBicubic, {124, 116, 104}};
constexpr AugmentStyle kBilinear{Interpolation::kBilinear, {1, 2, 3}};

Image Noise(int height, int width, uint64_t seed) {
  RandomStream stream(RandomKey{seed, RandomPurpose::kPictures, 0, 0});
  Image image(height, width);
  for (size_t i = 0; i < image.size_bytes(); ++i) image.data()[i] = stream.NextUint32() >> 24;
  return image;
}

Image Apply(const Image& image, AugmentOp op, double argument, const AugmentStyle& style = kBicubic) {
  static AugmentScratch* const scratch = new AugmentScratch;  // One for all sizes.
  Image result = CopyImage(image);
  ApplyAugmentOp(op, argument, style, image.height(), image.width(), scratch, result.data());
  return result;
}

bool SamePixels(const Image& a, const Image& b) {
  return a.height() == b.height() && a.width() == b.width() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

// One value of Pillow's affine transform, all of it in float64 and with the column and row limited one by one.
uint8_t AffineReference(const Image& image, const double (&m)[6], const AugmentStyle& style, int x, int y, int c) {
  double xin = m[0] * (x + 0.5) + m[1] * (y + 0.5) + m[2], yin = m[3] * (x + 0.5) + m[4] * (y + 0.5) + m[5];
  if (xin < 0 || xin >= image.width() || yin < 0 || yin >= image.height()) return style.fill[c];
  xin -= 0.5;
  yin -= 0.5;
  const int left = static_cast<int>(std::floor(xin)), top = static_cast<int>(std::floor(yin));
  const double dx = xin - left, dy = yin - top;
  const auto sample = [&](int row, int column) -> double {
    return image.at(std::clamp(row, 0, image.height() - 1), std::clamp(column, 0, image.width() - 1), c);
  };
  if (style.interpolation == Interpolation::kBilinear) {
    const auto along = [&](int row) { return sample(row, left) + (sample(row, left + 1) - sample(row, left)) * dx; };
    return static_cast<uint8_t>(along(top) + (along(top + 1) - along(top)) * dy);
  }
  const auto cubic = [](double v1, double v2, double v3, double v4, double d) {
    const double p2 = -v1 + v3, p3 = 2 * (v1 - v2) + v3 - v4, p4 = -v1 + v2 - v3 + v4;
    return v2 + d * (p2 + d * (p3 + d * p4));
  };
  const auto along = [&](int row) {
    return cubic(sample(row, left - 1), sample(row, left), sample(row, left + 1), sample(row, left + 2), dx);
  };
  return static_cast<uint8_t>(
      std::clamp(cubic(along(top - 1), along(top), along(top + 1), along(top + 2), dy), 0.0, 255.0));
}

TEST(AugmentOpTest, AffineOperationsEqualThePlainVersion) {
  RandomStream stream(RandomKey{2, RandomPurpose::kRandAugment, 0, 0});
  for (int round = 0; round < 200; ++round) {
    // Every fourth picture is tiny: all of it is border.
    const int most = round % 4 == 0 ? 4 : 60;
    const int height = 1 + stream.UniformInt(most), width = 1 + stream.UniformInt(most);
    const Image image = Noise(height, width, round);
    const AugmentStyle& style = round % 3 == 0 ? kBilinear : kBicubic;
    const double amount = stream.Uniform(-1, 1);
    struct Case {
      AugmentOp op;
      double matrix[6];
    };
    for (const Case& one : {
             Case{AugmentOp::kShearX, {1, amount, 0, 0, 1, 0}},
             Case{AugmentOp::kShearY, {1, 0, 0, amount, 1, 0}},
             Case{AugmentOp::kTranslateX, {1, 0, amount * width, 0, 1, 0}},
             Case{AugmentOp::kTranslateY, {1, 0, 0, 0, 1, amount * height}},
         }) {
      const Image result = Apply(image, one.op, amount, style);
      for (int y = 0; y < height; ++y) {
        for (int x = 0; x < width; ++x) {
          for (int c = 0; c < 3; ++c) {
            ASSERT_EQ(result.at(y, x, c), AffineReference(image, one.matrix, style, x, y, c))
                << AugmentOpName(one.op) << " " << amount << " of " << height << " x " << width << " at " << y << ", "
                << x << ", " << c;
          }
        }
      }
    }
  }
}

TEST(AugmentOpTest, RotateEqualsThePlainVersion) {
  RandomStream stream(RandomKey{3, RandomPurpose::kRandAugment, 0, 0});
  for (int round = 0; round < 60; ++round) {
    const int most = round % 4 == 0 ? 4 : 60;
    const int height = 1 + stream.UniformInt(most), width = 1 + stream.UniformInt(most);
    const Image image = Noise(height, width, round);
    const AugmentStyle& style = round % 3 == 0 ? kBilinear : kBicubic;
    const double degrees = stream.Uniform(-80, 80);
    // Without Pillow's rounding of the matrix to 15 decimals: samples move by 1e-13 of a pixel, and a cut-off fraction
    // can turn by one where it is as near to a whole number as that.
    const double angle = -degrees * M_PI / 180, cos = std::cos(angle), sin = std::sin(angle);
    const double x0 = width / 2.0, y0 = height / 2.0;
    const double matrix[6] = {cos, sin, x0 - cos * x0 - sin * y0, -sin, cos, y0 + sin * x0 - cos * y0};
    const Image result = Apply(image, AugmentOp::kRotate, degrees, style);
    int different = 0;
    for (int y = 0; y < height; ++y) {
      for (int x = 0; x < width; ++x) {
        for (int c = 0; c < 3; ++c) {
          different += result.at(y, x, c) != AffineReference(image, matrix, style, x, y, c);
        }
      }
    }
    // The centre of an odd picture lies on a sample: three values.
    EXPECT_LE(different, 3) << degrees << " of " << height << " x " << width;
  }
}

// Sizes from one pixel on, of which none is a multiple of a vector's; noise over the whole range and over parts of it,
// in which a channel may have a single value.
TEST(AugmentOpTest, OperationsOnValuesEqualThePlainVersion) {
  RandomStream stream(RandomKey{4, RandomPurpose::kRandAugment, 0, 0});
  for (int round = 0; round < 300; ++round) {
    const int most = round % 4 == 0 ? 4 : 90;
    const int height = 1 + stream.UniformInt(most), width = 1 + stream.UniformInt(most);
    Image image = Noise(height, width, round);
    for (int c = 0; c < 3 && round % 3 != 0; ++c) {
      const int range = 1 + stream.UniformInt(200), least = stream.UniformInt(257 - range);
      for (size_t i = c; i < image.size_bytes(); i += 3) image.data()[i] = least + image.data()[i] % range;
    }
    for (int i = 0; i < kAugmentOps; ++i) {
      const auto op = static_cast<AugmentOp>(i);
      double argument = stream.Uniform(-0.5, 2.5);
      if (op == AugmentOp::kPosterize) argument = stream.UniformInt(9);
      if (op == AugmentOp::kSolarize) argument = stream.UniformInt(257);
      if (op == AugmentOp::kSolarizeAdd) argument = static_cast<int>(stream.UniformInt(300)) - 100;
      if (op == AugmentOp::kRotate || op == AugmentOp::kShearX || op == AugmentOp::kShearY ||
          op == AugmentOp::kTranslateX || op == AugmentOp::kTranslateY) {
        continue;  // Above.
      }
      ASSERT_TRUE(SamePixels(Apply(image, op, argument), AugmentOpReference(image, op, argument)))
          << AugmentOpName(op) << " " << argument << " of " << height << " x " << width << ", round " << round;
    }
  }
}

TEST(AugmentOpTest, AFullTurnIsNothing) {
  const Image image = Noise(7, 9, 1);
  EXPECT_TRUE(SamePixels(Apply(image, AugmentOp::kRotate, 0), image));
  EXPECT_TRUE(SamePixels(Apply(image, AugmentOp::kRotate, -360), image));
  EXPECT_FALSE(SamePixels(Apply(image, AugmentOp::kRotate, 10), image));
}

TEST(AugmentOpTest, FarAwayIsFill) {
  const Image image = Noise(5, 6, 1);
  for (const double amount : {-1.5, 1.0, 3e9}) {
    const Image result = Apply(image, AugmentOp::kTranslateX, amount);
    for (int x = 0; x < 6; ++x) EXPECT_EQ(result.at(2, x, 1), 116) << amount;
  }
}

// Pillow's own float32 sum of SMOOTH, for every sum there is: middle and neighbours.
TEST(AugmentOpTest, SmoothingRoundsAsFloatsDo) {
  for (int centre = 0; centre <= 255; ++centre) {
    for (int around = 0; around <= 255; around += 5) {
      Image image(3, 3);
      std::memset(image.data(), around, image.size_bytes());
      image.row(1)[3] = static_cast<uint8_t>(centre);
      const float one = 1.0F / 13, five = 5.0F / 13;
      const float a = static_cast<float>(around), m = static_cast<float>(centre);
      float sum = 0.5F;
      sum += a * one + a * one + a * one;
      sum += a * one + m * five + a * one;
      sum += a * one + a * one + a * one;
      const Image result = Apply(image, AugmentOp::kSharpness, 0);
      ASSERT_EQ(result.at(1, 1, 0), static_cast<uint8_t>(sum)) << centre << " " << around;
      ASSERT_EQ(result.at(0, 1, 0), around);
    }
  }
}

TEST(AugmentOpTest, AFactorOfOneIsNothing) {
  for (const int size : {1, 2, 3, 40}) {
    const Image image = Noise(size, size + 1, size);
    for (const AugmentOp op :
         {AugmentOp::kColor, AugmentOp::kContrast, AugmentOp::kBrightness, AugmentOp::kSharpness}) {
      EXPECT_TRUE(SamePixels(Apply(image, op, 1), image)) << AugmentOpName(op) << size;
    }
  }
}

TEST(AugmentOpTest, ArgumentsAtTheirEnds) {
  Image image(1, 3);
  const uint8_t values[9] = {0, 1, 100, 127, 128, 200, 254, 255, 77};
  std::memcpy(image.data(), values, 9);
  const auto expect = [&](AugmentOp op, double argument, const std::function<int(int)>& f) {
    const Image result = Apply(image, op, argument);
    for (int i = 0; i < 9; ++i) {
      EXPECT_EQ(result.data()[i], f(values[i])) << AugmentOpName(op) << " " << argument << " " << int{values[i]};
    }
  };
  const auto same = [](int v) { return v; };
  const auto inverted = [](int v) { return 255 - v; };
  expect(AugmentOp::kPosterize, 0, [](int) { return 0; });
  expect(AugmentOp::kPosterize, 1, [](int v) { return v < 128 ? 0 : 128; });
  expect(AugmentOp::kPosterize, 8, same);
  expect(AugmentOp::kSolarize, 256, same);
  expect(AugmentOp::kSolarize, 255, [](int v) { return v == 255 ? 0 : v; });
  expect(AugmentOp::kSolarize, 0, inverted);
  expect(AugmentOp::kInvert, 0, inverted);
  expect(AugmentOp::kSolarizeAdd, 0, same);
  expect(AugmentOp::kSolarizeAdd, 110, [](int v) { return v < 128 ? v + 110 : v; });
  expect(AugmentOp::kSolarizeAdd, 200, [](int v) { return v < 128 ? std::min(255, v + 200) : v; });
  expect(AugmentOp::kBrightness, 0, [](int) { return 0; });
  expect(AugmentOp::kBrightness, 2, [](int v) { return std::min(255, 2 * v); });
}

TEST(AugmentOpTest, FlatPicturesStayFlat) {
  Image image(20, 30);
  for (size_t i = 0; i < image.size_bytes(); ++i) image.data()[i] = i % 3 == 0 ? 10 : 200;
  for (const AugmentOp op : {AugmentOp::kAutoContrast, AugmentOp::kEqualize}) {
    EXPECT_TRUE(SamePixels(Apply(image, op, 0), image)) << AugmentOpName(op);
  }
}

TEST(AugmentStepsTest, TextGoesBothWays) {
  const std::vector<AugmentStep> steps = {
      {AugmentOp::kRotate, -27.1}, {AugmentOp::kInvert, 0}, {AugmentOp::kColor, 1.0 / 3}};
  const std::string text = AugmentStepsToText(steps);
  const auto back = ParseAugmentSteps(text);
  ASSERT_TRUE(back.ok()) << back.status();
  ASSERT_EQ(back->size(), steps.size());
  for (size_t i = 0; i < steps.size(); ++i) {
    EXPECT_EQ((*back)[i].op, steps[i].op);
    EXPECT_EQ((*back)[i].argument, steps[i].argument);
  }
  EXPECT_EQ(AugmentStepsToText({}), "none");
  EXPECT_TRUE(ParseAugmentSteps("none")->empty());
  EXPECT_EQ((*ParseAugmentSteps(" PosterizeIncreasing(1) "))[0].op, AugmentOp::kPosterize);
}

TEST(AugmentStepsTest, SaysWhatIsWrong) {
  for (const char* text : {"Twirl(3)", "Rotate", "Invert(1)", "Rotate(", "Rotate(3", "Rotate(x)", "Rotate(nan)",
                           "Rotate(1),", "Rotate(1) Invert"}) {
    EXPECT_EQ(ParseAugmentSteps(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
  EXPECT_THAT(std::string(ParseAugmentSteps("Rotate").status().message()), HasSubstr("a number in brackets"));
}

}  // namespace
}  // namespace tec
