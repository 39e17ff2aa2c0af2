#include "tools/goldens/comparison.h"

#include <cmath>
#include <limits>

#include "gtest/gtest.h"

namespace tec {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN(), kInfinity = std::numeric_limits<double>::infinity();
const GoldenTolerance kAbsolute = GoldenTolerance::Absolute(1e-3);

TensorView Matrix(const std::vector<float>& values) {
  return TensorView::FromFloats({2, static_cast<int64_t>(values.size()) / 2}, values);
}

TEST(CompareTensorsTest, TellsTheLargestErrorAndItsPlace) {
  const GoldenRow row = CompareTensors(Matrix({1, 2, 3, 4.5}), Matrix({1, 2.0005, 3, 4}), kAbsolute);
  EXPECT_FALSE(row.pass);
  EXPECT_EQ(row.absolute, 0.5);
  EXPECT_EQ(row.relative, 0.125);
  EXPECT_EQ(row.where, "1 of 4 wrong, worst at [1, 1]: 4.5, not 4");
  EXPECT_EQ(row.tolerance, "0.001");
  const GoldenRow near = CompareTensors(Matrix({1, 2, 3, 4}), Matrix({1, 2.0005, 3, 4}), kAbsolute);
  EXPECT_TRUE(near.pass);
  EXPECT_EQ(near.where, "[0, 1]: 2, not 2.00049996");
}

TEST(CompareTensorsTest, ANanFailsOnEitherSide) {
  const float nan = static_cast<float>(kNan);
  for (const GoldenTolerance& tolerance :
       {kAbsolute, GoldenTolerance::Relative(1), GoldenTolerance::Direction(0.1), GoldenTolerance::Bits()}) {
    EXPECT_FALSE(CompareTensors(Matrix({nan, 2}), Matrix({1, 2}), tolerance).pass);
    EXPECT_FALSE(CompareTensors(Matrix({1, 2}), Matrix({nan, 2}), tolerance).pass);
  }
  EXPECT_FALSE(CompareTensors(Matrix({nan, 2}), Matrix({nan, 2}), kAbsolute).pass);
  EXPECT_FALSE(CompareTensors(Matrix({nan, 2}), Matrix({nan, 2}), GoldenTolerance::Direction(0.1)).pass);
  // Files are compared by their bits, whatever they hold.
  EXPECT_TRUE(CompareTensors(Matrix({nan, 2}), Matrix({nan, 2}), GoldenTolerance::Bits()).pass);
}

TEST(CompareTensorsTest, ShapeAndTypeComeFirst) {
  const TensorView three = TensorView::FromFloats({3}, {1, 2, 3});
  EXPECT_EQ(CompareTensors(Matrix({1, 2}), three, kAbsolute).where, "computed F32[2,1], stored F32[3]");
  EXPECT_FALSE(CompareTensors(DoublesOf({1, 2, 3}), three, kAbsolute).pass);
  EXPECT_TRUE(CompareTensors(TensorView::FromFloats({}, {1}), TensorView::FromFloats({1}, {1}), kAbsolute).pass);
  const TensorView none = TensorView::FromFloats({0, 4}, {});
  EXPECT_FALSE(CompareTensors(none, none, kAbsolute).pass);
  EXPECT_TRUE(CompareTensors(none, none, GoldenTolerance::Bits()).pass);
}

TEST(CompareTensorsTest, RelativeIsValueByValue) {
  const auto pass = [](double a, double b) {
    return CompareTensors(DoublesOf({1e9, a}), DoublesOf({1e9, b}), GoldenTolerance::Relative(1e-3)).pass;
  };
  EXPECT_TRUE(pass(1.0009, 1));
  EXPECT_FALSE(pass(1.002, 1));
  EXPECT_TRUE(pass(0, 0));
  EXPECT_FALSE(pass(1e-30, 0));
  EXPECT_FALSE(pass(kInfinity, 1));
}

TEST(CompareTensorsTest, BitsTellSignedZeros) {
  const GoldenRow row = CompareTensors(DoublesOf({1, -0.0}), DoublesOf({1, 0.0}), GoldenTolerance::Bits());
  EXPECT_FALSE(row.pass);
  EXPECT_EQ(row.where, "1 of 2 wrong, worst at [1]: -0, not 0");
}

TEST(CompareTensorsTest, DirectionLetsLengthsDiffer) {
  const GoldenTolerance tolerance = GoldenTolerance::Direction(0.02);
  EXPECT_TRUE(CompareTensors(DoublesOf({2, 4}), DoublesOf({1, 2}), tolerance).pass);
  EXPECT_FALSE(CompareTensors(DoublesOf({2, 1}), DoublesOf({1, 2}), tolerance).pass);
  EXPECT_FALSE(CompareTensors(DoublesOf({-1, -2}), DoublesOf({1, 2}), tolerance).pass);
  EXPECT_FALSE(CompareTensors(DoublesOf({0, 0}), DoublesOf({1, 2}), tolerance).pass);
  // One value has a size and no direction; rounding noise neither.
  EXPECT_TRUE(CompareTensors(DoublesOf({1.009}), DoublesOf({1}), tolerance).pass);
  EXPECT_FALSE(CompareTensors(DoublesOf({1.011}), DoublesOf({1}), tolerance).pass);
  EXPECT_TRUE(CompareTensors(DoublesOf({1e-5, 0}), DoublesOf({0, 1e-7}), tolerance).pass);
}

TEST(CompareTensorsTest, LeavesOutWhatIsSkipped) {
  const auto skip = [](int64_t flat) { return flat == 1; };
  EXPECT_TRUE(CompareTensors(DoublesOf({1, kNan, 3}), DoublesOf({1, 2, 3}), kAbsolute, skip).pass);
  EXPECT_FALSE(CompareTensors(DoublesOf({1, 2, 4}), DoublesOf({1, 2, 3}), kAbsolute, skip).pass);
  EXPECT_FALSE(CompareTensors(DoublesOf({1}), DoublesOf({1}), kAbsolute, [](int64_t) { return true; }).pass);
}

TEST(HasNanTest, KnowsTheTypes) {
  EXPECT_TRUE(HasNan(DoublesOf({1, kNan})));
  EXPECT_FALSE(HasNan(DoublesOf({1, kInfinity})));
  const auto half = [](DType type, const char* bytes) {
    return TensorView::Copy(type, {1}, absl::string_view(bytes, 2));
  };
  EXPECT_TRUE(HasNan(half(DType::kFloat16, "\x01\x7C")));
  EXPECT_FALSE(HasNan(half(DType::kFloat16, "\x00\xFC")));
  EXPECT_TRUE(HasNan(half(DType::kBFloat16, "\xC0\xFF")));
  EXPECT_FALSE(HasNan(half(DType::kBFloat16, "\x01\x7C")));
}

}  // namespace
}  // namespace tec
