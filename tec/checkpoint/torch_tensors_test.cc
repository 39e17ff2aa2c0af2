#include "tec/checkpoint/torch_tensors.h"

#include "ATen/Functions.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tec/checkpoint/own_bytes.h"
#include "tec/checkpoint/safetensors.h"

namespace tec {
namespace {

TEST(TorchTensorsTest, AViewSharesTheElements) {
  at::Tensor tensor = at::arange(6, at::kFloat).reshape({2, 3});
  const TensorView view = ViewOf(tensor);
  EXPECT_EQ(view.bytes.data(), static_cast<const char*>(tensor.const_data_ptr()));
  EXPECT_EQ(view.shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(view.Values<float>()[5], 5);
  // The view keeps the elements after the tensor is gone.
  tensor.fill_(7);
  tensor = at::Tensor();
  EXPECT_EQ(view.Values<float>()[5], 7);
}

TEST(TorchTensorsTest, StridedTensorsAreDenseInAView) {
  const at::Tensor tensor = at::arange(6, at::kLong).reshape({2, 3}).t();
  EXPECT_EQ(ViewOf(tensor).Values<int64_t>(), (std::vector<int64_t>{0, 3, 1, 4, 2, 5}));
}

// A save copies once what lies on a device: what is a copy already is known as one.
TEST(TorchTensorsTest, AViewKnowsWhetherItIsACopy) {
  const at::Tensor tensor = at::arange(6, at::kFloat).reshape({2, 3});
  EXPECT_FALSE(OwnBytes::Has(ViewOf(tensor)));
  EXPECT_FALSE(OwnBytes::Has(ViewOf(tensor.narrow(0, 1, 1))));
  EXPECT_TRUE(OwnBytes::Has(ViewOf(tensor.t())));
}

TEST(TorchTensorsTest, EveryTypeGoesThereAndBack) {
  for (at::ScalarType type : {at::kBool, at::kByte, at::kChar, at::kShort, at::kInt, at::kLong, at::kHalf,
                              at::kBFloat16, at::kFloat, at::kDouble}) {
    const at::Tensor tensor = at::arange(2, at::kFloat).to(type).reshape({1, 2});
    const at::Tensor back = TensorOf(ViewOf(tensor));
    EXPECT_EQ(back.scalar_type(), type);
    EXPECT_TRUE(at::equal(back, tensor)) << c10::toString(type);
    EXPECT_NE(back.const_data_ptr(), tensor.const_data_ptr());
  }
  const at::Tensor scalar = at::full({}, 3.0, at::kFloat), empty = at::empty({0, 4});
  EXPECT_TRUE(at::equal(TensorOf(ViewOf(scalar)), scalar));
  EXPECT_EQ(TensorOf(ViewOf(empty)).sizes(), empty.sizes());
}

TEST(TorchTensorsTest, CopiesInPlaceOrNotAtAll) {
  at::Tensor target = at::zeros({2, 3}).set_requires_grad(true);
  EXPECT_TRUE(CopyInto(TensorView::FromFloats({2, 3}, {1, 2, 3, 4, 5, 6}), target).ok());
  EXPECT_EQ(target[1][2].item<float>(), 6);
  EXPECT_FALSE(CopyInto(TensorView::FromFloats({3, 2}, {1, 2, 3, 4, 5, 6}), target).ok());
  EXPECT_FALSE(CopyInto(ViewOf(at::zeros({2, 3}, at::kDouble)), target).ok());
  EXPECT_EQ(target[1][2].item<float>(), 6);
  // Not aligned for its type.
  const std::string bytes = "x" + std::string(24, '\0');
  TensorView odd;
  odd.shape = {2, 3};
  odd.bytes = absl::string_view(bytes).substr(1);
  EXPECT_TRUE(CopyInto(odd, target).ok());
  EXPECT_EQ(target[1][2].item<float>(), 0);
}

TEST(TorchTensorsTest, StateDictsGoThroughAFile) {
  const std::string path = absl::StrCat(testing::TempDir(), "/torch.safetensors");
  const std::vector<std::pair<std::string, at::Tensor>> state = {{"b", at::rand({3, 5})},
                                                                 {"a", at::ones({2}, at::kLong)}};
  ASSERT_TRUE(WriteSafetensors(path, ViewsOf(state)).ok());
  const auto read = ReadSafetensors(path);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->tensors.entries()[0].first, "b");
  const std::map<std::string, at::Tensor> tensors = TensorsOf(read->tensors);
  for (const auto& [name, tensor] : state) EXPECT_TRUE(at::equal(tensors.at(name), tensor)) << name;
}

}  // namespace
}  // namespace tec
