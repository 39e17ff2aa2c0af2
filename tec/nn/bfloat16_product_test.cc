#include "tec/nn/bfloat16_product.h"

#include <cmath>
#include <string>
#include <vector>

#include "ATen/ATen.h"
#include "gtest/gtest.h"
#include "tec/nn/bfloat16_kernels.h"
#include "tec/nn/low_linear.h"
#include "tec/nn/parallel.h"
#include "tec/nn/product.h"

namespace tec {
namespace {

constexpr double kBfloat16 = 1.0 / 256;  // Half a step beside a number.
constexpr double kFloat = 6e-8;

struct Size {
  int64_t rows, terms, columns;
};

// On both sides of a strip (12), a panel (32), a block of them (96, 768) and of the terms gone through at once (416):
// one part, two, several; odd numbers of terms.
constexpr Size kSizes[] = {{48, 1, 48},   {48, 2, 64},     {49, 33, 50},    {97, 415, 95}, {60, 416, 801},
                           {61, 417, 63}, {200, 833, 777}, {1576, 64, 100}, {52, 2500, 48}};

at::Tensor Random(int64_t rows, int64_t columns) { return at::randn({rows, columns}).to(at::kBFloat16); }

// The same numbers, lying the other way round.
at::Tensor Turned(const at::Tensor& x) { return x.t().contiguous().t(); }

// Largest error beside what a sum's error may be: half a step of the result and of the sums of float32, whose terms
// are as large as sqrt(terms) together.
void ExpectNear(const at::Tensor& got, const at::Tensor& wanted, int64_t terms, double step, const std::string& what) {
  ASSERT_EQ(got.sizes(), wanted.sizes()) << what;
  const double of_sums = 8 * kFloat * static_cast<double>(terms);
  const at::Tensor error = (got.to(at::kDouble) - wanted).abs(), allowed = wanted.abs() * step + of_sums;
  EXPECT_TRUE((error <= allowed).all().item<bool>()) << what << ": " << (error / allowed).max().item<double>();
}

class Bfloat16ProductTest : public ::testing::Test {
 protected:
  Bfloat16ProductTest() { at::manual_seed(7); }

  // Whether there are such products here. Where the processor has none, that nothing is said to be for them.
  static bool AreHere() {
    EXPECT_EQ(IsForBfloat16Product(Random(48, 2), Random(48, 2)), HasBfloat16Kernels());
    return HasBfloat16Kernels();
  }
};

TEST_F(Bfloat16ProductTest, IsThatOfAWiderType) {
  if (!AreHere()) return;
  for (const Size& size : kSizes) {
    const at::Tensor a = Random(size.rows, size.terms), b = Random(size.columns, size.terms);
    const at::Tensor wanted = at::matmul(a.to(at::kDouble), b.to(at::kDouble).t());
    for (int order = 0; order < 4; ++order) {
      const at::Tensor left = order % 2 == 0 ? a : Turned(a), right = order / 2 == 0 ? b : Turned(b);
      const std::string what = std::to_string(size.rows) + " x " + std::to_string(size.terms) + " x " +
                               std::to_string(size.columns) + ", order " + std::to_string(order);
      ASSERT_TRUE(IsForBfloat16Product(left, right)) << what;
      // Every number of the results is written: none of them stays what it was.
      const at::Tensor out = at::full({size.rows, size.columns}, NAN);
      Bfloat16Product(left, right, out);
      ExpectNear(out, wanted, size.terms, kFloat, what);
    }
  }
}

// A result that does not begin at a multiple of 64 bytes goes another way to memory; nothing beside it is touched.
TEST_F(Bfloat16ProductTest, WritesItsOwnNumbersAlone) {
  if (!AreHere()) return;
  const at::Tensor a = Random(50, 70), b = Random(64, 70), memory = at::full({50 * 64 + 7}, 3.0f);
  const at::Tensor aligned = at::empty({50, 64});
  Bfloat16Product(a, b, aligned);
  Bfloat16Product(a, b, memory.narrow(0, 3, 50 * 64).view({50, 64}));
  EXPECT_TRUE(at::equal(memory.narrow(0, 3, 50 * 64).view({50, 64}), aligned));
  EXPECT_TRUE((memory.narrow(0, 0, 3) == 3).all().item<bool>());
  EXPECT_TRUE((memory.narrow(0, 3 + 50 * 64, 4) == 3).all().item<bool>());
}

TEST_F(Bfloat16ProductTest, IsTheSameOnAnyNumberOfThreads) {
  if (!AreHere()) return;
  const int before = at::get_num_threads();
  const at::Tensor a = Random(150, 900), b = Random(801, 900);
  std::vector<at::Tensor> results;
  for (const int threads : {1, 2, 3}) {
    at::set_num_threads(threads);
    results.push_back(at::empty({150, 801}));
    Bfloat16Product(a, b, results.back());
  }
  at::set_num_threads(before);
  EXPECT_TRUE(at::equal(results[0], results[1]));
  EXPECT_TRUE(at::equal(results[0], results[2]));
}

TEST_F(Bfloat16ProductTest, KeepsNansAndInfinities) {
  if (!AreHere()) return;
  const at::Tensor a = Random(48, 500), b = Random(48, 500).abs() + 1;
  a[7][3] = NAN;
  a[9][499] = INFINITY;
  const at::Tensor out = at::empty({48, 48});
  Bfloat16Product(a, b, out);
  EXPECT_TRUE(out[7].isnan().all().item<bool>());
  EXPECT_TRUE(out[9].isinf().all().item<bool>());
  EXPECT_TRUE(out[8].isfinite().all().item<bool>());
}

TEST_F(Bfloat16ProductTest, LeavesToOthersWhatItCannotTake) {
  const at::Tensor a = Random(64, 64);
  EXPECT_FALSE(IsForBfloat16Product(a, Random(64, 128).slice(1, 0, 64)));  // Gaps between its rows.
  EXPECT_FALSE(IsForBfloat16Product(a.to(at::kFloat), a));
  EXPECT_FALSE(IsForBfloat16Product(a, a.to(at::kHalf)));
  EXPECT_FALSE(IsForBfloat16Product(a.slice(0, 0, 8), a));
  EXPECT_FALSE(IsForBfloat16Product(a.slice(1, 0, 0), a.slice(1, 0, 0)));
}

// The gradient of a weight is rounded to 8 bits only where there is nothing better.
TEST_F(Bfloat16ProductTest, AWeightsGradientIsOfFloat32) {
  const at::Tensor dy = Random(130, 96), x = Random(130, 64);
  const at::Tensor wanted = at::matmul(dy.to(at::kDouble).t(), x.to(at::kDouble));
  const double step = AreHere() || MultipliesAsFloat32(x) ? kFloat : kBfloat16;
  ExpectNear(WeightGradient(dy, x, {}), wanted, 130, step, "made anew");
  const at::Tensor place = at::empty({96, 64});
  EXPECT_TRUE(WeightGradient(dy, x, place).is_same(place));
  ExpectNear(place, wanted, 130, step, "where it was asked for");
}

}  // namespace
}  // namespace tec
