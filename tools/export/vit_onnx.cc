#include "tools/export/vit_onnx.h"

#include <cmath>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "nlohmann/json.hpp"
#include "onnx/onnx.pb.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"
#include "tec/checkpoint/elements.h"
#include "tec/nn/rotary_grid.h"

namespace tec {
namespace {

using Shape = std::vector<int64_t>;

constexpr int kOpset = 17;
// The IR version that belongs to it.
constexpr int kIrVersion = 8;
// FinetuneModel's norm is a new one, whatever the encoder's (tec/models/encoder.cc).
constexpr double kClassifierNormEpsilon = 1e-6;
// protobuf's limit, less what is no weight.
constexpr int64_t kMaxBytes = (int64_t{1} << 31) - (int64_t{16} << 20);

// Adds nodes to a graph; each gives one value, named after what it is.
class Graph {
 public:
  explicit Graph(onnx::GraphProto* graph) : graph_(*graph) {}

  using Attribute = std::pair<std::string, std::vector<int64_t>>;

  // One output. Attributes are integers or lists of them.
  std::string Add(const std::string& operation, const std::vector<std::string>& inputs,
                  const std::vector<std::pair<std::string, int64_t>>& integers = {},
                  const std::vector<Attribute>& lists = {}) {
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

  // `rms`: by the root mean square alone, without a bias; opset 17 has no node for that.
  std::string Norm(const std::string& x, const std::string& name, double epsilon, bool rms = false) {
    if (rms) {
      const std::string mean = Add("ReduceMean", {Add("Mul", {x, x})}, {{"keepdims", 1}}, {{"axes", {-1}}});
      const std::string root = Add("Sqrt", {Add("Add", {mean, Scalar(static_cast<float>(epsilon))})});
      return Add("Mul", {Add("Div", {x, root}), name + ".weight"});
    }
    const std::string output = Add("LayerNormalization", {x, name + ".weight", name + ".bias"}, {{"axis", -1}});
    onnx::AttributeProto* attribute = graph_.mutable_node(graph_.node_size() - 1)->add_attribute();
    attribute->set_name("epsilon");
    attribute->set_type(onnx::AttributeProto::FLOAT);
    attribute->set_f(static_cast<float>(epsilon));
    return output;
  }

  // x weight^T + bias.
  std::string Linear(const std::string& x, const std::string& name) {
    const std::string transposed = Add("Transpose", {name + ".weight"}, {}, {{"perm", {1, 0}}});
    return Add("Add", {Add("MatMul", {x, transposed}), name + ".bias"});
  }

  std::string Floats(const std::string& name, const Shape& shape, const std::vector<float>& values) {
    onnx::TensorProto* tensor = graph_.add_initializer();
    tensor->set_name(name);
    tensor->set_data_type(onnx::TensorProto::FLOAT);
    for (int64_t size : shape) tensor->add_dims(size);
    tensor->set_raw_data(values.data(), values.size() * sizeof(float));
    return name;
  }
  std::string Scalar(float value) { return Floats(NewName(), {}, {value}); }
  std::string Integers(const Shape& values) {
    onnx::TensorProto* tensor = graph_.add_initializer();
    tensor->set_name(NewName());
    tensor->set_data_type(onnx::TensorProto::INT64);
    tensor->add_dims(values.size());
    for (int64_t value : values) tensor->add_int64_data(value);
    return tensor->name();
  }

 private:
  std::string NewName() { return absl::StrCat("constant_", ++constants_); }

  onnx::GraphProto& graph_;
  int constants_ = 0;
};

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

// [H, T, T] out of a block's relative_position_bias_table (tec/nn/modules.h, Attention).
std::vector<float> RelativeBias(const std::vector<float>& table, int64_t grid, int64_t heads) {
  const int64_t side = 2 * grid - 1, rows = side * side + 3, tokens = 1 + grid * grid;
  std::vector<float> bias(heads * tokens * tokens);
  for (int64_t q = 0; q < tokens; ++q) {
    for (int64_t k = 0; k < tokens; ++k) {
      int64_t row = 0;
      if (q == 0) {
        row = k == 0 ? rows - 1 : rows - 3;
      } else if (k == 0) {
        row = rows - 2;
      } else {
        const int64_t dy = (q - 1) / grid - (k - 1) / grid, dx = (q - 1) % grid - (k - 1) % grid;
        row = (dy + grid - 1) * side + dx + grid - 1;
      }
      for (int64_t h = 0; h < heads; ++h) bias[(h * tokens + q) * tokens + k] = table[row * heads + h];
    }
  }
  return bias;
}

class Exporter {
 public:
  // head: nullptr for none.
  Exporter(const VitPlan& plan, int64_t heads, const ClassifierHead* head, onnx::GraphProto* proto)
      : plan_(plan), traits_(plan.traits), heads_(heads), head_(head), proto_(*proto), graph_(proto) {}

