#include "tec/nn/masked_tokens.h"

#include <array>
#include <vector>

#include "ATen/ATen.h"
#include "gtest/gtest.h"
#include "tec/nn/masking.h"
#include "tec/nn/plain_forms.h"
#include "tec/testing/fused_comparison.h"

namespace tec {
namespace {

using testing::CompareFused;
using testing::Tensors;
using testing::WaveOf;

TEST(UnshuffleTest, HasValuesAndGradientsOfThePlainForm) {
  for (const auto& [images, patches, visible, width] :
       std::vector<std::array<int64_t, 4>>{{3, 9, 4, 5}, {1, 4, 4, 1}, {2, 7, 0, 8}, {40, 16, 5, 12}}) {
    for (const int64_t decoders : {1, 2}) {
      const at::Tensor restore = RandomMasking(WaveOf({images, patches}, 0.71).to(at::kFloat), 0.5).ids_restore;
      const at::Tensor positions = WaveOf({1, 1 + patches, width}, 0.23);
      Tensors in = {restore, positions};
      for (int64_t m = 0; m < decoders; ++m) {
        in.push_back(WaveOf({images, 1 + visible, width}, 0.37 + 0.1 * static_cast<double>(m)).requires_grad_(true));
        in.push_back(WaveOf({1, 1, width}, 0.57 + 0.1 * static_cast<double>(m)).requires_grad_(true));
      }
      const auto plain = [&](const Tensors& in) -> Tensors {
        Tensors parts;
        for (int64_t m = 0; m < decoders; ++m) {
          parts.push_back(testing::PlainUnshuffle(in[2 + 2 * m], in[3 + 2 * m], in[0], in[1]));
        }
        return {at::cat(parts, 0)};
      };
      const auto fused = [&](at::ScalarType type) {
        return [&, type](const Tensors& in) -> Tensors {
          std::vector<VisibleSequence> sequences;
          for (int64_t m = 0; m < decoders; ++m) {
            const at::Tensor& x = in[2 + 2 * m];
            sequences.push_back({type == at::kBFloat16 ? x.to(type) : x, in[3 + 2 * m]});
          }
          return {Unshuffle(sequences, in[0], in[1])};
        };
      };
      CompareFused(in, testing::kDoubleAndFloat, fused(at::kFloat), plain);
      // bfloat16 has 8 bits: half of 2^-8 of a value of up to 2.
      CompareFused(in, {{at::kFloat, 1.0 / 128}}, fused(at::kBFloat16), plain);
    }
  }
}

TEST(UnshuffleDeathTest, SaysWhatDoesNotFit) {
  const at::Tensor restore = at::zeros({2, 4}, at::kLong);
  EXPECT_DEATH(Unshuffle({{at::zeros({2, 3, 5}), at::zeros({1, 1, 4})}}, restore, at::zeros({1, 5, 5})),
               "tokens \\[2, 3, 5\\], mask token \\[1, 1, 4\\], order \\[2, 4\\], positions \\[1, 5, 5\\]");
}

}  // namespace
}  // namespace tec
