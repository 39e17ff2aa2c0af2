#include "benchmarks/train/operation_counter.h"

#include <map>
#include <vector>

#include "ATen/ATen.h"
#include "gtest/gtest.h"
#include "tec/nn/autocast.h"
#include "tec/nn/low_linear.h"
#include "tec/nn/modules.h"
#include "tec/nn/product.h"
#include "tec/nn/work_record.h"

namespace tec {
namespace {

constexpr int64_t kFloatBytes = 4, kLowBytes = 2;

std::vector<std::string> Names(const std::vector<CountedOperation>& operations) {
  std::vector<std::string> names;
  for (const CountedOperation& operation : operations) names.push_back(operation.name);
  return names;
}

using Strings = std::vector<std::string>;

TEST(OperationCounterTest, CountsBytesOfWhatIsTouched) {
  const at::Tensor a = at::ones({6, 5}), row = at::ones({5});
  OperationCounter counter;
  const at::Tensor sum = a + row.expand({6, 5});
  const at::Tensor view = sum.t().slice(0, 1).unsqueeze(0);
  const at::Tensor low = sum.to(at::kBFloat16);
  const at::Tensor empty = at::empty({100});
  const std::vector<CountedOperation> done = counter.Take();
  ASSERT_EQ(Names(done), (Strings{"add", "copy_"}));
  EXPECT_EQ(done[0].bytes_read, (30 + 5) * kFloatBytes);
  EXPECT_EQ(done[0].bytes_written, 30 * kFloatBytes);
  EXPECT_EQ(done[0].kind, "arithmetic on one type");
  EXPECT_EQ(done[1].bytes_read, 30 * kFloatBytes);
  EXPECT_EQ(done[1].bytes_written, 30 * kLowBytes);
  EXPECT_EQ(done[1].kind, "casts down");
  EXPECT_TRUE(counter.Take().empty());
}

TEST(OperationCounterTest, LooksIntoWhatIsComposed) {
  const at::Tensor x = at::ones({2, 3, 8}), weight = at::ones({5, 8}), bias = at::ones({5});
  OperationCounter counter;
  at::linear(x, weight, bias);
  at::stack({x, x});
  x.mean();
  const std::vector<CountedOperation> done = counter.Take();
  ASSERT_EQ(Names(done), (Strings{"addmm", "cat", "mean"}));
  EXPECT_EQ(done[0].flops, 2.0 * 6 * 8 * 5);
  EXPECT_EQ(done[0].kind, kProducts);
  EXPECT_EQ(done[1].bytes_read, 2 * 48 * kFloatBytes);
}

// A product under autocast: its operands are cast, and it is counted once.
TEST(OperationCounterTest, SeesThroughAutocast) {
  const at::Tensor a = at::ones({4, 6}), b = at::ones({6, 3});
  OperationCounter counter;
  {
    const AutocastGuard autocast(at::kCPU, at::kBFloat16);
    at::mm(a, b);
  }
  const std::vector<CountedOperation> done = counter.Take();
  ASSERT_EQ(Names(done), (Strings{"copy_", "copy_", "mm"}));
  EXPECT_EQ(done[2].bytes_read, (24 + 18) * kLowBytes);
  EXPECT_EQ(done[2].bytes_written, 12 * kLowBytes);
}

TEST(OperationCounterTest, SeesTheBackwardPass) {
  LayerNorm norm(8);
  {
    const at::NoGradGuard no_grad;
    norm.weight.fill_(1);
    norm.bias.zero_();
  }
  const at::Tensor x = at::ones({4, 8}).requires_grad_(true);
  const at::Tensor y = norm.forward(x);
  OperationCounter counter;
  y.backward(at::ones({4, 8}));
  bool found = false;
  for (const CountedOperation& operation : counter.Take()) {
    if (operation.name != "native_layer_norm_backward") continue;
    found = true;
    EXPECT_EQ(operation.kernels, 3);
    // x and its gradient twice, mean and deviation, weight and bias.
    EXPECT_EQ(operation.bytes_read, (4 * 32 + 2 * 4 + 2 * 8) * kFloatBytes);
    EXPECT_EQ(operation.bytes_written, (32 + 2 * 8) * kFloatBytes);
  }
  EXPECT_TRUE(found);
}

TEST(OperationCounterTest, TakesAFusedFunctionAtItsWord) {
  const at::Tensor x = at::ones({16});
  OperationCounter counter;
  {
    WorkRecord work("tec::twice", {x, at::Tensor()}, /*kernels=*/2);
    const at::Tensor y = (x + x).mul_(1);
    work.Wrote({y});
  }
  const std::vector<CountedOperation> done = counter.Take();
  ASSERT_EQ(Names(done), (Strings{"tec::twice"}));
  EXPECT_EQ(done[0].kernels, 2);
  EXPECT_EQ(done[0].bytes_read, 16 * kFloatBytes);
  EXPECT_EQ(done[0].bytes_written, 16 * kFloatBytes);
}

// Of low precision, and gives float32: the CPU casts, a GPU's product does not.
TEST(OperationCounterTest, TakesAWeightsGradientForTheProductThatItIs) {
  const at::Tensor x = at::ones({3, 4}, at::kBFloat16), weight = at::ones({5, 4}).requires_grad_(true);
  const at::Tensor y = LowLinear(x, weight, {}, weight.detach().to(at::kBFloat16), at::zeros({5}, at::kBFloat16));
  const at::Tensor dy = at::ones({3, 5}, at::kBFloat16);
  OperationCounter counter;
  y.backward(dy);
  const std::vector<CountedOperation> done = counter.Take();
  ASSERT_EQ(Names(done), (Strings{"tec::weight_gradient"}));
  EXPECT_EQ(done[0].kind, kProducts);
  EXPECT_EQ(done[0].flops, 2.0 * 3 * 4 * 5);
  EXPECT_EQ(done[0].bytes_read, (15 + 12) * kLowBytes);
  EXPECT_EQ(done[0].bytes_written, 20 * kFloatBytes);
}

// GELU within it, which a CPU's has, is a kernel of its own on a GPU.
TEST(OperationCounterTest, TakesAProductOfThisProjectForOne) {
  const at::Tensor x = at::ones({2, 3, 4}), weight = at::ones({5, 4}), y = at::ones({2, 3, 5});
  OperationCounter counter;
  for (const char* name : {"tec::product", "tec::product_gelu"}) {
    WorkRecord work(name, {x, weight, at::Tensor()});
    work.Wrote({y});
  }
  const std::vector<CountedOperation> all = counter.Take();
  ASSERT_EQ(Names(all), (Strings{"tec::product", "tec::product_gelu", "gelu"}));
  for (const CountedOperation& done : {all[0], all[1]}) {
    EXPECT_EQ(done.kind, kProducts) << done.name;
    EXPECT_EQ(done.flops, 2.0 * 2 * 3 * 4 * 5) << done.name;
    EXPECT_EQ(done.kernels, 1) << done.name;
  }
  EXPECT_EQ(all[2].kind, "GELU");
  EXPECT_EQ(all[2].kernels, 1);
  EXPECT_EQ(all[2].bytes_read, 30 * kFloatBytes);
  EXPECT_EQ(all[2].bytes_written, 30 * kFloatBytes);
}

// With or without instructions for bfloat16: copies into float32 are no work of the method's.
TEST(OperationCounterTest, SeesOfAProductOfBfloat16NotHowItIsMade) {
  const at::Tensor x = at::ones({256, 128}, at::kBFloat16), weight = at::ones({128, 128}, at::kBFloat16);
  const at::Tensor bias = at::ones({128}, at::kBFloat16);
  OperationCounter counter;
  Product(x, weight, bias);
  ProductGelu(x, weight, bias);
  EXPECT_EQ(Names(counter.Take()), (Strings{"tec::product", "tec::product_gelu", "gelu"}));
}

TEST(OperationCounterTest, TakesTheProductsOfHeadsForProducts) {
  const at::Tensor a = at::ones({2, 3, 5, 4}), b = at::ones({2, 3, 7, 4}), y = at::ones({2, 3, 5, 7});
  OperationCounter counter;
  {
    WorkRecord work("tec::head_product", {a, b});
    work.Wrote({y});
  }
  const std::vector<CountedOperation> done = counter.Take();
  ASSERT_EQ(done.size(), 1u);
  EXPECT_EQ(done[0].kind, kProducts);
  EXPECT_EQ(done[0].flops, 2.0 * 2 * 3 * 5 * 4 * 7);
}

// 36 tensors of 4 lists go into a launch, and 320 chunks of 65,536 numbers.
TEST(OperationCounterTest, CountsLaunchesForLists) {
  const auto kernels = [](int64_t tensors, int64_t size) {
    const std::vector<at::Tensor> list(tensors, at::ones({size}));
    OperationCounter counter;
    at::_foreach_add_(list, 1);
    const std::vector<CountedOperation> done = counter.Take();
    EXPECT_EQ(Names(done), (Strings{"_foreach_add_"}));
    return done.empty() ? 0 : done[0].kernels;
  };
  EXPECT_EQ(kernels(110, 10), 1);
  EXPECT_EQ(kernels(111, 10), 2);
  EXPECT_EQ(kernels(1, 320 * 65536), 1);
  EXPECT_EQ(kernels(1, 320 * 65536 + 1), 2);
  EXPECT_EQ(kernels(2, 160 * 65536), 1);
  EXPECT_EQ(kernels(2, 161 * 65536), 2);
}

TEST(OperationCounterTest, CountsWhatTheHostWaitsFor) {
  const at::Tensor x = at::ones({});
  OperationCounter counter;
  x.item<float>();
  const std::vector<CountedOperation> done = counter.Take();
  ASSERT_EQ(done.size(), 1);
  EXPECT_EQ(done[0].kind, kHostWaits);
  EXPECT_EQ(done[0].kernels, 0);
}

}  // namespace
}  // namespace tec
