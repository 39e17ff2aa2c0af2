#include "tec/testing/fused_comparison.h"

#include <algorithm>

#include "ATen/ATen.h"
#include "ATen/Context.h"
#include "gtest/gtest.h"
#include "tec/testing/tensor_matchers.h"

namespace tec::testing {
namespace {

// Results, then gradients of the inputs that require one.
Tensors Evaluate(const Tensors& inputs, at::ScalarType type, at::Device device,
                 const std::function<Tensors(const Tensors&)>& f) {
  Tensors own;
  for (const at::Tensor& input : inputs) {
    at::Tensor copy = input.detach().to(device);
    if (input.is_floating_point()) copy = copy.to(type);
    own.push_back(copy.clone().requires_grad_(input.requires_grad()));
  }
  const Tensors results = f(own);
  Tensors all;
  at::Tensor sum = at::zeros({}, at::TensorOptions(at::kDouble).device(device));
  double frequency = 0.61;
  for (const at::Tensor& result : results) {
    if (!result.defined()) continue;
    all.push_back(result.detach());
    const at::Tensor weights = WaveOf(result.sizes(), frequency += 0.17).to(device);
    sum = sum + (result.to(at::kDouble) * weights).sum();
  }
  sum.backward();
  for (const at::Tensor& input : own) {
    if (!input.requires_grad()) continue;
    all.push_back(input.grad().defined() ? input.grad() : at::zeros_like(input));
  }
  return all;
}

}  // namespace

const std::vector<FusedTolerance> kDoubleAndFloat = {{at::kDouble, 1e-12}, {at::kFloat, 1e-5}};

std::vector<at::Device> Devices() {
  std::vector<at::Device> devices = {at::kCPU};
  if (at::globalContext().hasCUDA()) devices.push_back(at::Device(at::kCUDA, 0));
  return devices;
}

at::Tensor WaveOf(at::IntArrayRef sizes, double frequency) {
  return (at::arange(c10::multiply_integers(sizes), at::kDouble) * frequency).cos().mul(1.4).view(sizes);
}

void CompareFused(const Tensors& inputs, const std::vector<FusedTolerance>& tolerances,
                  const std::function<Tensors(const Tensors&)>& fused,
                  const std::function<Tensors(const Tensors&)>& plain) {
  const Tensors expected = Evaluate(inputs, at::kDouble, at::kCPU, plain);
  for (const at::Device& device : Devices()) {
    for (const FusedTolerance& tolerance : tolerances) {
      const Tensors found = Evaluate(inputs, tolerance.type, device, fused);
      ASSERT_EQ(found.size(), expected.size());
      for (size_t i = 0; i < found.size(); ++i) {
        const double largest = expected[i].numel() == 0 ? 0 : expected[i].abs().max().item<double>();
        EXPECT_TRUE(
            TensorNear(found[i].cpu().to(at::kDouble), expected[i], tolerance.of_largest * std::max(1.0, largest)))
            << "result " << i << " of " << found.size() << ", " << tolerance.type << " on " << device;
      }
    }
  }
}

}  // namespace tec::testing
