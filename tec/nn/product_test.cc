#include "tec/nn/product.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "ATen/ATen.h"
#include "gtest/gtest.h"
#include "tec/nn/autocast.h"
#include "tec/nn/modules.h"
#include "tec/nn/parallel.h"
#include "tec/testing/fused_comparison.h"

namespace tec {
namespace {

using testing::WaveOf;

// Of sums of `terms` products, rounded to a type of this epsilon, beside the largest of them: their errors grow with
// the root of their number, eight of them is far out.
double Tolerance(int64_t terms, double epsilon) { return 8 * epsilon * std::sqrt(static_cast<double>(terms)); }

void ExpectNear(const at::Tensor& got, const at::Tensor& wanted, double tolerance, const std::string& what) {
  ASSERT_EQ(got.sizes(), wanted.sizes()) << what;
  const double largest = std::max(1.0, wanted.abs().max().item<double>());
  EXPECT_LE((got.to(at::kDouble) - wanted).abs().max().item<double>(), tolerance * largest) << what;
}

struct Size {
  int64_t rows, inner, columns;
};

// Large enough to go another way than LibTorch's, where that is the quicker one here.
bool IsLarge(const at::Tensor& a, const at::Tensor& b) { return a.numel() * b.size(0) >= kLeastMultiplyAdds; }

// Odd ones, and on both sides of kLeastMultiplyAdds.
constexpr Size kSizes[] = {{3, 5, 7}, {131, 127, 129}, {257, 96, 131}, {1, 1536, 1536}, {1111, 64, 64}};

TEST(ProductTest, IsThatOfAWiderType) {
  for (const Size& size : kSizes) {
    const at::Tensor a = WaveOf({size.rows, size.inner}, 0.37), b = WaveOf({size.columns, size.inner}, 0.71);
    const at::Tensor bias = WaveOf({size.columns}, 0.5);
    const at::Tensor plain = at::matmul(a, b.t());
    for (const at::ScalarType type : {at::kDouble, at::kFloat}) {
      const std::string what = std::string(c10::toString(type)) + " " + std::to_string(size.rows);
      const double tolerance = Tolerance(size.inner, type == at::kDouble ? 1.2e-16 : 6e-8);
      // As they are and lying transposed.
      for (const bool turn_a : {false, true}) {
        for (const bool turn_b : {false, true}) {
          const at::Tensor as = turn_a ? a.to(type).t().contiguous().t() : a.to(type);
          const at::Tensor bs = turn_b ? b.to(type).t().contiguous().t() : b.to(type);
          ExpectNear(Product(as, bs), plain, tolerance, what);
          ExpectNear(Product(as, bs, bias.to(type)), plain + bias, tolerance, what + " with a bias");
          ExpectNear(ProductGelu(as, bs, bias.to(type)), at::gelu(plain + bias), std::max(tolerance, 3e-6), what);
        }
      }
    }
  }
}

// Sums of float32, rounded once: within half a step of the exact result, 1/256 of it, and what the sums may be off.
// LibTorch's own, for which that is not promised, round the product and then what the bias makes of it.
TEST(ProductTest, RoundsBfloat16Once) {
  for (const Size& size : kSizes) {
    const at::Tensor a = WaveOf({size.rows, size.inner}, 0.37).to(at::kBFloat16);
    const at::Tensor b = WaveOf({size.columns, size.inner}, 0.71).to(at::kBFloat16);
    const at::Tensor bias = WaveOf({size.columns}, 0.5).to(at::kBFloat16);
    const at::Tensor plain = at::matmul(a.to(at::kDouble), b.to(at::kDouble).t()), sum = plain + bias.to(at::kDouble);
    const bool once = MultipliesAsFloat32(a) || IsForOneDnn(a, b);
    const double sums = Tolerance(size.inner, 6e-8) * static_cast<double>(size.inner);
    const auto expect_near = [&](const at::Tensor& got, const at::Tensor& wanted, const char* what) {
      ASSERT_EQ(got.scalar_type(), at::kBFloat16) << what;
      const at::Tensor allowed = (wanted.abs() + (once ? 0 : 1) * plain.abs()) / 256 + sums;
      EXPECT_TRUE(((got.to(at::kDouble) - wanted).abs() <= allowed).all().item<bool>()) << what << " " << size.rows;
    };
    for (const at::Tensor& turned : {b, b.t().contiguous().t()}) {
      expect_near(Product(a, turned), plain, "plain");
      expect_near(Product(a, turned, bias), sum, "with a bias");
    }
    const at::Tensor gelu = at::gelu(sum), got = ProductGelu(a, b, bias);
    // Before GELU, whose slope is at most 1.13, it may have been rounded where the sizes are small.
    const at::Tensor allowed = gelu.abs() / 256 + (once ? 0 : 1.13 / 256) * (sum.abs() + plain.abs()) + sums + 3e-6;
    EXPECT_TRUE(((got.to(at::kDouble) - gelu).abs() <= allowed).all().item<bool>()) << "GELU " << size.rows;
  }
}

// Autocast asks for bfloat16 of LibTorch's products alone.
TEST(ProductTest, DoesNotLookAtAutocast) {
  for (const int64_t rows : {3, 300}) {
    const at::Tensor a = WaveOf({rows, 128}, 0.3), b = WaveOf({128, 128}, 0.2), bias = WaveOf({128}, 0.4);
    const AutocastGuard autocast(at::kCPU, at::kBFloat16);
    const auto single = [](const at::Tensor& x) { return x.to(at::kFloat); };
    const at::Tensor got = Product(single(a), single(b), single(bias));
    EXPECT_EQ(got.scalar_type(), at::kFloat);
    ExpectNear(got, (a.unsqueeze(1) * b).sum(2) + bias, Tolerance(128, 6e-8), "it");
  }
}

TEST(ProductTest, TakesMoreDimensionsAndNoRows) {
  const at::Tensor a = WaveOf({3, 50, 128}, 0.3).to(at::kFloat), b = WaveOf({128, 128}, 0.2).to(at::kFloat);
  ASSERT_TRUE(IsLarge(a, b));
  const at::Tensor got = Product(a, b);
  ASSERT_EQ(got.sizes(), at::IntArrayRef({3, 50, 128}));
  EXPECT_TRUE(at::equal(got.view({150, 128}), Product(a.view({150, 128}), b)));
  EXPECT_EQ(Product(a.slice(0, 0, 0), b).sizes(), at::IntArrayRef({0, 50, 128}));
}

// What is not finite is not lost on the way.
TEST(ProductTest, KeepsNansAndInfinities) {
  at::Tensor a = WaveOf({256, 128}, 0.3).to(at::kFloat), b = WaveOf({128, 128}, 0.2).to(at::kFloat);
  a[7][3] = NAN;
  a[9][3] = INFINITY;
  const at::Tensor got = Product(a, b);
  EXPECT_TRUE(got[7].isnan().all().item<bool>());
  EXPECT_TRUE(got[9].isinf().all().item<bool>());
  EXPECT_TRUE(got[8].isfinite().all().item<bool>());
}

// A large Linear of float32 goes another way than a small one, forward and backward: the same values and gradients.
TEST(ProductTest, IsWhatALargeLinearDoesForwardAndBackward) {
  Linear linear(160, 192);
  linear.weight.detach().copy_(WaveOf({192, 160}, 0.13));
  linear.bias.detach().copy_(WaveOf({192}, 0.6));
  const at::Tensor x = WaveOf({2, 77, 160}, 0.29).to(at::kFloat).requires_grad_(true);
  ASSERT_TRUE(IsLarge(x, linear.weight));
  const at::Tensor y = linear.forward(x), rows = linear.Rows(x, 64, 128);
  (y.sin().sum() + rows.square().sum()).backward();

  const auto wide = [](const at::Tensor& t) { return t.detach().to(at::kDouble).requires_grad_(true); };
  const at::Tensor x2 = wide(x), w2 = wide(linear.weight), b2 = wide(linear.bias);
  const at::Tensor y2 = at::linear(x2, w2, b2), rows2 = at::linear(x2, w2.slice(0, 64), b2.slice(0, 64));
  (y2.sin().sum() + rows2.square().sum()).backward();
  ExpectNear(y.detach(), y2.detach(), Tolerance(160, 6e-8), "y");
  ExpectNear(rows.detach(), rows2.detach(), Tolerance(160, 6e-8), "rows");
  // Over 192 and over 154 terms, each of which brings the error of y.
  ExpectNear(x.grad(), x2.grad(), 2 * Tolerance(192, 6e-8), "dx");
  ExpectNear(linear.weight.grad(), w2.grad(), 2 * Tolerance(154, 6e-8), "d weight");
  ExpectNear(linear.bias.grad(), b2.grad(), 2 * Tolerance(154, 6e-8), "d bias");

  linear.zero_grad();
  linear.WithoutBiasGradient(x).sum().backward();
  EXPECT_TRUE(!linear.bias.grad().defined() || linear.bias.grad().abs().max().item<double>() == 0);
}

// The base model's MLP, which learns nothing, applies GELU within its product: what the one that learns computes.
TEST(ProductTest, IsWhatAFrozenMlpDoes) {
  Mlp mlp(96, 384, Activation::kGelu, nullptr);
  for (const auto& parameter : mlp.parameters()) parameter.detach().copy_(WaveOf(parameter.sizes(), 0.17) * 0.1);
  const at::Tensor x = WaveOf({2, 77, 96}, 0.4).to(at::kFloat);
  ASSERT_TRUE(IsLarge(x, mlp.fc1->weight));
  const at::Tensor learning = mlp.Hidden(x).detach();
  const c10::NoGradGuard no_grad;
  ExpectNear(mlp.Hidden(x), learning.to(at::kDouble), 3e-6, "float32");
  const AutocastGuard autocast(at::kCPU, at::kBFloat16);
  // Once rounded where the other is twice, to 8 bits.
  ExpectNear(mlp.Hidden(x), learning.to(at::kDouble), 1.0 / 64, "bfloat16");
}

// Compiled without -fopenmp, at::parallel_for is a plain loop, and nothing tells.
TEST(ParallelTest, TakesLibTorchsThreads) {
  const int before = at::get_num_threads();
  at::set_num_threads(3);
  std::vector<std::thread::id> at_work(3);
  at::parallel_for(0, 3, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) at_work[i] = std::this_thread::get_id();
  });
  at::set_num_threads(before);
  EXPECT_EQ(std::set<std::thread::id>(at_work.begin(), at_work.end()).size(), 3);
}

}  // namespace
}  // namespace tec
