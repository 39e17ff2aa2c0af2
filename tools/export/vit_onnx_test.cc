// The model's structure. That it computes what the encoder does is compared with onnxruntime in //tools/consumers.

#include "tools/export/vit_onnx.h"

#include <cstdlib>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "onnx/onnx.pb.h"
#include "tec/base/file.h"
#include "tec/checkpoint/families/vit_file.h"

namespace tec {
namespace {

using Shape = std::vector<int64_t>;

onnx::ModelProto Model(const VitPlan& plan, const ModelDetails& details, DType dtype = DType::kFloat32) {
  const absl::StatusOr<std::unique_ptr<OnnxModel>> made = VitToOnnx(plan, 2, details, dtype);
  EXPECT_TRUE(made.ok()) << made.status();
  onnx::ModelProto model;
  if (!made.ok()) return model;
  const absl::StatusOr<std::string> bytes = (*made)->Serialised();
  EXPECT_TRUE(bytes.ok()) << bytes.status();
  EXPECT_TRUE(bytes.ok() && model.ParseFromString(*bytes));
  return model;
}

TEST(VitToOnnxTest, EveryValueIsMadeBeforeItIsUsed) {
  const absl::StatusOr<VitFile> file = ReadVitFile("tec/testing/goldens/weight_convert/pretrain.pth");
  ASSERT_TRUE(file.ok()) << file.status();
  const onnx::ModelProto model = Model(file->plan, ModelDetails());
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
  details.preprocessing = {16, 18, {0.1, 0.2, 0.3}, {0.5, 0.6, 0.7}, /*assumed=*/false, /*source=*/""};
  details.head.emplace();
  details.head->weight = TensorView::FromFloats({2, 16}, std::vector<float>(32, 1.0f));
  details.head->bias = TensorView::FromFloats({2}, {1, 2});
  details.head->global_pool = true;
  details.head->norm_weight = details.head->norm_bias = TensorView::FromFloats({16}, std::vector<float>(16, 1.0f));
  details.head->names = {"ant", "bee"};
  const onnx::ModelProto model = Model(file->plan, details);
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
  const onnx::ModelProto model = Model(file->plan, ModelDetails());
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

// What is beyond the limit of a file stands in another one, weight by weight the same.
TEST(VitToOnnxTest, WeightsMayStandBesideTheModel) {
  const absl::StatusOr<VitFile> file = ReadVitFile("tec/testing/goldens/weight_convert/pretrain.pth");
  ASSERT_TRUE(file.ok()) << file.status();
  for (const DType dtype : {DType::kFloat32, DType::kFloat16}) {
    const std::string path = std::string(std::getenv("TEST_TMPDIR")) + "/model.onnx";
    const absl::StatusOr<std::unique_ptr<OnnxModel>> made = VitToOnnx(file->plan, 2, ModelDetails(), dtype);
    ASSERT_TRUE(made.ok()) << made.status();
    EXPECT_EQ((*made)->Serialised(/*most=*/1000).status().code(), absl::StatusCode::kFailedPrecondition);
    const absl::StatusOr<OnnxModel::Written> written = (*made)->Write(path, /*most=*/1000);
    ASSERT_TRUE(written.ok()) << written.status();
    EXPECT_EQ(written->data_path, path + ".data");
    const absl::StatusOr<std::string> bytes = ReadFile(path), data = ReadFile(path + ".data");
    ASSERT_TRUE(bytes.ok() && data.ok());
    EXPECT_EQ(written->bytes, static_cast<int64_t>(bytes->size()));
    EXPECT_EQ(written->data_bytes, static_cast<int64_t>(data->size()));
    onnx::ModelProto model;
    ASSERT_TRUE(model.ParseFromString(*bytes));
    const onnx::ModelProto whole = Model(file->plan, ModelDetails(), dtype);
    ASSERT_EQ(model.graph().initializer_size(), whole.graph().initializer_size());
    int external = 0;
    for (int i = 0; i < whole.graph().initializer_size(); ++i) {
      const onnx::TensorProto &there = model.graph().initializer(i), &here = whole.graph().initializer(i);
      EXPECT_EQ(there.name(), here.name());
      if (!here.has_raw_data()) continue;
      ++external;
      EXPECT_EQ(there.data_location(), onnx::TensorProto::EXTERNAL) << there.name();
      std::map<std::string, std::string> place;
      for (const auto& entry : there.external_data()) place[entry.key()] = entry.value();
      EXPECT_EQ(place["location"], "model.onnx.data");
      EXPECT_EQ(std::stoll(place["offset"]) % 64, 0);
      EXPECT_TRUE(data->substr(std::stoll(place["offset"]), std::stoll(place["length"])) == here.raw_data())
          << there.name();
    }
    EXPECT_GT(external, static_cast<int>(file->plan.tensors.size()));
  }
}

TEST(VitToOnnxTest, InHalfPrecisionAllButInputsAndOutputsAreThat) {
  const absl::StatusOr<VitFile> file = ReadVitFile("tec/testing/goldens/weight_convert/pretrain.pth");
  ASSERT_TRUE(file.ok()) << file.status();
  const onnx::ModelProto model = Model(file->plan, ModelDetails(), DType::kFloat16);
  for (const onnx::TensorProto& tensor : model.graph().initializer()) {
    EXPECT_NE(tensor.data_type(), onnx::TensorProto::FLOAT) << tensor.name();
  }
  EXPECT_EQ(model.graph().input(0).type().tensor_type().elem_type(), onnx::TensorProto::FLOAT);
  EXPECT_EQ(model.graph().output(0).type().tensor_type().elem_type(), onnx::TensorProto::FLOAT);

  VitPlan large = file->plan;
  for (PlannedTensor& planned : large.tensors) {
    if (planned.name != "cls_token") continue;
    const Shape shape = planned.shape;
    planned.read = [shape] {
      std::vector<float> values(shape[2]);
      values[3] = 1e5f;
      return TensorView::FromFloats(shape, values);
    };
  }
  const absl::StatusOr<std::unique_ptr<OnnxModel>> made = VitToOnnx(large, 2, ModelDetails(), DType::kFloat16);
  ASSERT_TRUE(made.ok()) << made.status();
  const absl::Status status = (*made)->Serialised().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("as float16, which --dtype=float32 avoids: cls_token has 1 of 16 values that are not "
                                  "finite, the first inf at [0,0,3]"),
            absl::string_view::npos)
      << status;
}

}  // namespace
}  // namespace tec
