// Comparison of tensors that cannot pass by accident: shape and dtype first, a NaN on either side is an infinite error,
// and nothing to compare is a failure.
//
//   EXPECT_TRUE(TensorNear(actual, expected, 3e-6));

#ifndef TEC_TESTING_TENSOR_MATCHERS_H_
#define TEC_TESTING_TENSOR_MATCHERS_H_

#include "ATen/core/Tensor.h"
#include "gtest/gtest.h"

namespace tec::testing {

// Success if every |actual - expected| <= tolerance. A failure tells the largest error, its place and both values.
// tolerance 0: equal values. A 0-dim tensor compares with one of shape [1].
::testing::AssertionResult TensorNear(const at::Tensor& actual, const at::Tensor& expected, double tolerance);

// Success if the bytes are the same.
::testing::AssertionResult BitEqual(const at::Tensor& actual, const at::Tensor& expected);

}  // namespace tec::testing

#endif  // TEC_TESTING_TENSOR_MATCHERS_H_
