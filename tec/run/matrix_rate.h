// How fast a device makes plain matrix products: what a step's speed is a part of.

#ifndef TEC_RUN_MATRIX_RATE_H_
#define TEC_RUN_MATRIX_RATE_H_

#include <cstdint>
#include <functional>
#include <string>

#include "c10/core/Device.h"
#include "c10/core/ScalarType.h"

namespace tec {

// Of a product of [rows, inner] and [inner, columns].
struct ProductSize {
  int64_t rows = 0, inner = 0, columns = 0;
};

// FLOP/s of such products of random numbers of `type`, with this process's compute threads. Two a multiply-add. Timed
// for `seconds` and a few times at least; see BestRate.
double ProductRate(c10::Device device, c10::ScalarType type, const ProductSize& size, double seconds);
// Of square products, large enough to be as fast as any.
double MatrixRate(c10::Device device, c10::ScalarType type, double seconds);

// What ProductRate does, for a test: `work` / the shortest time of `run`, which is called until `seconds` are over and
// kLeastTimings times at least. The shortest: whatever else the machine does makes a timing longer, never shorter.
// now: seconds.
inline constexpr int kLeastTimings = 3;
double BestRate(double work, double seconds, const std::function<void()>& run, const std::function<double()>& now);

// "143.2 images/s, 12.1 TFLOP/s of the method's products: 36 % of the 33.7 that plain products of float32 reach here".
// images_per_second: of one rank.
std::string RateText(double images_per_second, double flops_per_image, double matrix_rate, c10::ScalarType type);

}  // namespace tec

#endif  // TEC_RUN_MATRIX_RATE_H_