  void Export() {
    std::map<std::string, std::vector<float>> tables;
    for (const PlannedTensor& planned : plan_.tensors) {
      std::vector<float> values = FloatsOf(planned.read());
      if (planned.name.find("relative_position_bias_table") == std::string::npos) {
        graph_.Floats(planned.name, planned.shape, values);
      } else {
        const std::string block = planned.name.substr(0, planned.name.find(".attn"));
        const int64_t tokens = 1 + traits_.grid * traits_.grid;
        graph_.Floats(block + ".bias", {heads_, tokens, tokens}, RelativeBias(values, traits_.grid, heads_));
      }
    }
    RotaryTables();
    std::string x = Tokens();
    for (int64_t i = 0; i < traits_.depth; ++i) x = Block(x, absl::StrCat("blocks.", i));
    if (!traits_.final_norm) {
      // The encoder's: the plain one (tec/models/vit.h).
      graph_.Floats("norm.weight", {traits_.width}, std::vector<float>(traits_.width, 1.0f));
      if (!traits_.rms_norm) graph_.Floats("norm.bias", {traits_.width}, std::vector<float>(traits_.width));
    }
    const std::string before_norm = x;
    x = Norm(x, "norm");
    const bool has_class = traits_.class_token || traits_.pool_hidden > 0;
    if (has_class)
      Name(traits_.class_token ? graph_.Add("Gather", {x, Scalar64(0)}, {{"axis", 1}}) : Pool(Patches(x)), "cls");
    Name(PatchMean(x), "patch_mean");
    if (head_ != nullptr) Name(Logits(before_norm), "logits");

    const std::string size = absl::StrCat(traits_.grid * traits_.patch_size), width = absl::StrCat(traits_.width);
    SetType("images", {"N", absl::StrCat(traits_.channels), size, size}, proto_.add_input());
    if (has_class) SetType("cls", {"N", width}, proto_.add_output());
    SetType("patch_mean", {"N", width}, proto_.add_output());
    if (head_ != nullptr) SetType("logits", {"N", absl::StrCat(head_->classes())}, proto_.add_output());
  }

 private:
  // [N, C] of [N, T, C].
  std::string PatchMean(const std::string& x) {
    return graph_.Add("ReduceMean", {Patches(x)}, {{"keepdims", 0}}, {{"axes", {1}}});
  }

  // [N, k]. `x`: the tokens before the final norm.
  std::string Logits(const std::string& x) {
    std::string pooled = "cls";
    if (head_->global_pool) {
      graph_.Floats("fc_norm.weight", {traits_.width}, FloatsOf(head_->norm_weight));
      graph_.Floats("fc_norm.bias", {traits_.width}, FloatsOf(head_->norm_bias));
      pooled = graph_.Norm(PatchMean(x), "fc_norm", kClassifierNormEpsilon);
    }
    graph_.Floats("head.weight", {head_->classes(), traits_.width}, FloatsOf(head_->weight));
    graph_.Floats("head.bias", {head_->classes()}, FloatsOf(head_->bias));
    return graph_.Linear(pooled, "head");
  }

  // A one-dimensional index would keep the axis.
  std::string Scalar64(int64_t value) {
    onnx::TensorProto* tensor = proto_.add_initializer();
    tensor->set_name(absl::StrCat("index_", proto_.initializer_size()));
    tensor->set_data_type(onnx::TensorProto::INT64);
    tensor->add_int64_data(value);
    return tensor->name();
  }

  void Name(const std::string& value, const std::string& name) {
    onnx::NodeProto* node = proto_.add_node();
    node->set_op_type("Identity");
    node->set_name(name);
    node->add_input(value);
    node->add_output(name);
  }

