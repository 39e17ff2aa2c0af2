// The model's structure. That it computes what the encoder does is compared with onnxruntime in //tools/consumers.

#include "tools/export/vit_onnx.h"

#include <map>
#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "onnx/onnx.pb.h"
#include "tec/checkpoint/families/vit_file.h"

namespace tec {
namespace {

TEST(VitToOnnxTest, EveryValueIsMadeBeforeItIsUsed) {
  const absl::StatusOr<VitFile> file = ReadVitFile("tec/testing/goldens/weight_convert/pretrain.pth");
  ASSERT_TRUE(file.ok()) << file.status();
  const absl::StatusOr<std::string> bytes = VitToOnnx(file->plan, 2, ModelDetails());
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
  EXPECT_EQ(VitToOnnx(file->plan, 3, ModelDetails()).status().code(), absl::StatusCode::kInvalidArgument);
}

// That the logits are right is compared in //tools/consumers.
TEST(VitToOnnxTest, AClassifierAndThePreprocessingComeAlong) {
  const absl::StatusOr<VitFile> file = ReadVitFile("tec/testing/goldens/weight_convert/pretrain.pth");
  ASSERT_TRUE(file.ok()) << file.status();
  ModelDetails details;
  details.preprocessing = {16, 18, {0.1, 0.2, 0.3}, {0.5, 0.6, 0.7}};
  details.head.emplace();
  details.head->weight = TensorView::FromFloats({2, 16}, std::vector<float>(32, 1.0f));
  details.head->bias = TensorView::FromFloats({2}, {1, 2});
  details.head->global_pool = true;
  details.head->norm_weight = details.head->norm_bias = TensorView::FromFloats({16}, std::vector<float>(16, 1.0f));
  details.head->names = {"ant", "bee"};
  const absl::StatusOr<std::string> bytes = VitToOnnx(file->plan, 2, details);
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  onnx::ModelProto model;
  ASSERT_TRUE(model.ParseFromString(*bytes));
  ASSERT_EQ(model.graph().output_size(), 3);
  EXPECT_EQ(model.graph().output(2).name(), "logits");
  EXPECT_EQ(model.graph().output(2).type().tensor_type().shape().dim(1).dim_value(), 2);
  std::map<std::string, std::string> metadata;
  for (const auto& entry : model.metadata_props()) metadata[entry.key()] = entry.value();
  EXPECT_EQ(metadata["image_size"], "16");
  EXPECT_EQ(metadata["resize_short_side"], "18");
  EXPECT_EQ(metadata["mean"], "0.1,0.2,0.3");
  EXPECT_EQ(metadata["class_names"], R"(["ant","bee"])");
}

TEST(VitToOnnxTest, AFileWithoutFinalNormGetsThePlainOne) {
  const absl::StatusOr<VitFile> file = ReadVitFile("tec/testing/goldens/weight_convert/converted.pth");
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_FALSE(file->plan.traits.final_norm);
  const absl::StatusOr<std::string> bytes = VitToOnnx(file->plan, 2, ModelDetails());
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
