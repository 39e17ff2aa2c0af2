#include "tec/nn/head_product.h"

#include <cmath>
#include <string>
#include <vector>

#include "ATen/ATen.h"
#include "c10/core/GradMode.h"
#include "gtest/gtest.h"
#include "tec/nn/bfloat16_kernels.h"
#include "tec/nn/parallel.h"
#include "torch/csrc/autograd/autograd.h"

namespace tec {
namespace {

struct Size {
  int64_t images, heads, rows, terms, columns;
};

// On both sides of a strip (12), a panel (32), a group that is packed at once (16 by 32); odd numbers of terms.
constexpr Size kSizes[] = {{1, 1, 1, 1, 1},      {2, 3, 12, 2, 32},  {3, 2, 13, 33, 17}, {2, 5, 65, 32, 65},
                           {1, 3, 197, 64, 197}, {2, 2, 65, 65, 33}, {1, 2, 17, 417, 48}};

at::Tensor Random(at::IntArrayRef sizes) { return at::randn(sizes).to(at::kBFloat16); }

// The same numbers in each order in which a module may have them: by heads, by rows, and both transposed.
std::vector<at::Tensor> Orders(const at::Tensor& x) {
  return {x.contiguous(), x.transpose(1, 2).contiguous().transpose(1, 2),
          x.transpose(2, 3).contiguous().transpose(2, 3), x.permute({0, 3, 1, 2}).contiguous().permute({0, 2, 3, 1})};
}

// Within half a step of bfloat16, and what sums of float32 may be off.
void ExpectNear(const at::Tensor& got, const at::Tensor& wanted, int64_t terms, const std::string& what) {
  ASSERT_EQ(got.sizes(), wanted.sizes()) << what;
  ASSERT_EQ(got.scalar_type(), at::kBFloat16) << what;
  const at::Tensor allowed = wanted.abs() / 256 + 5e-7 * static_cast<double>(terms);
  const at::Tensor error = (got.to(at::kDouble) - wanted).abs();
  EXPECT_TRUE((error <= allowed).all().item<bool>()) << what << ": " << (error / allowed).max().item<double>();
}

// Where the processor has no such products, of LibTorch's in their place.
class HeadProductTest : public ::testing::Test {
 protected:
  HeadProductTest() { at::manual_seed(7); }
};

TEST_F(HeadProductTest, IsThatOfAWiderTypeInEveryOrder) {
  for (const Size& size : kSizes) {
    const at::Tensor a = Random({size.images, size.heads, size.rows, size.terms});
    const at::Tensor b = Random({size.images, size.heads, size.columns, size.terms});
    const at::Tensor dy = Random({size.images, size.heads, size.rows, size.columns});
    const at::Tensor wide = dy.to(at::kDouble);
    const at::Tensor wanted = at::matmul(a.to(at::kDouble), b.to(at::kDouble).transpose(2, 3));
    const at::Tensor d_a = at::matmul(wide, b.to(at::kDouble));
    const at::Tensor d_b = at::matmul(wide.transpose(2, 3), a.to(at::kDouble));
    for (int order = 0; order < 16; ++order) {
      const at::Tensor left = Orders(a)[order % 4].detach().requires_grad_();
      const at::Tensor right = Orders(b)[order / 4].detach().requires_grad_();
      const bool by_rows = order % 3 == 0;
      const std::string what = std::to_string(size.rows) + " x " + std::to_string(size.terms) + " x " +
                               std::to_string(size.columns) + ", order " + std::to_string(order);
      const at::Tensor got = HeadProduct(left, right, by_rows ? HeadOrder::kRowsFirst : HeadOrder::kHeadsFirst);
      EXPECT_TRUE(by_rows ? got.transpose(1, 2).is_contiguous() : got.is_contiguous()) << what;
      ExpectNear(got, wanted, size.terms, what);
      got.backward(Orders(dy)[(order + size.rows) % 4]);
      ExpectNear(left.grad(), d_a, size.columns, what + ", gradient of the left one");
      ExpectNear(right.grad(), d_b, size.rows, what + ", gradient of the right one");
    }
  }
}

// As attention has them: the parts of one tensor, of which each head's rows have others between them. What is written
// is nothing but the result, and gradients come back in the same order.
TEST_F(HeadProductTest, TakesPartsOfATensorAndGivesGradientsInTheirOrder) {
  const at::Tensor qkv = Random({2, 19, 3, 4, 24});
  const auto part = [&](int64_t i) { return qkv.select(2, i).transpose(1, 2).detach().requires_grad_(); };
  const at::Tensor q = part(0), k = part(1), v = part(2);
  const at::Tensor weights = HeadProduct(q, k, HeadOrder::kHeadsFirst);
  const at::Tensor mixed = HeadProduct(weights, v.transpose(2, 3), HeadOrder::kRowsFirst);
  ExpectNear(weights, at::matmul(q.to(at::kDouble), k.to(at::kDouble).transpose(2, 3)), 24, "weights");
  ExpectNear(mixed, at::matmul(weights.to(at::kDouble), v.to(at::kDouble)), 19, "mixed");
  // Of a gradient without steps. A leaf would get copies.
  const std::vector<at::Tensor> gradients = torch::autograd::grad({mixed.sum()}, {q, k, v});
  for (const at::Tensor& x : gradients) EXPECT_TRUE(x.transpose(1, 2).is_contiguous());
  const at::Tensor d_v = weights.to(at::kDouble).sum(2).unsqueeze(3).expand({-1, -1, -1, 24});
  ExpectNear(gradients[2], d_v.detach(), 19, "gradient of v");
}

TEST_F(HeadProductTest, IsTheSameOnAnyNumberOfThreadsAndWithoutGradients) {
  const int before = at::get_num_threads();
  const at::Tensor a = Random({8, 6, 65, 64}).requires_grad_(), b = Random({8, 6, 70, 64});
  std::vector<at::Tensor> results;
  for (const int threads : {1, 2, 3}) {
    at::set_num_threads(threads);
    results.push_back(HeadProduct(a, b, HeadOrder::kRowsFirst).detach());
  }
  at::set_num_threads(before);
  const c10::NoGradGuard no_grad;
  results.push_back(HeadProduct(a, b, HeadOrder::kRowsFirst));
  for (const at::Tensor& result : results) EXPECT_TRUE(at::equal(result, results[0]));
}

TEST_F(HeadProductTest, KeepsNansAndInfinities) {
  at::Tensor a = Random({1, 2, 20, 30}), b = Random({1, 2, 40, 30}).abs() + 1;
  b = b.to(at::kBFloat16);
  a[0][1][7][3] = NAN;
  a[0][1][9][29] = INFINITY;
  const at::Tensor out = HeadProduct(a, b, HeadOrder::kHeadsFirst);
  EXPECT_TRUE(out[0][1][7].isnan().all().item<bool>());
  EXPECT_TRUE(out[0][1][9].isinf().all().item<bool>());
  EXPECT_TRUE(out[0][1][8].isfinite().all().item<bool>());
  EXPECT_TRUE(out[0][0].isfinite().all().item<bool>());
}

// On every processor: LibTorch's product, with its gradients.
TEST(HeadProductFallbackTest, LeavesOtherTypesToLibTorch) {
  const at::Tensor a = at::randn({2, 3, 5, 7}, at::kDouble).requires_grad_(), b = at::randn({2, 3, 6, 7}, at::kDouble);
  const at::Tensor out = HeadProduct(a, b, HeadOrder::kRowsFirst);
  EXPECT_TRUE(at::allclose(out, at::matmul(a, b.transpose(2, 3))));
  out.sum().backward();
  EXPECT_TRUE(at::allclose(a.grad(), b.sum(2, /*keepdim=*/true).expand_as(a)));
}

TEST(HeadProductDeathTest, RefusesOtherHeads) {
  const at::Tensor a = at::zeros({2, 3, 5, 7});
  EXPECT_DEATH(HeadProduct(a, at::zeros({2, 1, 5, 7}), HeadOrder::kHeadsFirst), "a product of heads");
  EXPECT_DEATH(HeadProduct(a, at::zeros({2, 3, 5, 6}), HeadOrder::kHeadsFirst), "a product of heads");
}

}  // namespace
}  // namespace tec
