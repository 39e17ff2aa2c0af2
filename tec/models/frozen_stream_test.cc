#include "tec/models/frozen_stream.h"

#include <vector>

#include "ATen/ATen.h"
#include "gtest/gtest.h"
#include "tec/nn/autocast.h"
#include "tec/testing/fused_comparison.h"
#include "tec/testing/tensor_matchers.h"

namespace tec {
namespace {

using testing::BitEqual;

constexpr int64_t kWidth = 12, kHeads = 3, kDepth = 3;

// Inputs of the blocks, one after another, and what the last one's queries are.
std::vector<at::Tensor> ThroughFrozen(BlockList& list, const at::Tensor& tokens, const VitVariant& variant) {
  std::vector<at::Tensor> result;
  FrozenStream stream(tokens, variant);
  for (const auto& block : list.blocks) {
    const Block::Entered entered = stream.Enter(*block);
    result.push_back(entered.x);
    if (block == list.blocks.back()) result.push_back(entered.p.q);
    stream.Leave(*block, entered);
  }
  return result;
}

std::vector<at::Tensor> ThroughPlain(BlockList& list, const at::Tensor& tokens) {
  std::vector<at::Tensor> result;
  ResidualStream stream = {tokens, {}, {}, {}};
  for (const auto& block : list.blocks) {
    const Block::Entered entered = block->Enter(stream);
    result.push_back(entered.x);
    if (block == list.blocks.back()) result.push_back(entered.p.q);
    stream = block->Leave(entered);
  }
  return result;
}

TEST(FrozenStreamTest, HasTheBitsOfBlocksOneAfterAnother) {
  c10::NoGradGuard no_grad;
  for (const at::Device device : testing::Devices()) {
    for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
      for (const int kind : {0, 1, 2}) {  // Pre-norm, post-norm, RMS norm.
        SCOPED_TRACE(::testing::Message() << device << " " << type << " kind " << kind);
        VitVariant variant;
        variant.post_norm = kind == 1;
        variant.rms_norm = kind == 2;
        BlockOptions options;
        options.post_norm = variant.post_norm;
        options.rms_norm = variant.rms_norm;
        BlockList list(kDepth, kWidth, kHeads, options);
        double frequency = 0.3;
        for (at::Tensor& p : list.parameters()) p.copy_(testing::WaveOf(p.sizes(), frequency += 0.11) * 0.5);
        list.to(device);
        const at::Tensor tokens = testing::WaveOf({2, 5, kWidth}, 0.37).to(device, at::kFloat);
        const AutocastGuard autocast(device.type(), type);
        const std::vector<at::Tensor> expected = ThroughPlain(list, tokens),
                                      found = ThroughFrozen(list, tokens, variant);
        ASSERT_EQ(found.size(), expected.size());
        for (size_t i = 0; i < found.size(); ++i) EXPECT_TRUE(BitEqual(found[i], expected[i])) << i;
        EXPECT_FALSE(BitEqual(found[2], found[1]));
      }
    }
  }
}

}  // namespace
}  // namespace tec
