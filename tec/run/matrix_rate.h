// How fast a device makes plain matrix products: what a step's speed is a part of.

#ifndef TEC_RUN_MATRIX_RATE_H_
#define TEC_RUN_MATRIX_RATE_H_

#include <string>

#include "c10/core/Device.h"
#include "c10/core/ScalarType.h"

namespace tec {

// FLOP/s of square products of random numbers of `type`, one after another for at least `seconds`, with this process's
// compute threads. Two a multiply-add.
double MatrixRate(c10::Device device, c10::ScalarType type, double seconds);

// "143.2 images/s, 12.1 TFLOP/s of the method's products: 36 % of the 33.7 that plain products of float32 reach here".
// images_per_second: of one rank.
std::string RateText(double images_per_second, double flops_per_image, double matrix_rate, c10::ScalarType type);

}  // namespace tec

#endif  // TEC_RUN_MATRIX_RATE_H_
