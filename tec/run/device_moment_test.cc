#include "tec/run/device_moment.h"

#include "ATen/ATen.h"
#include "gtest/gtest.h"
#include "tec/testing/fused_comparison.h"

namespace tec {
namespace {

TEST(DeviceMomentTest, WhatIsReadIsOfTheMomentAndTheStreamIsGivenBack) {
  for (const c10::Device device : testing::Devices()) {
    SCOPED_TRACE(device.str());
    const at::Tensor x = at::full({1024, 1024}, 1.0 / 1024, device);
    at::Tensor y = x;
    for (int i = 0; i < 50; ++i) y = y.matmul(x);  // Of rows and columns that add up to one.
    const at::Tensor sum = y.sum();
    const DeviceMoment moment(device);
    for (int i = 0; i < 50; ++i) y = y.matmul(x);
    {
      const AfterMoment reading(moment);
      EXPECT_NEAR(sum.item<double>(), 1024, 1e-2);
    }
    {
      const AfterMoment again(moment);
      EXPECT_NEAR(sum.cpu().item<double>(), 1024, 1e-2);
    }
    EXPECT_NEAR(y.sum().item<double>(), 1024, 1e-2);
  }
}

}  // namespace
}  // namespace tec
