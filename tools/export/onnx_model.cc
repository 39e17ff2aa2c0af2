#include "tools/export/onnx_model.h"

#include <memory>

#include "absl/strings/str_cat.h"
#include "tec/base/file.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"
#include "tec/checkpoint/elements.h"

namespace tec {
namespace {

constexpr int kOpset = 17;
// The IR version that belongs to it.
constexpr int kIrVersion = 8;
// Where a weight may begin in a data file, which runtimes map into memory.
constexpr int64_t kAlignment = 64;

// Numbers of fields of onnx.proto.
constexpr int kGraphField = onnx::ModelProto::kGraphFieldNumber;
constexpr int kInitializerField = onnx::GraphProto::kInitializerFieldNumber;
constexpr int kRawDataField = onnx::TensorProto::kRawDataFieldNumber;

// What stands before the `bytes` bytes of a field, in protobuf's encoding.
std::string FieldStart(int field, uint64_t bytes) {
  std::string start;
  for (uint64_t value : {static_cast<uint64_t>(field) << 3 | 2, bytes}) {  // 2: of a length that is told.
    for (; value >= 128; value >>= 7) start.push_back(static_cast<char>(value % 128 + 128));
    start.push_back(static_cast<char>(value));
  }
  return start;
}

int64_t Aligned(int64_t offset) { return (offset + kAlignment - 1) / kAlignment * kAlignment; }

void SetType(const std::string& name, const std::vector<std::string>& sizes, onnx::ValueInfoProto* info) {
  info->set_name(name);
  auto* type = info->mutable_type()->mutable_tensor_type();
  type->set_elem_type(onnx::TensorProto::FLOAT);
  for (const std::string& size : sizes) {
    auto* dimension = type->mutable_shape()->add_dim();
    if (size == "N") {
      dimension->set_dim_param(size);
    } else {
      dimension->set_dim_value(std::stoll(size));
    }
  }
}

}  // namespace

OnnxModel::OnnxModel(DType dtype) : dtype_(dtype), graph_(*proto_.mutable_graph()) {
  TEC_CHECK(dtype == DType::kFloat32 || dtype == DType::kFloat16) << "no type of an ONNX model's weights";
  proto_.set_ir_version(kIrVersion);
  proto_.set_producer_name("tec");
  onnx::OperatorSetIdProto* opset = proto_.add_opset_import();
  opset->set_domain("");
  opset->set_version(kOpset);
}

std::string OnnxModel::NewName() { return absl::StrCat("constant_", ++constants_); }

std::string OnnxModel::Add(const std::string& operation, const std::vector<std::string>& inputs,
                           const std::vector<std::pair<std::string, int64_t>>& integers,
                           const std::vector<Attribute>& lists) {
  onnx::NodeProto* node = graph_.add_node();
  node->set_op_type(operation);
  const std::string output = absl::StrCat(operation, "_", graph_.node_size());
  node->set_name(output);
  for (const std::string& input : inputs) node->add_input(input);
  node->add_output(output);
  for (const auto& [name, value] : integers) {
    onnx::AttributeProto* attribute = node->add_attribute();
    attribute->set_name(name);
    attribute->set_type(onnx::AttributeProto::INT);
    attribute->set_i(value);
  }
  for (const auto& [name, values] : lists) {
    onnx::AttributeProto* attribute = node->add_attribute();
    attribute->set_name(name);
    attribute->set_type(onnx::AttributeProto::INTS);
    for (int64_t value : values) attribute->add_ints(value);
  }
  return output;
}

std::string OnnxModel::CastTo(const std::string& x, int type) { return Add("Cast", {x}, {{"to", type}}); }

// Opset 17 has no node for it. Squares of a residual stream are more than half precision holds.
std::string OnnxModel::RmsNorm(const std::string& x, const std::string& name, double epsilon) {
  const bool half = dtype_ == DType::kFloat16;
  const std::string wide = half ? CastTo(x, onnx::TensorProto::FLOAT) : x;
  const float value = static_cast<float>(epsilon);
  onnx::TensorProto* constant = graph_.add_initializer();
  constant->set_name(NewName());
  constant->set_data_type(onnx::TensorProto::FLOAT);
  constant->set_raw_data(&value, sizeof(value));
  const std::string added = constant->name();
  const std::string mean = Add("ReduceMean", {Add("Mul", {wide, wide})}, {{"keepdims", 1}}, {{"axes", {-1}}});
  const std::string normed = Add("Div", {wide, Add("Sqrt", {Add("Add", {mean, added})})});
  return Add("Mul", {half ? CastTo(normed, onnx::TensorProto::FLOAT16) : normed, name + ".weight"});
}

std::string OnnxModel::Norm(const std::string& x, const std::string& name, double epsilon, bool rms) {
  if (rms) return RmsNorm(x, name, epsilon);
  const std::string output = Add("LayerNormalization", {x, name + ".weight", name + ".bias"}, {{"axis", -1}});
  onnx::AttributeProto* attribute = graph_.mutable_node(graph_.node_size() - 1)->add_attribute();
  attribute->set_name("epsilon");
  attribute->set_type(onnx::AttributeProto::FLOAT);
  attribute->set_f(static_cast<float>(epsilon));
  return output;
}

std::string OnnxModel::Linear(const std::string& x, const std::string& name) {
  const std::string transposed = Add("Transpose", {name + ".weight"}, {}, {{"perm", {1, 0}}});
  return Add("Add", {Add("MatMul", {x, transposed}), name + ".bias"});
}

std::string OnnxModel::Floats(const std::string& name, const Shape& shape, std::vector<float> values) {
  const auto kept = std::make_shared<std::vector<float>>(std::move(values));
  return Weights(name, shape, [kept] { return *kept; });
}

std::string OnnxModel::Weights(const std::string& name, const Shape& shape, std::function<std::vector<float>()> read) {
  weights_.push_back({graph_.initializer_size(), shape, std::move(read)});
  onnx::TensorProto* tensor = graph_.add_initializer();
  tensor->set_name(name);
  tensor->set_data_type(dtype_ == DType::kFloat16 ? onnx::TensorProto::FLOAT16 : onnx::TensorProto::FLOAT);
  for (int64_t size : shape) tensor->add_dims(size);
  return name;
}

std::string OnnxModel::Integers(const Shape& values) {
  onnx::TensorProto* tensor = graph_.add_initializer();
  tensor->set_name(NewName());
  tensor->set_data_type(onnx::TensorProto::INT64);
  tensor->add_dims(values.size());
  for (int64_t value : values) tensor->add_int64_data(value);
  return tensor->name();
}

std::string OnnxModel::Index(int64_t value) {
  onnx::TensorProto* tensor = graph_.add_initializer();
  tensor->set_name(absl::StrCat("index_", graph_.initializer_size()));
  tensor->set_data_type(onnx::TensorProto::INT64);
  tensor->add_int64_data(value);
  return tensor->name();
}

void OnnxModel::Input(const std::string& name, const std::vector<std::string>& sizes) {
  SetType(name, sizes, graph_.add_input());
}

void OnnxModel::Output(const std::string& value, const std::string& name, const std::vector<std::string>& sizes) {
  onnx::NodeProto* node = graph_.add_node();
  const bool half = dtype_ == DType::kFloat16;
  node->set_op_type(half ? "Cast" : "Identity");
  node->set_name(name);
  node->add_input(value);
  node->add_output(name);
  if (half) {
    onnx::AttributeProto* to = node->add_attribute();
    to->set_name("to");
    to->set_type(onnx::AttributeProto::INT);
    to->set_i(onnx::TensorProto::FLOAT);
  }
  SetType(name, sizes, graph_.add_output());
}

std::string OnnxModel::Entered(const std::string& name) {
  return dtype_ == DType::kFloat16 ? CastTo(name, onnx::TensorProto::FLOAT16) : name;
}

int64_t OnnxModel::BytesOf(const Weight& weight) const {
  int64_t bytes = static_cast<int64_t>(DTypeSize(dtype_));
  for (int64_t size : weight.shape) bytes *= size;
  return bytes;
}

int64_t OnnxModel::WeightBytes() const {
  int64_t bytes = 0;
  for (const Weight& weight : weights_) bytes += BytesOf(weight);
  return bytes;
}

absl::StatusOr<TensorView> OnnxModel::Read(const Weight& weight) const {
  const auto values = std::make_shared<const std::vector<float>>(weight.read());
  TensorView whole;
  whole.shape = weight.shape;
  whole.bytes = {reinterpret_cast<const char*>(values->data()), values->size() * sizeof(float)};
  whole.owner = values;
  const TensorView cast = Cast(whole, dtype_);
  TEC_CHECK_EQ(static_cast<int64_t>(cast.bytes.size()), BytesOf(weight));
  if (dtype_ == DType::kFloat32) return cast;
  TEC_RETURN_IF_ERROR(Annotate(CheckFinite(graph_.initializer(weight.initializer).name(), cast),
                               "as float16, which --dtype=float32 avoids"));
  return cast;
}

absl::Status OnnxModel::WriteTo(const std::vector<Weight>& weights, const Sink& sink) const {
  // Fields go by their numbers. What stands before and after the graph, and in it before and after the initializers:
  onnx::ModelProto front = proto_, back;
  front.clear_graph();
  back.mutable_opset_import()->Swap(front.mutable_opset_import());
  back.mutable_metadata_props()->Swap(front.mutable_metadata_props());
  onnx::GraphProto first = graph_, last;
  first.clear_initializer();
  last.mutable_input()->Swap(first.mutable_input());
  last.mutable_output()->Swap(first.mutable_output());

  std::vector<const Weight*> of(graph_.initializer_size());
  for (const Weight& weight : weights) of[weight.initializer] = &weight;
  const auto size_of = [&](int i) {
    const uint64_t bytes = graph_.initializer(i).ByteSizeLong();
    return of[i] == nullptr ? bytes : bytes + FieldStart(kRawDataField, BytesOf(*of[i])).size() + BytesOf(*of[i]);
  };
  uint64_t graph_bytes = first.ByteSizeLong() + last.ByteSizeLong();
  for (int i = 0; i < graph_.initializer_size(); ++i) {
    graph_bytes += FieldStart(kInitializerField, size_of(i)).size() + size_of(i);
  }
  TEC_RETURN_IF_ERROR(sink(front.SerializeAsString() + FieldStart(kGraphField, graph_bytes)));
  TEC_RETURN_IF_ERROR(sink(first.SerializeAsString()));
  for (int i = 0; i < graph_.initializer_size(); ++i) {
    TEC_RETURN_IF_ERROR(sink(FieldStart(kInitializerField, size_of(i)) + graph_.initializer(i).SerializeAsString()));
    if (of[i] == nullptr) continue;
    TEC_ASSIGN_OR_RETURN(const TensorView values, Read(*of[i]));
    TEC_RETURN_IF_ERROR(sink(FieldStart(kRawDataField, values.bytes.size())));
    TEC_RETURN_IF_ERROR(sink(values.bytes));
  }
  return sink(last.SerializeAsString() + back.SerializeAsString());
}

absl::StatusOr<std::string> OnnxModel::Serialised(int64_t most) const {
  if (const int64_t bytes = WeightBytes(); bytes > most) {
    return absl::FailedPreconditionError(
        absl::StrCat("the weights take ", bytes, " bytes; a single ONNX file holds at most ", most));
  }
  std::string text;
  TEC_RETURN_IF_ERROR(WriteTo(weights_, [&text](absl::string_view bytes) {
    text.append(bytes.data(), bytes.size());
    return absl::OkStatus();
  }));
  return text;
}

absl::StatusOr<OnnxModel::Written> OnnxModel::Write(const std::string& path, int64_t most) {
  Written written;
  std::unique_ptr<AtomicFileWriter> data;
  if (WeightBytes() > most) {
    written.data_path = path + kDataSuffix;
    const std::string name = written.data_path.substr(written.data_path.rfind('/') + 1);
    int64_t offset = 0;
    for (const Weight& weight : weights_) offset = Aligned(offset) + BytesOf(weight);
    TEC_ASSIGN_OR_RETURN(data, AtomicFileWriter::Open(written.data_path, static_cast<uint64_t>(offset)));
    offset = 0;
    for (const Weight& weight : weights_) {
      TEC_ASSIGN_OR_RETURN(const TensorView values, Read(weight));
      TEC_RETURN_IF_ERROR(data->Write(std::string(Aligned(offset) - offset, '\0')));
      TEC_RETURN_IF_ERROR(data->Write(values.bytes));
      offset = Aligned(offset);
      onnx::TensorProto* tensor = graph_.mutable_initializer(weight.initializer);
      tensor->set_data_location(onnx::TensorProto::EXTERNAL);
      const auto say = [tensor](const char* key, const std::string& value) {
        onnx::StringStringEntryProto* entry = tensor->add_external_data();
        entry->set_key(key);
        entry->set_value(value);
      };
      say("location", name);
      say("offset", absl::StrCat(offset));
      say("length", absl::StrCat(BytesOf(weight)));
      offset += BytesOf(weight);
    }
    written.data_bytes = offset;
  }
  // What is no weight is small beside them.
  const int64_t bytes = data ? 0 : WeightBytes();
  TEC_ASSIGN_OR_RETURN(const std::unique_ptr<AtomicFileWriter> model, AtomicFileWriter::Open(path, bytes));
  TEC_RETURN_IF_ERROR(WriteTo(data ? std::vector<Weight>() : weights_,
                              [&model](absl::string_view part) { return model->Write(part); }));
  if (data) TEC_RETURN_IF_ERROR(data->Commit());
  written.bytes = static_cast<int64_t>(model->size());
  TEC_RETURN_IF_ERROR(model->Commit());
  return written;
}

}  // namespace tec
