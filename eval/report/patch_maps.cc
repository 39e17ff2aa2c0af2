#include "eval/report/patch_maps.h"

#include <algorithm>
#include <cmath>

#include "ATen/ATen.h"
#include "data/image/encode.h"
#include "data/image/image.h"
#include "tec/base/logging.h"

namespace tec {
namespace {

// viridis (van der Walt and Smith, CC0) at 0, 1/8, ..., 1.
constexpr float kViridis[9][3] = {{68, 1, 84},    {71, 44, 122}, {59, 81, 139},  {44, 113, 142}, {33, 144, 141},
                                  {39, 173, 129}, {92, 200, 99}, {170, 220, 50}, {253, 231, 37}};

int64_t GridOf(int64_t patches) {
  const int64_t grid = std::lround(std::sqrt(static_cast<double>(patches)));
  TEC_CHECK_EQ(grid * grid, patches);
  return grid;
}

std::string Png(const Image& image) {
  const absl::StatusOr<std::string> png = EncodePng(image);
  TEC_CHECK_OK(png);
  return *png;
}

}  // namespace

std::string HeatMapPng(const at::Tensor& values) {
  const int64_t grid = GridOf(values.numel());
  const at::Tensor numbers = values.to(at::kCPU, at::kFloat).flatten().contiguous();
  const float low = numbers.min().item<float>(), high = numbers.max().item<float>();
  Image image(static_cast<int>(grid), static_cast<int>(grid));
  for (int64_t i = 0; i < numbers.numel(); ++i) {
    const float part = high > low ? (numbers.const_data_ptr<float>()[i] - low) / (high - low) * 8 : 0;
    const int step = std::clamp(static_cast<int>(part), 0, 7);
    for (int c = 0; c < 3; ++c) {
      image.data()[3 * i + c] =
          static_cast<uint8_t>(kViridis[step][c] + (kViridis[step + 1][c] - kViridis[step][c]) * (part - step));
    }
  }
  return Png(image);
}

std::string ColoursPng(const at::Tensor& colours) {
  const int64_t grid = GridOf(colours.size(0));
  const at::Tensor bytes = (colours.to(at::kCPU, at::kFloat).clamp(0, 1) * 255).round().to(at::kByte).contiguous();
  Image image(static_cast<int>(grid), static_cast<int>(grid));
  std::copy_n(bytes.const_data_ptr<uint8_t>(), bytes.numel(), image.data());
  return Png(image);
}

PrincipalComponents PrincipalComponentsOf(const at::Tensor& features) {
  TEC_CHECK(features.dim() == 2 && features.size(0) >= 2 && features.size(1) >= 3);
  PrincipalComponents components;
  const at::Tensor values = features.to(at::kCPU, at::kDouble);
  components.mean = values.mean(0);
  const at::Tensor centred = values - components.mean;
  // Eigenvalues ascend.
  const at::Tensor vectors = std::get<1>(at::linalg_eigh(centred.t().mm(centred)));
  at::Tensor directions = vectors.slice(1, vectors.size(1) - 3).flip({1});
  const at::Tensor largest = directions.abs().argmax(0, /*keepdim=*/true);
  directions = directions * directions.gather(0, largest).sign();
  components.directions = directions;
  return components;
}

at::Tensor Project(const PrincipalComponents& components, const at::Tensor& features) {
  return (features.to(at::kCPU, at::kDouble) - components.mean).mm(components.directions);
}

at::Tensor RotationTo(const at::Tensor& reference, const at::Tensor& coordinates) {
  const auto [u, s, vh] = at::linalg_svd(coordinates.t().mm(reference));
  return u.mm(vh);
}

at::Tensor ColoursOf(const at::Tensor& coordinates) {
  const at::Tensor low = at::quantile(coordinates, 0.02, 0, /*keepdim=*/true);
  const at::Tensor high = at::quantile(coordinates, 0.98, 0, /*keepdim=*/true);
  return ((coordinates - low) / (high - low).clamp_min(1e-12)).clamp(0, 1);
}

double RankMe(const at::Tensor& features) {
  const at::Tensor singular = at::linalg_svdvals(features.to(at::kCPU, at::kDouble));
  const at::Tensor p = singular / singular.sum() + 1e-7;
  return (-(p * p.log()).sum()).exp().item<double>();
}

double FeatureDeviation(const at::Tensor& features) {
  const at::Tensor values = features.to(at::kCPU, at::kDouble);
  const at::Tensor rows = values / values.norm(2, 1, /*keepdim=*/true).clamp_min(1e-12);
  return rows.std(0).mean().item<double>() * std::sqrt(static_cast<double>(rows.size(1)));
}

}  // namespace tec
