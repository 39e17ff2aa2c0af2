#include "tec/nn/normalize.h"

#include <vector>

#include "ATen/Context.h"
#include "ATen/ops/arange.h"
#include "ATen/ops/equal.h"
#include "ATen/ops/tensor.h"
#include "ATen/ops/zeros.h"
#include "gtest/gtest.h"

namespace tec {
namespace {

// The CPU, and a CUDA device where there is one: the expected bits are the same.
std::vector<at::Device> Devices() {
  std::vector<at::Device> devices = {at::kCPU};
  if (at::globalContext().hasCUDA()) devices.push_back(at::Device(at::kCUDA, 0));
  return devices;
}

// N = 2, H = 8, W = 16: every byte in every channel, since 3 (the channels) and 256 have no common factor.
at::Tensor EveryByte() { return at::arange(2 * 8 * 16 * 3).remainder(256).to(at::kByte).view({2, 8, 16, 3}); }

TEST(NormalizePixelsTest, RoundsAsTheFormulaInFloat32) {
  const at::Tensor pixels = EveryByte();
  const uint8_t* x = pixels.const_data_ptr<uint8_t>();
  for (const at::Device& device : Devices()) {
    const at::Tensor result = NormalizePixels(pixels.to(device), kImageNetMean, kImageNetStd);
    EXPECT_EQ(result.device(), device);
    EXPECT_EQ(result.sizes(), (std::vector<int64_t>{2, 3, 8, 16}));
    EXPECT_EQ(result.scalar_type(), at::kFloat);
    ASSERT_TRUE(result.is_contiguous());
    const at::Tensor on_cpu = result.cpu();
    const float* y = on_cpu.const_data_ptr<float>();
    for (int n = 0; n < 2; ++n) {
      for (int i = 0; i < 8 * 16; ++i) {
        for (int c = 0; c < 3; ++c) {
          // volatile: each step is rounded to float32 before the next.
          volatile float unit = x[(n * 8 * 16 + i) * 3 + c] / 255.0f;
          volatile float centred = unit - kImageNetMean[c];
          volatile float expected = centred / kImageNetStd[c];
          ASSERT_EQ(y[(n * 3 + c) * 8 * 16 + i], expected) << device << " n " << n << " i " << i << " c " << c;
        }
      }
    }
  }
}

// The steps as LibTorch does them one after another; c = 5 and 1 beside RGB.
TEST(NormalizePixelsTest, EqualsTheChainOfOperations) {
  for (const int64_t channels : {1, 2, 3, 5}) {
    std::vector<float> mean, std;
    for (int64_t c = 0; c < channels; ++c) {
      mean.push_back(0.1F + 0.07F * static_cast<float>(c));
      std.push_back(0.31F - 0.03F * static_cast<float>(c));
    }
    const at::Tensor pixels =
        at::arange(3 * 16 * 16 * channels).mul(7).remainder(256).to(at::kByte).view({3, 16, 16, channels});
    const at::Tensor chain = pixels.permute({0, 3, 1, 2})
                                 .to(at::kFloat)
                                 .div(255)
                                 .sub(at::tensor(mean).view({1, channels, 1, 1}))
                                 .div(at::tensor(std).view({1, channels, 1, 1}));
    for (const at::Device& device : Devices()) {
      const at::Tensor result = NormalizePixels(pixels.to(device), mean, std).cpu();
      ASSERT_TRUE(result.is_contiguous());
      EXPECT_TRUE(at::equal(result, chain)) << channels << " channels, " << device;
    }
  }
}

TEST(NormalizePixelsTest, GivesTorchvisionsNumbers) {
  // The colour (0, 128, 255) through the operations of ToTensor and Normalize in PyTorch 2.11, printed with %.9g.
  const at::Tensor pixels = at::zeros({1, 1, 1, 3}, at::kByte);
  pixels[0][0][0][1] = 128;
  pixels[0][0][0][2] = 255;
  const at::Tensor result = NormalizePixels(pixels, kImageNetMean, kImageNetStd);
  EXPECT_EQ(result[0][0].item<float>(), -2.11790395f);
  EXPECT_EQ(result[0][1].item<float>(), 0.205182195f);
  EXPECT_EQ(result[0][2].item<float>(), 2.6400001f);
}

TEST(NormalizePixelsTest, LeavesItsArgumentAlone) {
  const at::Tensor pixels = EveryByte();
  NormalizePixels(pixels, kImageNetMean, kImageNetStd);
  EXPECT_TRUE(at::equal(pixels, EveryByte()));
}

TEST(NormalizePixelsTest, TakesAnEmptyBatch) {
  for (const at::Device& device : Devices()) {
    const at::Tensor none = at::zeros({0, 4, 4, 3}, at::TensorOptions(at::kByte).device(device));
    EXPECT_EQ(NormalizePixels(none, kImageNetMean, kImageNetStd).sizes(), (std::vector<int64_t>{0, 3, 4, 4}));
  }
}

TEST(NormalizePixelsDeathTest, RefusesOtherLayouts) {
  EXPECT_DEATH(NormalizePixels(at::zeros({1, 3, 4, 4}, at::kByte), kImageNetMean, kImageNetStd), "channels");
  EXPECT_DEATH(NormalizePixels(at::zeros({1, 4, 4, 3}), kImageNetMean, kImageNetStd), "got Float");
}

}  // namespace
}  // namespace tec
