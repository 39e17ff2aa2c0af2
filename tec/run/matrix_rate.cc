#include "tec/run/matrix_rate.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include "ATen/ops/empty.h"
#include "ATen/ops/mm.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "c10/core/GradMode.h"
#include "tec/base/logging.h"
#include "tec/nn/product.h"

namespace tec {

double BestRate(double work, double seconds, const std::function<void()>& run, const std::function<double()>& now) {
  const double start = now();
  double shortest = std::numeric_limits<double>::infinity(), before = start;
  for (int timings = 0; timings < kLeastTimings || before - start < seconds; ++timings) {
    run();
    const double after = now();
    shortest = std::min(shortest, after - before);
    before = after;
  }
  return work / shortest;
}

double ProductRate(c10::Device device, c10::ScalarType type, const ProductSize& size, double seconds) {
  c10::NoGradGuard no_grad;
  const at::TensorOptions options = at::TensorOptions(device).dtype(type);
  // Random: of ones, a GPU draws less power and clocks higher.
  const at::Tensor a = at::empty({size.rows, size.inner}, options).normal_();
  const at::Tensor b = at::empty({size.inner, size.columns}, options).normal_();
  at::Tensor c = at::empty({size.rows, size.columns}, options);
  // A GPU is asked for several at once, so that it does not wait for the next.
  const int at_once = device.is_cuda() ? 10 : 1;
  const auto run = [&] {
    for (int i = 0; i < at_once; ++i) {
      // As the model's products, which on the CPU are not all LibTorch's own.
      if (device.is_cpu()) {
        c = Product(a, b.t());
      } else {
        at::mm_out(c, a, b);
      }
    }
    // Reads one value: what was queued on a device is done then.
    TEC_CHECK(std::isfinite(c[0][0].item<float>()));
  };
  run();
  const double flops = 2 * static_cast<double>(size.rows) * static_cast<double>(size.inner * size.columns) * at_once;
  return BestRate(flops, seconds, run, [] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  });
}

double MatrixRate(c10::Device device, c10::ScalarType type, double seconds) {
  const int64_t side = device.is_cuda() ? 8192 : 2048;
  return ProductRate(device, type, {side, side, side}, seconds);
}

std::string RateText(double images_per_second, double flops_per_image, double matrix_rate, c10::ScalarType type) {
  const double rate = images_per_second * flops_per_image;
  return absl::StrFormat(
      "%.4g images/s, %.3g TFLOP/s of the method's products: %.0f %% of the %.3g that plain products of %s reach here",
      images_per_second, rate * 1e-12, 100 * rate / matrix_rate, matrix_rate * 1e-12,
      absl::AsciiStrToLower(type == c10::kFloat ? "float32" : c10::toString(type)));
}

}  // namespace tec