  // [N, 1 + R + L, C].
  std::string Tokens() {
    const int64_t patch = traits_.patch_size, width = traits_.width;
    const std::string map = graph_.Add("Conv", {"images", "patch_embed.proj.weight", "patch_embed.proj.bias"}, {},
                                       {{"kernel_shape", {patch, patch}}, {"strides", {patch, patch}}});
    // 0: the size of the input's dimension.
    const std::string flat = graph_.Add("Reshape", {map, graph_.Integers({0, width, -1})});
    const std::string patches = graph_.Add("Transpose", {flat}, {}, {{"perm", {0, 2, 1}}});
    const std::string images =
        graph_.Add("Slice", {graph_.Add("Shape", {patches}), graph_.Integers({0}), graph_.Integers({1})});
    const auto expanded = [&](const std::string& token) {
      const std::string shape = graph_.Add("Concat", {images, graph_.Integers({1, 1})}, {{"axis", 0}});
      return graph_.Add("Expand", {token, shape});
    };
    const int64_t tokens = 1 + traits_.grid * traits_.grid;
    std::string x = traits_.patch_norm ? Norm(patches, "patch_norm") : patches;
    if (traits_.class_token) {
      x = graph_.Add("Add", {graph_.Add("Concat", {expanded("cls_token"), x}, {{"axis", 1}}), "pos_embed"});
    } else {
      x = graph_.Add("Add", {x, Part("pos_embed", 1, 1, tokens)});
    }
    if (traits_.registers > 0 && traits_.class_token) {
      x = graph_.Add("Concat", {Part(x, 1, 0, 1), expanded("reg_token"), Part(x, 1, 1, tokens)}, {{"axis", 1}});
    } else if (traits_.registers > 0) {
      x = graph_.Add("Concat", {expanded("reg_token"), x}, {{"axis", 1}});
    }
    return traits_.pre_norm ? Norm(x, "norm_pre") : x;
  }

  std::string Block(const std::string& x, const std::string& name) {
    const std::string norm1 = name + ".norm1", norm2 = name + ".norm2", mlp = name + ".mlp";
    if (traits_.post_norm) {
      const std::string y = graph_.Add("Add", {x, Norm(Attention(x, name), norm1)});
      return graph_.Add("Add", {y, Norm(Mlp(y, mlp, traits_.mlp_norm), norm2)});
    }
    const std::string y = graph_.Add("Add", {x, Attention(Norm(x, norm1), name)});
    return graph_.Add("Add", {y, Mlp(Norm(y, norm2), mlp, traits_.mlp_norm)});
  }

  std::string Attention(const std::string& x, const std::string& block) {
    const int64_t size = traits_.width / heads_;
    const std::string all =
        graph_.Add("Reshape", {graph_.Linear(x, block + ".attn.qkv"), graph_.Integers({0, 0, 3, heads_, size})});
    const auto part = [&](int64_t which, const Shape& order) {  // [N, T, H, d] in the order.
      return graph_.Add("Transpose", {graph_.Add("Gather", {all, Scalar64(which)}, {{"axis", 2}})}, {},
                        {{"perm", order}});
    };
    const std::string q = Turned(part(0, {0, 2, 1, 3})), v = part(2, {0, 2, 1, 3});
    const std::string k = traits_.rotary.has_value()
                              ? graph_.Add("Transpose", {Turned(part(1, {0, 2, 1, 3}))}, {}, {{"perm", {0, 1, 3, 2}}})
                              : part(1, {0, 2, 3, 1});
    std::string logits =
        graph_.Add("Mul", {graph_.Add("MatMul", {q, k}), graph_.Scalar(static_cast<float>(1 / std::sqrt(1.0 * size)))});
    if (traits_.relative_positions) logits = graph_.Add("Add", {logits, block + ".bias"});
    const std::string mixed = graph_.Add("MatMul", {graph_.Add("Softmax", {logits}, {{"axis", -1}}), v});
    const std::string joined = graph_.Add("Reshape", {graph_.Add("Transpose", {mixed}, {}, {{"perm", {0, 2, 1, 3}}}),
                                                      graph_.Integers({0, 0, traits_.width})});
    return graph_.Linear(traits_.attention_norm ? Norm(joined, block + ".attn.norm") : joined, block + ".attn.proj");
  }

