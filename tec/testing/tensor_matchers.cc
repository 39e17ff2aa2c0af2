#include "tec/testing/tensor_matchers.h"

#include <cmath>
#include <cstring>
#include <limits>

namespace tec::testing {
namespace {

// What both comparisons ask for first.
::testing::AssertionResult Comparable(const at::Tensor& actual, const at::Tensor& expected) {
  if (!actual.defined() || !expected.defined()) return ::testing::AssertionFailure() << "a tensor is undefined";
  const bool scalars = actual.numel() == 1 && expected.numel() == 1 && actual.dim() <= 1 && expected.dim() <= 1;
  if (actual.sizes() != expected.sizes() && !scalars) {
    return ::testing::AssertionFailure() << "shape " << actual.sizes() << ", expected " << expected.sizes();
  }
  if (actual.scalar_type() != expected.scalar_type()) {
    return ::testing::AssertionFailure() << "dtype " << actual.dtype() << ", expected " << expected.dtype();
  }
  if (actual.numel() == 0) return ::testing::AssertionFailure() << "empty tensors prove nothing";
  return ::testing::AssertionSuccess();
}

}  // namespace

::testing::AssertionResult TensorNear(const at::Tensor& actual, const at::Tensor& expected, double tolerance) {
  if (::testing::AssertionResult comparable = Comparable(actual, expected); !comparable) return comparable;
  const at::Tensor a = actual.detach().cpu().to(at::kDouble).contiguous();
  const at::Tensor b = expected.detach().cpu().to(at::kDouble).contiguous();
  const double *pa = a.data_ptr<double>(), *pb = b.data_ptr<double>();
  double largest = -1;
  int64_t place = 0, wrong = 0;
  for (int64_t i = 0; i < a.numel(); ++i) {
    double error = std::abs(pa[i] - pb[i]);
    if (std::isnan(error)) error = pa[i] == pb[i] ? 0 : std::numeric_limits<double>::infinity();
    if (!(error <= tolerance)) ++wrong;
    if (error > largest) {
      largest = error;
      place = i;
    }
  }
  if (wrong == 0) return ::testing::AssertionSuccess() << "largest error " << largest;
  std::vector<int64_t> index(a.dim());
  int64_t rest = place;
  for (int64_t d = a.dim() - 1; d >= 0; --d) {
    index[d] = rest % a.size(d);
    rest /= a.size(d);
  }
  return ::testing::AssertionFailure() << wrong << " of " << a.numel() << " values are off by more than " << tolerance
                                       << "; the largest error is " << largest << " at " << at::IntArrayRef(index)
                                       << ": " << pa[place] << ", expected " << pb[place];
}

::testing::AssertionResult BitEqual(const at::Tensor& actual, const at::Tensor& expected) {
  if (::testing::AssertionResult comparable = Comparable(actual, expected); !comparable) return comparable;
  const at::Tensor a = actual.detach().cpu().contiguous(), b = expected.detach().cpu().contiguous();
  if (std::memcmp(a.data_ptr(), b.data_ptr(), a.nbytes()) == 0) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "bits differ; as values: " << TensorNear(actual, expected, 0).message();
}

}  // namespace tec::testing
