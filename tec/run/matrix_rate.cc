#include "tec/run/matrix_rate.h"

#include <chrono>
#include <cmath>
#include <cstdint>

#include "ATen/ops/empty.h"
#include "ATen/ops/mm.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "c10/core/GradMode.h"
#include "tec/base/logging.h"

namespace tec {

double MatrixRate(c10::Device device, c10::ScalarType type, double seconds) {
  c10::NoGradGuard no_grad;
  const int64_t size = device.is_cuda() ? 8192 : 2048;
  const at::TensorOptions options = at::TensorOptions(device).dtype(type);
  // Random: of ones, a GPU draws less power and clocks higher.
  const at::Tensor a = at::empty({size, size}, options).normal_(), b = at::empty({size, size}, options).normal_();
  at::Tensor c = at::empty({size, size}, options);
  // Reads one value: what was queued on a device is done then.
  const auto wait = [&] { TEC_CHECK(std::isfinite(c[0][0].item<float>())); };
  at::mm_out(c, a, b);
  wait();
  const auto start = std::chrono::steady_clock::now();
  const auto past = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); };
  int64_t products = 0;
  do {
    for (int i = 0; i < (device.is_cuda() ? 10 : 1); ++i, ++products) at::mm_out(c, a, b);
    wait();
  } while (past() < seconds);
  return static_cast<double>(products) * 2 * static_cast<double>(size * size * size) / past();
}

std::string RateText(double images_per_second, double flops_per_image, double matrix_rate, c10::ScalarType type) {
  const double rate = images_per_second * flops_per_image;
  return absl::StrFormat(
      "%.4g images/s, %.3g TFLOP/s of the method's products: %.0f %% of the %.3g that plain products of %s reach here",
      images_per_second, rate * 1e-12, 100 * rate / matrix_rate, matrix_rate * 1e-12,
      absl::AsciiStrToLower(type == c10::kFloat ? "float32" : c10::toString(type)));
}

}  // namespace tec