  std::string Mlp(const std::string& x, const std::string& name, bool norm) {
    const std::string h = graph_.Linear(x, name + ".fc1");
    std::string activated;
    switch (traits_.activation) {
      case Activation::kGelu: {
        const std::string erf = graph_.Add("Erf", {graph_.Add("Mul", {h, graph_.Scalar(std::sqrt(0.5f))})});
        const std::string half = graph_.Add("Mul", {h, graph_.Scalar(0.5f)});
        activated = graph_.Add("Mul", {half, graph_.Add("Add", {erf, graph_.Scalar(1)})});
        break;
      }
      case Activation::kGeluTanh: {
        // As at::gelu: x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))).
        const std::string cube = graph_.Add("Mul", {graph_.Add("Mul", {h, h}), h});
        const std::string sum = graph_.Add("Add", {h, graph_.Add("Mul", {cube, graph_.Scalar(0.044715f)})});
        const std::string tanh = graph_.Add("Tanh", {graph_.Add("Mul", {sum, graph_.Scalar(0.7978845608f)})});
        const std::string half = graph_.Add("Mul", {h, graph_.Scalar(0.5f)});
        activated = graph_.Add("Mul", {half, graph_.Add("Add", {tanh, graph_.Scalar(1)})});
        break;
      }
      case Activation::kQuickGelu:
        activated = graph_.Add("Mul", {h, graph_.Add("Sigmoid", {graph_.Add("Mul", {h, graph_.Scalar(1.702f)})})});
        break;
      case Activation::kSwiGlu: {
        const auto half = [&](int64_t from) {
          return graph_.Add(
              "Slice", {h, graph_.Integers({from}), graph_.Integers({from + traits_.hidden}), graph_.Integers({-1})});
        };
        const std::string gate = half(0);
        activated = graph_.Add("Mul", {graph_.Add("Mul", {gate, graph_.Add("Sigmoid", {gate})}), half(traits_.hidden)});
        break;
      }
    }
    return graph_.Linear(norm ? Norm(activated, name + ".norm") : activated, name + ".fc2");
  }

  std::string Norm(const std::string& x, const std::string& name) {
    return graph_.Norm(x, name, traits_.norm_epsilon, traits_.rms_norm);
  }

  // As AttentionPool (tec/nn/attention_pool.h): x [N, T, C] -> [N, C].
  std::string Pool(const std::string& x) {
    const int64_t size = traits_.width / heads_;
    const std::string kv =
        graph_.Add("Reshape", {graph_.Linear(x, "attn_pool.kv"), graph_.Integers({0, 0, 2, heads_, size})});
    const auto part = [&](int64_t which, const Shape& order) {
      return graph_.Add("Transpose", {graph_.Add("Gather", {kv, Scalar64(which)}, {{"axis", 2}})}, {},
                        {{"perm", order}});
    };
    const std::string q = graph_.Add("Reshape", {"attn_pool.query", graph_.Integers({1, heads_, 1, size})});
    const std::string logits = graph_.Add("Mul", {graph_.Add("MatMul", {q, part(0, {0, 2, 3, 1})}),
                                                  graph_.Scalar(static_cast<float>(1 / std::sqrt(1.0 * size)))});
    const std::string mixed =
        graph_.Add("MatMul", {graph_.Add("Softmax", {logits}, {{"axis", -1}}), part(1, {0, 2, 1, 3})});
    const std::string y =
        graph_.Linear(graph_.Add("Reshape", {mixed, graph_.Integers({-1, traits_.width})}), "attn_pool.proj");
    return graph_.Add("Add", {y, Mlp(Norm(y, "attn_pool.norm"), "attn_pool.mlp", /*norm=*/false)});
  }

  // Of x the part [from, to) of an axis.
  std::string Part(const std::string& x, int64_t axis, int64_t from, int64_t to) {
    return graph_.Add("Slice", {x, graph_.Integers({from}), graph_.Integers({to}), graph_.Integers({axis})});
  }

  // The tables of tec/nn/rotary.cc.
  void RotaryTables() {
    const RotaryGrid rotary = RotaryGridOf(traits_);
    if (rotary.frequencies.empty()) return;
    const int64_t patches = traits_.grid * traits_.grid, d = traits_.width / heads_;
    const std::vector<double> angles = RotaryAngles(rotary, traits_.grid);
    std::vector<float> cosines(patches * d), sines(patches * d);
    for (int64_t patch = 0; patch < patches; ++patch) {
      for (int64_t k = 0; k < d; ++k) {
        const double angle = angles[patch * (d / 2) + k % (d / 2)];
        cosines[patch * d + k] = static_cast<float>(std::cos(angle));
        sines[patch * d + k] = static_cast<float>(std::sin(angle));
      }
    }
    graph_.Floats("rotary.cos", {patches, d}, cosines);
    graph_.Floats("rotary.sin", {patches, d}, sines);
  }

