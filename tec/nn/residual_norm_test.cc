#include "tec/nn/residual_norm.h"

#include <cmath>
#include <vector>

#include "ATen/ATen.h"
#include "ATen/Parallel.h"
#include "c10/core/GradMode.h"
#include "gtest/gtest.h"
#include "tec/nn/plain_forms.h"
#include "tec/nn/residual_norm_more.h"
#include "tec/testing/fused_comparison.h"
#include "tec/testing/tensor_matchers.h"

namespace tec {
namespace {

using testing::BitEqual;
using testing::CompareFused;
using testing::kDoubleAndFloat;
using testing::Tensors;
using testing::WaveOf;

constexpr double kEpsilon = 1e-6;
// bfloat16 has 8 bits: half of 2^-8 of a value, twice where it is read and written.
constexpr double kBFloat16Tolerance = 1.0 / 256;

struct Size {
  int64_t images, tokens, width;
};
// Odd and even, one and many, with a rest in vectors of 4 and 8; the last has more rows than any part of a sum.
const std::vector<Size> kSizes = {{2, 3, 5}, {1, 1, 1}, {3, 7, 16}, {2, 5, 67}, {5, 197, 12}};

// x, branch, branch_bias, scale, weight, bias.
Tensors InputsOf(const Size& size) {
  Tensors in = {WaveOf({size.images, size.tokens, size.width}, 0.37),
                WaveOf({size.images, size.tokens, size.width}, 0.83),
                WaveOf({size.width}, 0.5),
                WaveOf({size.images}, 0.9).abs(),
                WaveOf({size.width}, 0.7),
                WaveOf({size.width}, 0.3)};
  for (size_t i : {0, 1, 2, 4, 5}) in[i].requires_grad_(true);
  return in;
}

TEST(ResidualNormTest, HasValuesAndGradientsOfThePlainForm) {
  for (const Size& size : kSizes) {
    // Width 1: the norm of a single number is its bias, and its slope 1 / sqrt(epsilon) hides nothing but noise.
    const double epsilon = size.width == 1 ? 1 : kEpsilon;
    for (const bool scaled : {false, true}) {
      for (const bool biased : {false, true}) {
        for (const int used : {0, 1, 2}) {  // Sum and norm, sum alone, norm alone.
          SCOPED_TRACE(::testing::Message() << size.images << " " << size.tokens << " " << size.width << " scaled "
                                            << scaled << " biased " << biased << " used " << used);
          const auto stream = [&](const Tensors& in) -> ResidualStream {
            return {in[0], in[1], scaled ? in[3] : at::Tensor(), biased ? in[2] : at::Tensor()};
          };
          const auto pick = [&](const SumAndNorm& all) -> Tensors {
            return {used == 2 ? at::Tensor() : all.sum, used == 1 ? at::Tensor() : all.normed};
          };
          CompareFused(
              InputsOf(size), kDoubleAndFloat,
              [&](const Tensors& in) { return pick(NormOf(stream(in), in[4], in[5], epsilon, in[0].scalar_type())); },
              [&](const Tensors& in) { return pick(testing::PlainNormOf(stream(in), in[4], in[5], epsilon)); });
        }
      }
    }
  }
}

TEST(ResidualNormTest, OfSumsThatAreNotKeptHasTheBitsOfThoseThatAre) {
  c10::NoGradGuard no_grad;
  for (const Size& size : kSizes) {
    for (const at::Device device : testing::Devices()) {
      for (const at::ScalarType type : {at::kDouble, at::kFloat, at::kBFloat16}) {
        const at::ScalarType wide = type == at::kDouble ? type : at::kFloat;
        const auto make = [&](double frequency, at::ScalarType of) {
          return WaveOf({size.images, size.tokens, size.width}, frequency).to(device, of);
        };
        const at::Tensor x = make(0.37, wide), first = make(0.83, type), second = make(0.61, type);
        const NormParameters norm = {WaveOf({size.width}, 0.7).to(device, wide),
                                     WaveOf({size.width}, 0.3).to(device, wide)};
        const SumAndNorm middle = NormOf({x, first, {}, {}}, norm.weight, norm.bias, kEpsilon, type),
                         end = NormOf({middle.sum, second, {}, {}}, norm.weight, norm.bias, kEpsilon, type),
                         found = NormOfTwoBranches(x, first, second, norm, kEpsilon, type);
        EXPECT_TRUE(BitEqual(NormAlone({x, first, {}, {}}, norm, kEpsilon, type), middle.normed));
        EXPECT_TRUE(BitEqual(found.sum, end.sum));
        EXPECT_TRUE(BitEqual(found.normed, end.normed));
      }
    }
  }
}

TEST(ResidualNormTest, OfAStreamWithoutABranchIsANorm) {
  for (const Size& size : kSizes) {
    if (size.width == 1) continue;
    CompareFused(
        InputsOf(size), kDoubleAndFloat,
        [](const Tensors& in) -> Tensors {
          const SumAndNorm out = NormOf({in[0], {}, {}, {}}, in[4], in[5], kEpsilon, in[0].scalar_type());
          return {out.sum, out.normed};
        },
        [](const Tensors& in) -> Tensors {
          const SumAndNorm out = testing::PlainNormOf({in[0], {}, {}, {}}, in[4], in[5], kEpsilon);
          return {out.sum, out.normed};
        });
  }
}

TEST(ResidualNormTest, SumsWithoutANorm) {
  for (const Size& size : kSizes) {
    for (const bool scaled : {false, true}) {
      const auto stream = [&](const Tensors& in) -> ResidualStream {
        return {in[0], in[1], scaled ? in[3] : at::Tensor(), in[2]};
      };
      CompareFused(
          InputsOf(size), kDoubleAndFloat, [&](const Tensors& in) -> Tensors { return {Sum(stream(in))}; },
          [&](const Tensors& in) -> Tensors { return {testing::PlainSum(stream(in))}; });
      const Tensors in = InputsOf(size);
      EXPECT_TRUE(BitEqual(Sum(stream(in)), in[0] + (scaled ? in[1] * in[3].view({-1, 1, 1}) : in[1])));
    }
  }
}

TEST(ResidualNormTest, TakesAndGivesBFloat16) {
  const auto low = [](const at::Tensor& x) { return x.to(at::kBFloat16); };
  for (const Size& size : kSizes) {
    if (size.width == 1) continue;
    for (const bool scaled : {false, true}) {
      Tensors in = InputsOf(size);
      in[1] = in[1].detach().to(at::kBFloat16).to(at::kDouble).requires_grad_(true);
      CompareFused(
          // Sums over rows gather the roundings of the gradients that come back, as the root of their number; each is
          // of 2^-7 / sqrt(12) for values up to 2, and this is three times that.
          in, {{at::kFloat, 2 * kBFloat16Tolerance * std::sqrt(static_cast<double>(size.images * size.tokens))}},
          [&](const Tensors& in) -> Tensors {
            const SumAndNorm out = NormOf({in[0], low(in[1]), scaled ? in[3] : at::Tensor(), in[2]}, in[4], in[5],
                                          kEpsilon, at::kBFloat16);
            EXPECT_EQ(out.normed.scalar_type(), at::kBFloat16);
            EXPECT_EQ(out.sum.scalar_type(), at::kFloat);
            return {out.sum, out.normed};
          },
          [&](const Tensors& in) -> Tensors {
            const SumAndNorm out =
                testing::PlainNormOf({in[0], in[1], scaled ? in[3] : at::Tensor(), in[2]}, in[4], in[5], kEpsilon);
            // The gradient that comes back is rounded to bfloat16, which the tolerance covers.
            return {out.sum, out.normed};
          });
    }
  }
}

TEST(ResidualNormTest, NormsAConcatenationThatIsNeverMade) {
  for (const auto& [parts, groups] : std::vector<std::pair<int64_t, int64_t>>{{1, 1}, {4, 2}, {6, 3}, {3, 1}}) {
    for (const int64_t width : {5, 8}) {
      Tensors in = {WaveOf({parts * width}, 0.7).requires_grad_(true),
                    WaveOf({parts * width}, 0.3).requires_grad_(true)};
      for (int64_t p = 0; p < parts; ++p) {
        in.push_back(WaveOf({2, 9, width}, 0.31 + 0.2 * static_cast<double>(p)).requires_grad_(true));
      }
      CompareFused(
          in, kDoubleAndFloat,
          [groups = groups](const Tensors& in) {
            return NormOfConcatenation({in.begin() + 2, in.end()}, groups, in[0], in[1], kEpsilon, in[0].scalar_type());
          },
          [groups = groups](const Tensors& in) {
            return testing::PlainNormOfConcatenation({in.begin() + 2, in.end()}, groups, in[0], in[1], kEpsilon);
          });
    }
  }
}

TEST(ResidualNormTest, TakesTheGradientsOfASumThatIsUsedTwice) {
  for (const Size& size : kSizes) {
    if (size.width == 1) continue;
    for (const bool with_branch : {false, true}) {
      for (const int used : {0, 1, 2, 3}) {  // All, without the norm, without the first sum, without the second.
        SCOPED_TRACE(::testing::Message() << size.tokens << " branch " << with_branch << " used " << used);
        const auto stream = [&](const Tensors& in) -> ResidualStream {
          return with_branch ? ResidualStream{in[0], in[1], in[3], in[2]} : ResidualStream{in[0], {}, {}, {}};
        };
        const auto pick = [&](at::Tensor sum, at::Tensor again, at::Tensor normed) -> Tensors {
          return {used == 2 ? at::Tensor() : sum, used == 3 ? at::Tensor() : again.square(),
                  used == 1 ? at::Tensor() : normed};
        };
        CompareFused(
            InputsOf(size), kDoubleAndFloat,
            [&](const Tensors& in) {
              const SumTwiceAndNorm out = NormOfShared(stream(in), in[4], in[5], kEpsilon, in[0].scalar_type());
              return pick(out.sum, out.again, out.normed);
            },
            [&](const Tensors& in) {
              const SumAndNorm out = testing::PlainNormOf(stream(in), in[4], in[5], kEpsilon);
              return pick(out.sum, out.sum, out.normed);
            });
      }
    }
  }
}

TEST(ResidualNormTest, NormsHalvesByTheirOwnParameters) {
  for (const Size& size : std::vector<Size>{{2, 3, 5}, {4, 7, 16}, {6, 197, 12}}) {
    for (const bool scaled : {false, true}) {
      for (const int used : {0, 1, 2}) {  // Both, the first, the second.
        SCOPED_TRACE(::testing::Message() << size.tokens << " scaled " << scaled << " used " << used);
        Tensors in = InputsOf(size);
        in.push_back(WaveOf({size.width}, 0.41).requires_grad_(true));
        in.push_back(WaveOf({size.width}, 0.23).requires_grad_(true));
        const auto stream = [&](const Tensors& in) -> ResidualStream {
          return {in[0], in[1], scaled ? in[3] : at::Tensor(), in[2]};
        };
        const auto pick = [&](const at::Tensor& first, const at::Tensor& second) -> Tensors {
          return {used == 2 ? at::Tensor() : first, used == 1 ? at::Tensor() : second};
        };
        CompareFused(
            in, kDoubleAndFloat,
            [&](const Tensors& in) {
              const auto out =
                  NormsOfHalves(stream(in), {{{in[4], in[5]}, {in[6], in[7]}}}, kEpsilon, in[0].scalar_type());
              return pick(out[0], out[1]);
            },
            [&](const Tensors& in) {
              const std::vector<ResidualStream> halves = Halves(stream(in));
              return pick(testing::PlainNormOf(halves[0], in[4], in[5], kEpsilon).normed,
                          testing::PlainNormOf(halves[1], in[6], in[7], kEpsilon).normed);
            });
      }
    }
  }
}

TEST(ResidualNormTest, HasEqualBitsWithAnyNumberOfThreads) {
  const int before = at::get_num_threads();
  Tensors gradients[2];
  for (const int threads : {1, 3}) {
    at::set_num_threads(threads);
    const Tensors in = InputsOf({5, 197, 12});
    const SumAndNorm out = NormOf({in[0], in[1], in[3], in[2]}, in[4], in[5], kEpsilon, at::kDouble);
    (out.sum.square().sum() + out.normed.pow(3).sum()).backward();
    for (size_t i : {0, 1, 2, 4, 5}) gradients[threads == 1 ? 0 : 1].push_back(in[i].grad());
  }
  at::set_num_threads(before);
  for (size_t i = 0; i < gradients[0].size(); ++i) EXPECT_TRUE(BitEqual(gradients[1][i], gradients[0][i])) << i;
}

TEST(ResidualNormTest, TakesAnEmptyBatchAndFrozenWeights) {
  Tensors in = InputsOf({0, 3, 5});
  const SumAndNorm out = NormOf({in[0], in[1], in[3], in[2]}, in[4], in[5], kEpsilon, at::kDouble);
  EXPECT_EQ(out.normed.sizes(), at::IntArrayRef({0, 3, 5}));
  out.normed.sum().backward();
  EXPECT_TRUE(BitEqual(in[4].grad(), at::zeros({5}, at::kDouble)));

  in = InputsOf({2, 3, 5});
  for (size_t i : {2, 4, 5}) in[i].requires_grad_(false);
  NormOf({in[0], in[1], in[3], in[2]}, in[4], in[5], kEpsilon, at::kDouble).normed.pow(3).sum().backward();
  EXPECT_TRUE(in[0].grad().defined() && in[1].grad().defined());
  for (size_t i : {2, 4, 5}) EXPECT_FALSE(in[i].grad().defined()) << i;
}

TEST(ResidualNormDeathTest, SaysWhatDoesNotFit) {
  const Tensors in = InputsOf({2, 3, 5});
  EXPECT_DEATH(Sum({in[0], in[1].slice(1, 1), {}, {}}), "a branch of \\[2, 2, 5\\] on \\[2, 3, 5\\]");
  EXPECT_DEATH(Sum({in[0], in[1], in[5], {}}), "\\[5\\] scales for \\[2, 3, 5\\]");
}

}  // namespace
}  // namespace tec
