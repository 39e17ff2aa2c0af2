// AdamW's pass beside LibTorch's own kernel, to the bit on the CPU, and the working copies that it writes.

#include "tec/optim/adamw_update.h"

#include <string>
#include <utility>
#include <vector>

#include "ATen/ATen.h"
#include "gtest/gtest.h"
#include "tec/testing/fused_comparison.h"
#include "tec/testing/tensor_matchers.h"

namespace tec {
namespace {

using testing::BitEqual;
using testing::Devices;
using testing::TensorNear;

constexpr AdamWOptions kOptions = {0.9, 0.95, 1e-8};

at::Tensor Wave(at::IntArrayRef sizes, double frequency, const at::TensorOptions& options) {
  int64_t n = 1;
  for (const int64_t size : sizes) n *= size;
  return (at::arange(n, at::kDouble) * frequency).cos().view(sizes).to(options);
}

// Sizes around LibTorch's vectors, 64 bytes and the pieces that a pass is made in; two rates and two decays, which are
// those of layer-wise decay. Every second one with a copy of `copy_type`.
std::vector<AdamWPart> Parts(at::ScalarType type, at::ScalarType copy_type, c10::Device device) {
  const std::vector<std::vector<int64_t>> sizes = {{1}, {15}, {16}, {17}, {0}, {33, 7}, {70, 1000}, {65536}, {131081}};
  const at::TensorOptions options = at::TensorOptions(type).device(device);
  std::vector<AdamWPart> parts;
  for (size_t i = 0; i < 2 * sizes.size(); ++i) {
    const std::vector<int64_t>& shape = sizes[i / 2];
    AdamWPart part;
    part.parameter = Wave(shape, 0.3 + static_cast<double>(i), options);
    part.exp_avg = at::zeros_like(part.parameter);
    part.exp_avg_sq = at::zeros_like(part.parameter);
    part.step = at::zeros({}, options);
    if (i % 2 == 1) part.copy = part.parameter.to(copy_type);
    part.lr = i % 3 == 0 ? 0.01 : 0.0037;
    part.weight_decay = i % 4 < 2 ? 0 : 0.05;
    parts.push_back(std::move(part));
  }
  return parts;
}

// Gradients of widely different sizes, of which the squares of some vanish.
void SetGradients(std::vector<AdamWPart>& parts, int step) {
  for (size_t i = 0; i < parts.size(); ++i) {
    const at::Tensor& parameter = parts[i].parameter;
    const double frequency = 0.7 * step + static_cast<double>(i);
    parts[i].gradient = Wave(parameter.sizes(), frequency, parameter.options()) *
                        Wave(parameter.sizes(), 0.013 * frequency, parameter.options()).mul(30).exp().mul(1e-12);
  }
}

void CountUpdate(std::vector<AdamWPart>& parts) {
  for (AdamWPart& part : parts) part.step.add_(1);
}

// LibTorch's kernel, a call for each tensor.
void PlainUpdate(const std::vector<AdamWPart>& parts, const AdamWOptions& options) {
  for (const AdamWPart& part : parts) {
    at::_fused_adamw_({part.parameter}, {part.gradient.contiguous()}, {part.exp_avg}, {part.exp_avg_sq}, {},
                      {part.step}, part.lr, options.beta1, options.beta2, part.weight_decay, options.epsilon,
                      /*amsgrad=*/false, /*maximize=*/false);
    if (part.copy.defined()) at::Tensor(part.copy).copy_(part.parameter);
  }
}

std::vector<std::pair<std::string, at::Tensor>> ValuesOf(const std::vector<AdamWPart>& parts) {
  std::vector<std::pair<std::string, at::Tensor>> values;
  for (size_t i = 0; i < parts.size(); ++i) {
    const std::string of = " of " + std::to_string(i);
    values.emplace_back("parameter" + of, parts[i].parameter);
    values.emplace_back("exp_avg" + of, parts[i].exp_avg);
    values.emplace_back("exp_avg_sq" + of, parts[i].exp_avg_sq);
    if (parts[i].copy.defined()) values.emplace_back("copy" + of, parts[i].copy);
  }
  return values;
}

void ExpectEqual(const std::vector<AdamWPart>& found, const std::vector<AdamWPart>& expected) {
  const auto have = ValuesOf(found), want = ValuesOf(expected);
  ASSERT_EQ(have.size(), want.size());
  for (size_t i = 0; i < have.size(); ++i) {
    const auto& [name, tensor] = have[i];
    if (tensor.numel() == 0) continue;
    if (tensor.is_cpu()) {
      EXPECT_TRUE(BitEqual(tensor, want[i].second)) << name;
    } else {
      // Of order one; a copy may fall to the other side of a rounding.
      const bool low = tensor.scalar_type() != at::kFloat;
      EXPECT_TRUE(TensorNear(tensor.to(at::kFloat), want[i].second.to(at::kFloat), low ? 1e-2 : 1e-6)) << name;
    }
  }
}

TEST(AdamWUpdateTest, IsLibTorchsAndWritesTheCopies) {
  for (const c10::Device device : Devices()) {
    for (const at::ScalarType copy_type : {at::kBFloat16, at::kHalf}) {
      std::vector<AdamWPart> found = Parts(at::kFloat, copy_type, device), expected = found;
      for (AdamWPart& part : expected) {
        for (at::Tensor* tensor : {&part.parameter, &part.exp_avg, &part.exp_avg_sq, &part.step, &part.copy}) {
          if (tensor->defined()) *tensor = tensor->clone();
        }
      }
      for (int step = 1; step <= 3; ++step) {
        for (auto* parts : {&found, &expected}) {
          SetGradients(*parts, step);
          CountUpdate(*parts);
        }
        UpdateByAdamW(found, kOptions, {});
        PlainUpdate(expected, kOptions);
        ExpectEqual(found, expected);
      }
      for (const AdamWPart& part : found) {
        if (!part.copy.defined() || part.copy.numel() == 0) continue;
        EXPECT_TRUE(BitEqual(part.copy, part.parameter.to(copy_type)));
      }
    }
  }
}

TEST(AdamWUpdateTest, IsLibTorchsInFloat64) {
  std::vector<AdamWPart> found = Parts(at::kDouble, at::kBFloat16, at::kCPU),
                         expected = Parts(at::kDouble, at::kBFloat16, at::kCPU);
  for (auto* parts : {&found, &expected}) {
    SetGradients(*parts, 1);
    CountUpdate(*parts);
  }
  UpdateByAdamW(found, kOptions, {});
  PlainUpdate(expected, kOptions);
  ExpectEqual(found, expected);
}

TEST(AdamWUpdateTest, ChangesNothingIfToldSo) {
  for (const c10::Device device : Devices()) {
    std::vector<AdamWPart> parts = Parts(at::kFloat, at::kBFloat16, device);
    SetGradients(parts, 1);
    CountUpdate(parts);
    std::vector<at::Tensor> before;
    for (const auto& [name, tensor] : ValuesOf(parts)) before.push_back(tensor.clone());
    const auto options = at::TensorOptions(at::kFloat).device(device);
    UpdateByAdamW(parts, kOptions, at::ones({}, options));
    const auto after = ValuesOf(parts);
    for (size_t i = 0; i < after.size(); ++i) {
      EXPECT_TRUE(before[i].numel() == 0 || BitEqual(after[i].second, before[i])) << after[i].first;
    }
    UpdateByAdamW(parts, kOptions, at::zeros({}, options));
    EXPECT_FALSE(BitEqual(after[0].second, before[0]));
  }
}

TEST(AdamWUpdateTest, TakesGradientsInAnyOrder) {
  for (const c10::Device device : Devices()) {
    const auto options = at::TensorOptions(at::kFloat).device(device);
    const auto make = [&] {
      AdamWPart part;
      part.parameter = Wave({33, 70}, 0.3, options);
      part.exp_avg = at::zeros_like(part.parameter);
      part.exp_avg_sq = at::zeros_like(part.parameter);
      part.step = at::ones({}, options);
      part.copy = part.parameter.to(at::kBFloat16);
      part.gradient = Wave({70, 33}, 0.9, options).t();
      part.lr = 0.01;
      return std::vector<AdamWPart>{part};
    };
    const std::vector<AdamWPart> found = make(), expected = make();
    UpdateByAdamW(found, kOptions, {});
    PlainUpdate(expected, kOptions);
    ExpectEqual(found, expected);
  }
}

TEST(AdamWUpdateDeathTest, RefusesParametersInAnotherOrder) {
  AdamWPart part;
  part.parameter = at::zeros({3, 4}).t();
  part.gradient = part.exp_avg = part.exp_avg_sq = at::zeros({4, 3});
  part.step = at::ones({});
  EXPECT_DEATH(UpdateByAdamW({part}, kOptions, {}), "contiguous");
}

}  // namespace
}  // namespace tec
