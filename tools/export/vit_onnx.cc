#include "tools/export/vit_onnx.h"

#include <cmath>
#include <functional>
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

// FinetuneModel's norm is a new one, whatever the encoder's (tec/models/encoder.cc).
constexpr double kClassifierNormEpsilon = 1e-6;

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
  Exporter(const VitPlan& plan, int64_t heads, const ClassifierHead* head, OnnxModel* graph)
      : plan_(plan), traits_(plan.traits), heads_(heads), head_(head), graph_(*graph) {}

  void Export() {
    for (const PlannedTensor& planned : plan_.tensors) {
      const std::function<TensorView()> read = planned.read;
      if (planned.name.find("relative_position_bias_table") == std::string::npos) {
        graph_.Weights(planned.name, planned.shape, [read] { return FloatsOf(read()); });
      } else {
        const std::string block = planned.name.substr(0, planned.name.find(".attn"));
        const int64_t grid = traits_.grid, heads = heads_, tokens = 1 + grid * grid;
        graph_.Weights(block + ".bias", {heads, tokens, tokens},
                       [read, grid, heads] { return RelativeBias(FloatsOf(read()), grid, heads); });
      }
    }
    RotaryTables();
    std::string x = Tokens();
    for (int64_t i = 0; i < traits_.depth; ++i) x = Block(x, absl::StrCat("blocks.", i));
    if (!traits_.final_norm && !traits_.no_norm) {
      // The encoder's: the plain one (tec/models/vit.h).
      graph_.Floats("norm.weight", {traits_.width}, std::vector<float>(traits_.width, 1.0f));
      if (!traits_.rms_norm) graph_.Floats("norm.bias", {traits_.width}, std::vector<float>(traits_.width));
    }
    const std::string before_norm = x;
    if (!traits_.no_norm) x = Norm(x, "norm");
    const std::string size = absl::StrCat(traits_.grid * traits_.patch_size), width = absl::StrCat(traits_.width);
    graph_.Input("images", {"N", absl::StrCat(traits_.channels), size, size});
    std::string cls;  // None without token and pool.
    if (traits_.class_token) {
      cls = graph_.Add("Gather", {x, graph_.Index(0)}, {{"axis", 1}});
    } else if (traits_.pool_hidden > 0) {
      cls = Pool(Patches(x));
    }
    if (!cls.empty()) graph_.Output(cls, "cls", {"N", width});
    graph_.Output(PatchMean(x), "patch_mean", {"N", width});
    if (head_ != nullptr) graph_.Output(Logits(before_norm, cls), "logits", {"N", absl::StrCat(head_->classes())});
  }

 private:
  // [N, C] of [N, T, C].
  std::string PatchMean(const std::string& x) {
    return graph_.Add("ReduceMean", {Patches(x)}, {{"keepdims", 0}}, {{"axes", {1}}});
  }

  // [N, k]. `x`: the tokens before the final norm; `cls`: that token after it.
  std::string Logits(const std::string& x, const std::string& cls) {
    std::string pooled = cls;
    if (head_->global_pool) {
      graph_.Floats("fc_norm.weight", {traits_.width}, FloatsOf(head_->norm_weight));
      graph_.Floats("fc_norm.bias", {traits_.width}, FloatsOf(head_->norm_bias));
      pooled = graph_.Norm(PatchMean(x), "fc_norm", kClassifierNormEpsilon);
    }
    graph_.Weights("head.weight", {head_->classes(), traits_.width},
                   [weight = head_->weight] { return FloatsOf(weight); });
    graph_.Floats("head.bias", {head_->classes()}, FloatsOf(head_->bias));
    return graph_.Linear(pooled, "head");
  }

  // [N, 1 + R + L, C].
  std::string Tokens() {
    const int64_t patch = traits_.patch_size, width = traits_.width;
    const std::string map =
        graph_.Add("Conv", {graph_.Entered("images"), "patch_embed.proj.weight", "patch_embed.proj.bias"}, {},
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
      return graph_.Add("Transpose", {graph_.Add("Gather", {all, graph_.Index(which)}, {{"axis", 2}})}, {},
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
      return graph_.Add("Transpose", {graph_.Add("Gather", {kv, graph_.Index(which)}, {{"axis", 2}})}, {},
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
  OnnxModel& graph_;
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
    if (!preprocessing.source.empty()) add("mean_and_std", preprocessing.source);
  }
  if (details.head && !details.head->names.empty()) {
    using Json = nlohmann::json;
    add("class_names", Json(details.head->names).dump(-1, ' ', false, Json::error_handler_t::replace));
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<OnnxModel>> VitToOnnx(const VitPlan& plan, int64_t heads, const ModelDetails& details,
                                                     DType dtype) {
  if (heads < 1 || plan.traits.width % heads != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(heads, " attention heads do not divide the width ", plan.traits.width, ": say --heads"));
  }
  TEC_CHECK(!plan.traits.rotary.has_value() || plan.traits.heads == heads) << "the plan is arranged for its own heads";
  auto model = std::make_unique<OnnxModel>(dtype);
  model->proto().mutable_graph()->set_name("encoder");
  Exporter(plan, heads, details.head ? &*details.head : nullptr, model.get()).Export();
  AddMetadata(plan.traits, details, &model->proto());
  return model;
}

}  // namespace tec
