// The model's structure. That it computes what the encoder does is compared with onnxruntime in //tools/consumers.

#include "tools/export/vit_onnx.h"

#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "onnx/onnx.pb.h"

namespace tec {
namespace {

TEST(VitToOnnxTest, EveryValueIsMadeBeforeItIsUsed) {
  const absl::StatusOr<VitFile> file = ReadVitFile("tec/testing/goldens/weight_convert/pretrain.pth");
  ASSERT_TRUE(file.ok()) << file.status();
  const absl::StatusOr<std::string> bytes = VitToOnnx(file->plan, 2);
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  onnx::ModelProto model;
  ASSERT_TRUE(model.ParseFromString(*bytes));
  ASSERT_EQ(model.opset_import_size(), 1);
  EXPECT_EQ(model.opset_import(0).version(), 17);
  const onnx::GraphProto& graph = model.graph();
  std::set<std::string> known = {"images"}, used;
  for (const onnx::TensorProto& tensor : graph.initializer()) {
    EXPECT_TRUE(known.insert(tensor.name()).second) << tensor.name();
  }
  for (const onnx::NodeProto& node : graph.node()) {
    for (const std::string& input : node.input()) {
      EXPECT_EQ(known.count(input), 1) << input;
      used.insert(input);
    }
    for (const std::string& output : node.output()) EXPECT_TRUE(known.insert(output).second) << output;
  }
  // Every weight plays a part.
  for (const PlannedTensor& planned : file->plan.tensors) EXPECT_EQ(used.count(planned.name), 1) << planned.name;
  const auto& shape = graph.input(0).type().tensor_type().shape();
  EXPECT_EQ(shape.dim(0).dim_param(), "N");
  EXPECT_EQ(shape.dim(2).dim_value(), 16);
  ASSERT_EQ(graph.output_size(), 2);
  EXPECT_EQ(graph.output(0).name(), "cls");
  EXPECT_EQ(graph.output(1).name(), "patch_mean");
  EXPECT_EQ(VitToOnnx(file->plan, 3).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(VitToOnnxTest, AFileWithoutFinalNormGetsThePlainOne) {
  const absl::StatusOr<VitFile> file = ReadVitFile("tec/testing/goldens/weight_convert/converted.pth");
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_FALSE(file->plan.traits.final_norm);
  const absl::StatusOr<std::string> bytes = VitToOnnx(file->plan, 2);
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  onnx::ModelProto model;
  ASSERT_TRUE(model.ParseFromString(*bytes));
  std::string weight, bias;
  for (const onnx::TensorProto& tensor : model.graph().initializer()) {
    if (tensor.name() == "norm.weight") weight = tensor.raw_data();
    if (tensor.name() == "norm.bias") bias = tensor.raw_data();
  }
  const std::vector<float> ones(16, 1.0f), zeros(16);
  EXPECT_EQ(weight, std::string(reinterpret_cast<const char*>(ones.data()), 64));
  EXPECT_EQ(bias, std::string(reinterpret_cast<const char*>(zeros.data()), 64));
  int norms = 0;
  for (const onnx::NodeProto& node : model.graph().node()) norms += node.op_type() == "LayerNormalization";
  EXPECT_EQ(norms, 2 * file->plan.traits.depth + 1);
}

}  // namespace
}  // namespace tec
