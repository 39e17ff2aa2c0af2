#include "tec/run/rank_runtime.h"

#include <vector>

#include "ATen/ops/empty.h"
#include "ATen/ops/full.h"
#include "ATen/ops/sum.h"
#include "gtest/gtest.h"

namespace tec {
namespace {

at::Tensor MiB(int64_t size) { return at::empty({size << 20}, at::kByte); }

TEST(KeepFreedMemoryTest, JoinsWhatLargeTensorsLeaveWhateverSmallOnesStay) {
  at::Tensor before = MiB(3);  // Of malloc's, which takes it back.
  KeepFreedMemory();
  KeepFreedMemory();
  // As a step makes them: activations, and between them a small one that stays.
  std::vector<at::Tensor> large, small;
  for (int i = 0; i < 8; ++i) {
    large.push_back(MiB(5));
    small.push_back(at::full({100}, i, at::kInt));
  }
  const void* first = large[1].const_data_ptr();
  large.erase(large.begin() + 1, large.begin() + 5);
  const at::Tensor gradient = MiB(20);
  EXPECT_EQ(gradient.const_data_ptr(), first) << "taken elsewhere, though there is room";
  for (int i = 0; i < 8; ++i) EXPECT_EQ(small[i].sum().item<int>(), 100 * i);
  before.reset();
  EXPECT_EQ(at::empty({0}).numel(), 0);
  // Grown in place of what it had.
  at::Tensor grown = at::full({4 << 20}, 7, at::kByte);
  grown.resize_({9 << 20});
  EXPECT_EQ(grown[(4 << 20) - 1].item<int>(), 7);
}

}  // namespace
}  // namespace tec
