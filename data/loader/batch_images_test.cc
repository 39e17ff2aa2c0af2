#include "data/loader/batch_images.h"

#include <gtest/gtest.h>

#include <vector>

#include "ATen/Context.h"
#include "ATen/ops/equal.h"
#include "ATen/ops/tensor.h"

namespace tec {
namespace {

TEST(BatchImagesTest, BytesBecomeNormalisedPlanes) {
  std::vector<uint8_t> bytes = {0, 51, 102, 153, 204, 255, 0, 255};  // Two channels of one 2 x 2 picture.
  Batch batch;
  batch.count = 1;
  batch.size = 2;
  batch.channels = 2;
  batch.pixels = absl::MakeSpan(bytes);
  const at::Tensor images = BatchImages(batch, at::kCPU, {0.0F, 1.0F}, {1.0F, 0.5F});
  // 51 / 255 is 0.2 in float32 too, and so on; the second channel is 2 (x - 1).
  const at::Tensor first = at::tensor({0.0F, 102 / 255.0F, 204 / 255.0F, 0.0F});
  const at::Tensor second =
      at::tensor({2 * (51 / 255.0F - 1), 2 * (153 / 255.0F - 1), 2 * (255 / 255.0F - 1), 2 * (255 / 255.0F - 1)});
  ASSERT_EQ(images.sizes(), (std::vector<int64_t>{1, 2, 2, 2}));
  EXPECT_TRUE(at::equal(images[0][0].flatten(), first));
  EXPECT_TRUE(at::equal(images[0][1].flatten(), second));
}

TEST(BatchImagesTest, TheProcessorNeedsNoPinnedMemory) {
  EXPECT_FALSE(BatchMemory(at::kCPU, true));
  EXPECT_FALSE(BatchMemory(at::Device(at::kCUDA, 0), false));
  // Only where the memory is asked for is a GPU needed.
  EXPECT_TRUE(BatchMemory(at::Device(at::kCUDA, 0), true));
  if (!at::globalContext().hasCUDA()) return;
  const std::shared_ptr<uint8_t> memory = BatchMemory(at::Device(at::kCUDA, 0), true)(100);
  EXPECT_TRUE(at::globalContext().isPinnedPtr(memory.get(), at::kCUDA));
}

}  // namespace
}  // namespace tec