  // As Rotary: x [N, H, T, d], of which the last tokens are the patches.
  std::string Turned(const std::string& x) {
    if (!traits_.rotary.has_value()) return x;
    const int64_t others = Others(), d = traits_.width / heads_;
    const std::string patches = Part(x, 2, others, others + traits_.grid * traits_.grid);
    const std::string halves = graph_.Add(
        "Concat", {graph_.Add("Neg", {Part(patches, 3, d / 2, d)}), Part(patches, 3, 0, d / 2)}, {{"axis", -1}});
    const std::string turned =
        graph_.Add("Add", {graph_.Add("Mul", {patches, "rotary.cos"}), graph_.Add("Mul", {halves, "rotary.sin"})});
    return graph_.Add("Concat", {Part(x, 2, 0, others), turned}, {{"axis", 2}});
  }

  // [N, L, C] of [N, T, C].
  std::string Patches(const std::string& x) { return Part(x, 1, Others(), Others() + traits_.grid * traits_.grid); }

  // Tokens before the patches.
  int64_t Others() const { return (traits_.class_token ? 1 : 0) + traits_.registers; }

  const VitPlan& plan_;
  const VitTraits& traits_;
  int64_t heads_;
  const ClassifierHead* head_;
  onnx::GraphProto& proto_;
  Graph graph_;
};

void AddMetadata(const VitTraits& traits, const ModelDetails& details, onnx::ModelProto* model) {
  const auto add = [model](const std::string& key, const std::string& value) {
    onnx::StringStringEntryProto* entry = model->add_metadata_props();
    entry->set_key(key);
    entry->set_value(value);
  };
  const Preprocessing& preprocessing = details.preprocessing;
  add("image_size", absl::StrCat(preprocessing.size));
  add("channels", absl::StrCat(traits.channels));
  add("resize_short_side", absl::StrCat(preprocessing.resize));
  add("interpolation", "bicubic");
  add("crop", "center");
  if (!preprocessing.mean.empty()) {
    add("mean", absl::StrJoin(preprocessing.mean, ","));
    add("std", absl::StrJoin(preprocessing.std, ","));
    if (preprocessing.assumed) add("mean_and_std", "ImageNet's, assumed: the weight file does not say");
  }
  if (details.head && !details.head->names.empty()) {
    using Json = nlohmann::json;
    add("class_names", Json(details.head->names).dump(-1, ' ', false, Json::error_handler_t::replace));
  }
}

}  // namespace

absl::StatusOr<std::string> VitToOnnx(const VitPlan& plan, int64_t heads, const ModelDetails& details) {
  if (heads < 1 || plan.traits.width % heads != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(heads, " attention heads do not divide the width ", plan.traits.width, ": say --heads"));
  }
  TEC_CHECK(!plan.traits.rotary.has_value() || plan.traits.heads == heads) << "the plan is arranged for its own heads";
  int64_t bytes = 0;
  for (const PlannedTensor& planned : plan.tensors) {
    int64_t count = 4;
    for (int64_t size : planned.shape) count *= size;
    bytes += count;
  }
  if (bytes > kMaxBytes) {
    return absl::FailedPreconditionError(
        absl::StrCat("the weights take ", bytes, " bytes; a single ONNX file holds at most 2 GB"));
  }
  onnx::ModelProto model;
  model.set_ir_version(kIrVersion);
  model.set_producer_name("tec");
  onnx::OperatorSetIdProto* opset = model.add_opset_import();
  opset->set_domain("");
  opset->set_version(kOpset);
  model.mutable_graph()->set_name("encoder");
  Exporter(plan, heads, details.head ? &*details.head : nullptr, model.mutable_graph()).Export();
  AddMetadata(plan.traits, details, &model);
  std::string text;
  TEC_CHECK(model.SerializeToString(&text)) << "an ONNX model that cannot be written";
  return text;
}

}  // namespace tec
