#include "tec/checkpoint/families/vit_plan.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "nlohmann/json.hpp"
#include "tec/base/logging.h"
#include "tec/base/nearest_name.h"
#include "tec/base/printable.h"
#include "tec/base/status.h"
#include "tec/checkpoint/elements.h"
#include "tec/checkpoint/mapped_file.h"
#include "tec/checkpoint/small_json.h"
#include "tec/checkpoint/state_dict_file.h"
#include "tec/checkpoint/token_mlp.h"

namespace tec {
namespace {

using Shape = std::vector<int64_t>;

absl::Status Invalid(absl::string_view message) { return absl::InvalidArgumentError(message); }

std::string ShapeText(const Shape& shape) { return absl::StrCat("[", absl::StrJoin(shape, ","), "]"); }

// The first of the family's prefixes that some name has. "" is the last resort even if it is not in the list, so that
// the error is about the names.
std::string PrefixOf(const Family& family, const StateDict& tensors) {
  for (const std::string& prefix : family.prefixes) {
    for (const auto& [name, tensor] : tensors) {
      if (!prefix.empty() && absl::StartsWith(name, prefix)) return prefix;
    }
  }
  return "";
}

bool HasMarks(const Family& family, const StateDict& tensors) {
  const std::string prefix = PrefixOf(family, tensors);
  if (prefix.empty() && std::find(family.prefixes.begin(), family.prefixes.end(), "") == family.prefixes.end()) {
    return false;
  }
  for (const std::string& mark : family.marks) {
    const std::vector<std::string> alternatives = absl::StrSplit(mark, '|');
    const bool found = std::any_of(tensors.begin(), tensors.end(), [&](const StateDict::Entry& entry) {
      return FitsAny(absl::StripPrefix(entry.first, prefix), alternatives) || FitsAny(entry.first, alternatives);
    });
    if (!found) return false;
  }
  return true;
}

TensorView Reshaped(TensorView tensor, Shape shape) {
  tensor.shape = std::move(shape);
  return tensor;
}

// The g for which count = g * g, or 0.
int64_t SquareRoot(int64_t count) {
  const int64_t root = count < 1 ? 0 : std::llround(std::sqrt(static_cast<double>(count)));
  return root * root == count ? root : 0;
}

struct Part {
  TensorView tensor;
  std::string name;  // In the file.
};

class Planner {
 public:
  Planner(const Family& family, const StateDict& tensors) : family_(family), tensors_(tensors) {}

  absl::StatusOr<VitPlan> Plan() {
    plan_.family = family_.name;
    plan_.file_tensors = tensors_.size();
    Sort();
    FindTraits();
    PlanTokens();
    Take("patch_embed.proj.weight", {traits().width, traits().channels, traits().patch_size, traits().patch_size});
    if (Find("patch_embed.proj.bias") == nullptr && traits().pre_norm) {
      Constant("patch_embed.proj.bias", {traits().width});
    } else {
      Take("patch_embed.proj.bias", {traits().width});
    }
    if (traits().pre_norm) TakePair("norm_pre", {traits().width});
    for (int64_t block : blocks_) PlanBlock(absl::StrCat("blocks.", block, "."));
    if (traits().final_norm) TakePair("norm", {traits().width});
    TEC_RETURN_IF_ERROR(Problems());
    return std::move(plan_);
  }

 private:
  VitTraits& traits() { return plan_.traits; }

  const Part* Find(const std::string& name) const {
    const auto found = parts_.find(name);
    return found == parts_.end() ? nullptr : &found->second;
  }

  // Every tensor of the file into parts_, left_out or unexpected_.
  void Sort() {
    const std::string prefix = PrefixOf(family_, tensors_);
    for (const auto& [name, tensor] : tensors_) {
      absl::string_view own = name;
      const bool prefixed = absl::ConsumePrefix(&own, prefix);
      const std::optional<std::string> renamed = prefixed ? Renamed(own, family_.names) : std::nullopt;
      if (renamed.has_value()) {
        const auto [place, added] = parts_.emplace(*renamed, Part{tensor, name});
        if (!added) problems_.push_back(absl::StrCat(name, " and ", place->second.name, " are both ", *renamed));
      } else if (FitsAny(name, family_.left_out) || (prefixed && FitsAny(own, family_.left_out))) {
        plan_.left_out.push_back(name);
      } else {
        unexpected_.push_back(name);
      }
    }
  }

  void FindTraits() {
    traits().activation = family_.activation;
    traits().norm_epsilon = family_.norm_epsilon;
    traits().interpolates_positions = family_.interpolates_positions;
    traits().interpolation = family_.interpolation;
    if (Find("reg_token") != nullptr && family_.interpolation_with_registers.has_value()) {
      traits().interpolation = *family_.interpolation_with_registers;
    }
    if (const Part* patches = Find("patch_embed.proj.weight");
        patches != nullptr && patches->tensor.shape.size() == 4) {
      traits().width = patches->tensor.shape[0];
      traits().channels = patches->tensor.shape[1];
      traits().patch_size = patches->tensor.shape[3];
      if (patches->tensor.bytes.empty()) problems_.push_back(absl::StrCat(patches->name, " is empty"));
    }
    for (const auto& [name, part] : parts_) {
      const std::vector<absl::string_view> pieces = absl::StrSplit(name, '.');
      int64_t block;
      if (pieces.size() > 2 && pieces[0] == "blocks" && absl::SimpleAtoi(pieces[1], &block)) blocks_.insert(block);
    }
    traits().depth = blocks_.size();
    if (blocks_.empty()) missing_.push_back("blocks.0.norm1.weight");
    if (!blocks_.empty() && *blocks_.rbegin() + 1 != traits().depth) {
      problems_.push_back(absl::StrCat("the blocks are not numbered in a row: ", absl::StrJoin(blocks_, ", ")));
    }
    traits().hidden = 4 * traits().width;
    const Part *fc1 = Find("blocks.0.mlp.fc1.weight"), *fc2 = Find("blocks.0.mlp.fc2.weight");
    if (fc2 != nullptr && fc2->tensor.shape.size() == 2) {
      traits().hidden = fc2->tensor.shape[1];
      const bool gated = Find("blocks.0.mlp.gate.weight") != nullptr ||
                         (fc1 != nullptr && fc1->tensor.shape.size() == 2 &&
                          fc1->tensor.shape[0] == 2 * traits().hidden && traits().hidden > 0);
      if (gated) traits().activation = Activation::kSwiGlu;
    }
    traits().pre_norm = Find("norm_pre.weight") != nullptr || Find("norm_pre.bias") != nullptr;
    traits().final_norm = Find("norm.weight") != nullptr || Find("norm.bias") != nullptr;
    // timm's models with a norm before the blocks are CLIP's, whose norms have another epsilon.
    if (traits().pre_norm && family_.norm_epsilon == 1e-6) traits().norm_epsilon = 1e-5;
    for (const char* name : {kSharedTable, "blocks.0.attn.relative_position_bias_table"}) {
      const Part* table = Find(name);
      if (table == nullptr) continue;
      traits().relative_positions = true;
      const Shape& shape = table->tensor.shape;
      const int64_t side = shape.size() == 2 ? SquareRoot(shape[0] - 3) : 0;
      if (side % 2 == 1 && shape[1] > 0) {
        traits().grid = (side + 1) / 2;
        traits().heads = shape[1];
      } else {
        problems_.push_back(absl::StrCat(table->name, " has shape ", ShapeText(shape),
                                         ", not [(2 grid - 1)^2 + 3, heads] for a square grid"));
      }
    }
  }

  void PlanTokens() {
    const int64_t width = traits().width;
    // Rows of the table that are not patches'.
    int64_t token_rows = 1;
    const Part *positions = Find("pos_embed"), *distilled = Find("dist_token");
    if (positions != nullptr) {
      used_.insert("pos_embed");
      const Shape& shape = positions->tensor.shape;
      const int64_t rows = shape.size() < 2 ? 0 : shape[shape.size() - 2];
      const bool fits = (shape.size() == 2 || (shape.size() == 3 && shape[0] == 1)) && shape.back() == width;
      token_rows = SquareRoot(rows) > 0 ? 0 : 1;
      if (distilled != nullptr) token_rows = 2;
      const int64_t grid = SquareRoot(rows - token_rows);
      if (!fits || grid == 0) {
        problems_.push_back(absl::StrCat(positions->name, " has shape ", ShapeText(shape), ", not [1, ", token_rows,
                                         " + grid^2, ", width, "] for a square grid"));
      } else if (traits().relative_positions && traits().grid != grid) {
        problems_.push_back(absl::StrCat(positions->name, " is for ", grid, " x ", grid,
                                         " patches, the relative positions for ", traits().grid, " x ", traits().grid));
      }
      traits().grid = grid;
    }
    const Shape token = {1, 1, width};
    if (Find("cls_token_mlp.fc1.weight") != nullptr || Find("cls_token_mlp.fc1.bias") != nullptr) {
      const Part* plain = FindShaped("cls_token", token);
      std::vector<const Part*> mlp;
      for (const auto& [name, shape] : {std::pair<const char*, Shape>{"cls_token_mlp.fc1.weight", {4 * width, width}},
                                        {"cls_token_mlp.fc1.bias", {4 * width}},
                                        {"cls_token_mlp.fc2.weight", {width, 4 * width}},
                                        {"cls_token_mlp.fc2.bias", {width}}}) {
        mlp.push_back(FindShaped(name, shape));
      }
      if (plain != nullptr && std::find(mlp.begin(), mlp.end(), nullptr) == mlp.end()) {
        const TokenMlp parts = {plain->tensor, mlp[0]->tensor, mlp[1]->tensor, mlp[2]->tensor, mlp[3]->tensor};
        Add("cls_token", token, {plain, mlp[0], mlp[1], mlp[2], mlp[3]}, [parts] { return *FoldTokenMlp(parts); });
      }
    } else {
      Take("cls_token", token);
    }
    if (const Part* registers = Find("reg_token")) {
      const Shape& shape = registers->tensor.shape;
      traits().registers = shape.size() == 3 ? shape[1] : 1;
      Take("reg_token", {1, traits().registers, width});
    } else if (distilled != nullptr) {
      traits().registers = 1;
      distilled = FindShaped("dist_token", token);
      if (distilled != nullptr && positions != nullptr && traits().grid > 0) {
        const TensorView own = distilled->tensor, table = positions->tensor;
        Add("reg_token", token, {distilled, positions}, [own, table, width] {
          std::vector<float> sum = FloatsOf(own);
          const std::vector<float> rows = FloatsOf(table);
          for (int64_t c = 0; c < width; ++c) sum[c] += rows[width + c];
          return TensorView::FromFloats({1, 1, width}, sum);
        });
      }
    }
    const int64_t patches = traits().grid * traits().grid;
    const Shape shape = {1, 1 + patches, width};
    if (positions == nullptr && traits().relative_positions) {
      Constant("pos_embed", shape);
    } else if (positions == nullptr) {
      missing_.push_back("pos_embed");
    } else if (token_rows == 1) {
      const TensorView table = positions->tensor;
      Add("pos_embed", shape, {positions}, [table, shape] { return Reshaped(table, shape); });
    } else if (traits().grid > 0) {
      const TensorView table = positions->tensor;
      Add("pos_embed", shape, {positions}, [table, shape, token_rows, width, patches] {
        const std::vector<float> rows = FloatsOf(table);
        std::vector<float> all((1 + patches) * width);
        if (token_rows > 0) std::copy(rows.begin(), rows.begin() + width, all.begin());
        std::copy(rows.begin() + token_rows * width, rows.end(), all.begin() + width);
        return TensorView::FromFloats(shape, all);
      });
    }
  }

  void PlanBlock(const std::string& block) {
    const int64_t width = traits().width, hidden = traits().hidden;
    TakePair(block + "norm1", {width});
    PlanQkv(block, "weight", {3 * width, width}, {width, width});
    PlanQkv(block, "bias", {3 * width}, {width});
    TakeScaled(block + "attn.proj", width, block + "ls1.gamma");
    if (traits().relative_positions) {
      const int64_t side = 2 * traits().grid - 1;
      const std::string own = block + "attn.relative_position_bias_table";
      Take(own, {side * side + 3, traits().heads}, Find(own) == nullptr ? kSharedTable : own);
    }
    TakePair(block + "norm2", {width});
    if (Find(block + "mlp.gate.weight") != nullptr) {
      Concatenate(block + "mlp.fc1.weight", {2 * hidden, width}, {hidden, width},
                  {block + "mlp.gate.weight", block + "mlp.up.weight"});
      Concatenate(block + "mlp.fc1.bias", {2 * hidden}, {hidden}, {block + "mlp.gate.bias", block + "mlp.up.bias"});
    } else {
      const int64_t rows = traits().activation == Activation::kSwiGlu ? 2 * hidden : hidden;
      Take(block + "mlp.fc1.weight", {rows, width});
      Take(block + "mlp.fc1.bias", {rows});
    }
    TakeScaled(block + "mlp.fc2", hidden, block + "ls2.gamma");
  }

  void PlanQkv(const std::string& block, const std::string& kind, const Shape& shape, const Shape& part) {
    const std::string whole = block + "attn.qkv." + kind;
    const std::string q = block + "attn.q." + kind;
    if (Find(whole) != nullptr || Find(q) == nullptr) {
      Take(whole, shape);
      return;
    }
    Concatenate(whole, shape, part, {q, block + "attn.k." + kind, block + "attn.v." + kind},
                kind == "bias" ? block + "attn.k.bias" : "");
  }

  // The part if it is there and has that shape, but for sizes of one in front; else the problem is noted.
  const Part* FindShaped(const std::string& name, const Shape& shape) {
    const Part* part = Find(name);
    used_.insert(name);
    if (part == nullptr) {
      missing_.push_back(name);
      return nullptr;
    }
    const auto trimmed = [](const Shape& full) {
      size_t ones = 0;
      while (ones < full.size() && full[ones] == 1) ++ones;
      return Shape(full.begin() + ones, full.end());
    };
    // Without a width there is nothing to compare with; the missing patch embedding says so.
    if (traits().width > 0 && trimmed(part->tensor.shape) != trimmed(shape)) {
      problems_.push_back(absl::StrCat(part->name, " has shape ", ShapeText(part->tensor.shape), ", a model of width ",
                                       traits().width, " needs ", ShapeText(shape)));
      return nullptr;
    }
    if (!IsFloatingPoint(part->tensor.dtype)) {
      problems_.push_back(absl::StrCat(part->name, " is ", Describe(part->tensor), ", no floating-point type"));
      return nullptr;
    }
    return part;
  }

  void Add(const std::string& name, const Shape& shape, const std::vector<const Part*>& from,
           std::function<TensorView()> read) {
    PlannedTensor planned = {name, shape, {}, std::move(read)};
    for (const Part* part : from) planned.from.push_back(part->name);
    plan_.tensors.push_back(std::move(planned));
  }

  void Take(const std::string& name, const Shape& shape, const std::string& part_name = "") {
    const Part* part = FindShaped(part_name.empty() ? name : part_name, shape);
    if (part == nullptr) return;
    const TensorView tensor = part->tensor;
    Add(name, shape, {part}, [tensor, shape] { return Reshaped(tensor, shape); });
  }

  void TakePair(const std::string& module, const Shape& shape) {
    Take(module + ".weight", shape);
    Take(module + ".bias", shape);
  }

  // module.weight [C, in] and module.bias [C], each row times its entry of `scale` where there is one.
  void TakeScaled(const std::string& module, int64_t in, const std::string& scale) {
    const int64_t width = traits().width;
    if (Find(scale) == nullptr) {
      Take(module + ".weight", {width, in});
      Take(module + ".bias", {width});
      return;
    }
    const Part* gamma = FindShaped(scale, {width});
    for (const auto& [name, shape] :
         {std::pair(module + ".weight", Shape{width, in}), std::pair(module + ".bias", Shape{width})}) {
      const Part* part = FindShaped(name, shape);
      if (part == nullptr || gamma == nullptr) continue;
      const TensorView tensor = part->tensor, factors = gamma->tensor;
      const Shape result = shape;
      Add(name, shape, {part, gamma}, [tensor, factors, result] {
        std::vector<float> values = FloatsOf(tensor);
        const std::vector<float> rows = FloatsOf(factors);
        const size_t row_size = values.size() / rows.size();
        for (size_t i = 0; i < values.size(); ++i) values[i] *= rows[i / row_size];
        return TensorView::FromFloats(result, values);
      });
    }
  }

  // Row-wise; a part called `optional` may be missing and is zero then.
  void Concatenate(const std::string& name, const Shape& shape, const Shape& part_shape,
                   const std::vector<std::string>& names, const std::string& optional = "") {
    std::vector<const Part*> found;
    std::vector<TensorView> tensors;
    bool complete = true;
    for (const std::string& part_name : names) {
      if (part_name == optional && Find(part_name) == nullptr) {
        tensors.push_back(Zeros(part_shape));
        continue;
      }
      const Part* part = FindShaped(part_name, part_shape);
      complete = complete && part != nullptr;
      if (part == nullptr) continue;
      found.push_back(part);
      tensors.push_back(part->tensor);
    }
    if (!complete) return;
    Add(name, shape, found, [tensors, shape] {
      std::vector<float> all;
      for (const TensorView& tensor : tensors) {
        const std::vector<float> values = FloatsOf(tensor);
        all.insert(all.end(), values.begin(), values.end());
      }
      return TensorView::FromFloats(shape, all);
    });
  }

  static TensorView Zeros(const Shape& shape) {
    int64_t count = 1;
    for (int64_t size : shape) count *= size;
    return TensorView::FromFloats(shape, std::vector<float>(count));
  }

  void Constant(const std::string& name, const Shape& shape) {
    Add(name, shape, {}, [shape] { return Zeros(shape); });
  }

  // As the family spells the tensor; `name` where it puts it together from several.
  std::string NameInFile(const std::string& name) const {
    std::vector<NameRule> rules;
    for (const NameRule& rule : family_.names) rules.push_back({rule.to, rule.from});
    const std::optional<std::string> own = Renamed(name, rules);
    return own.has_value() ? PrefixOf(family_, tensors_) + *own : name;
  }

  absl::Status Problems() {
    for (std::string& name : missing_) name = NameInFile(name);
    std::vector<std::string> unexpected = unexpected_;
    for (const auto& [name, part] : parts_) {
      if (used_.count(name) == 0) unexpected.push_back(part.name);
    }
    // The comparison of all with all is for people's slips, not for a file of another kind.
    const bool compare =
        missing_.size() * unexpected.size() <= kMaxComparisons && Letters(missing_) * Letters(unexpected) <= kMaxSteps;
    std::vector<std::string> own;
    for (const std::string& name : missing_) {
      const std::string nearest = compare ? NearestName(name, unexpected) : "";
      own.push_back(
          absl::StrCat(name, " is missing", nearest.empty() ? "" : absl::StrCat(" (there is ", nearest, ")")));
    }
    problems_.insert(problems_.begin(), own.begin(), own.end());
    for (const std::string& name : unexpected) {
      const std::string nearest = compare ? NearestName(name, missing_) : "";
      problems_.push_back(
          absl::StrCat(name, " is unexpected", nearest.empty() ? "" : absl::StrCat(" (meant: ", nearest, "?)")));
    }
    if (problems_.empty()) return absl::OkStatus();
    return Invalid(absl::StrCat(problems_.size(), " tensors do not fit the family ", family_.name, ": ",
                                absl::StrJoin(problems_, "; ")));
  }

  static double Letters(const std::vector<std::string>& names) {
    double sum = 0;
    for (const std::string& name : names) sum += name.size();
    return sum;
  }

  static constexpr size_t kMaxComparisons = 100'000;
  // Of the distances, which take the product of the lengths: a second's.
  static constexpr double kMaxSteps = 3e8;
  static constexpr char kSharedTable[] = "rel_pos_bias.relative_position_bias_table";

  const Family& family_;
  const StateDict& tensors_;
  VitPlan plan_;
  std::map<std::string, Part> parts_;
  std::set<std::string> used_;
  std::set<int64_t> blocks_;
  std::vector<std::string> missing_, unexpected_, problems_;
};

// What a config.json beside the file says.
absl::Status TakeConfigBeside(const std::string& file, VitPlan* plan) {
  if (!absl::StartsWith(plan->family, "hf_")) return absl::OkStatus();
  const size_t slash = file.rfind('/');
  const std::string path = slash == std::string::npos ? "config.json" : file.substr(0, slash + 1) + "config.json";
  const absl::StatusOr<std::shared_ptr<const MappedFile>> config = MappedFile::Open(path);
  if (absl::IsNotFound(config.status())) return absl::OkStatus();
  TEC_RETURN_IF_ERROR(config.status());
  return Annotate(TakeConfig((*config)->bytes(), plan), path);
}

// Names out of the file are in the message.
absl::Status Naming(const std::string& path, const absl::Status& status) {
  return Annotate(absl::Status(status.code(), Printable(status.message())), path);
}

// "head.* (5), decoder_* (20)".
std::string Groups(const std::vector<std::string>& names) {
  std::map<std::string, int> groups;
  for (const std::string& name : names) {
    const size_t dot = name.find('.');
    ++groups[dot == std::string::npos ? name : name.substr(0, dot) + ".*"];
  }
  std::vector<std::string> texts;
  for (const auto& [group, count] : groups) {
    texts.push_back(count == 1 ? group : absl::StrCat(group, " (", count, ")"));
  }
  return absl::StrJoin(texts, ", ");
}

}  // namespace

std::string VitPlan::Report() const {
  std::string report =
      absl::StrCat("family ", family, ": ", tensors.size(), " of ", tensors.size(), " tensors set, from ",
                   file_tensors - static_cast<int64_t>(left_out.size()), " of the file's ", file_tensors);
  if (!left_out.empty()) absl::StrAppend(&report, "; left out by name: ", Printable(Groups(left_out)));
  return report;
}

absl::Status TakeConfig(absl::string_view text, VitPlan* plan) {
  TEC_ASSIGN_OR_RETURN(nlohmann::json config, ParseSmallJson(text));
  if (!config.is_object()) return Invalid("no JSON object");
  if (const auto vision = config.find("vision_config"); vision != config.end() && vision->is_object()) {
    nlohmann::json inner = std::move(*vision);
    config = std::move(inner);
  }
  const auto number = [&](const char* key) {
    const auto found = config.find(key);
    return found != config.end() && found->is_number() ? found->get<double>() : 0.0;
  };
  if (const double heads = number("num_attention_heads"); heads >= 1 && heads <= 1 << 16) {
    plan->traits.heads = static_cast<int64_t>(heads);
  }
  if (const double epsilon = number("layer_norm_eps"); epsilon > 0) plan->traits.norm_epsilon = epsilon;
  const auto activation = config.find("hidden_act");
  if (activation != config.end() && activation->is_string() && plan->traits.activation != Activation::kSwiGlu) {
    const std::string name = *activation;
    if (name == "gelu") {
      plan->traits.activation = Activation::kGelu;
    } else if (name == "quick_gelu") {
      plan->traits.activation = Activation::kQuickGelu;
    } else {
      return Invalid(
          absl::StrCat("hidden_act is \"", Printable(name.substr(0, 100)), "\"; known are gelu and quick_gelu"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<VitPlan> PlanVit(const Family& family, const StateDict& tensors) {
  return Planner(family, tensors).Plan();
}

absl::StatusOr<const Family*> RecogniseFamily(const StateDict& tensors) {
  for (const Family& family : Families()) {
    if (!HasMarks(family, tensors)) continue;
    for (const Family& other : Families()) {
      if (other.marks == family.marks && other.activation != family.activation) {
        return Invalid(absl::StrCat(
            "the names fit both ", family.name, " (", family.what, ") and ", other.name, " (", other.what,
            "), which the tensors do not tell apart: say --base_model_family=", family.name, " or ", other.name));
      }
    }
    return &family;
  }
  std::vector<std::string> some;
  for (const auto& [name, tensor] : tensors) {
    if (some.size() == 8) {
      some.push_back("...");
      break;
    }
    some.push_back(name);
  }
  return Invalid(absl::StrCat("no vision transformer of a known family (", absl::StrJoin(FamilyNames(), ", "),
                              "): the tensors are ", absl::StrJoin(some, ", ")));
}

absl::StatusOr<VitFile> ReadVitFile(const std::string& path, const std::string& family_name) {
  const Family* family = nullptr;
  if (!family_name.empty()) {
    family = FindFamily(family_name);
    if (family == nullptr) {
      const std::string nearest = NearestName(family_name, FamilyNames());
      return Invalid(absl::StrCat("unknown base-model family \"", family_name, "\"",
                                  nearest.empty() ? "." : absl::StrCat("; did you mean ", nearest, "?"), " Known are ",
                                  absl::StrJoin(FamilyNames(), ", ")));
    }
  }
  // The order of TEC's code: model, state_dict, student.
  static const auto* any = new std::vector<std::string>{"model",  "state_dict", "student",       "teacher",
                                                        "module", "model_ema",  "state_dict_ema"};
  const std::string file_path = WeightFileIn(path);
  TEC_ASSIGN_OR_RETURN(const StateDictFile file, ReadFirstStateDict(file_path, family ? family->entries : *any));
  if (family == nullptr) {
    const absl::StatusOr<const Family*> recognised = RecogniseFamily(file.tensors);
    if (!recognised.ok()) return Naming(file_path, recognised.status());
    family = *recognised;
  }
  absl::StatusOr<VitPlan> plan = PlanVit(*family, file.tensors);
  if (!plan.ok()) return Naming(file_path, plan.status());
  VitFile result;
  result.plan = *std::move(plan);
  TEC_RETURN_IF_ERROR(TakeConfigBeside(file_path, &result.plan));
  result.container = file.container;
  result.entry = file.top_level;
  result.description =
      absl::StrCat(file_path, ": ", file.container, file.top_level.empty() ? "" : ", entry " + file.top_level, ", ",
                   result.plan.Report());
  return result;
}

absl::StatusOr<StateDict> ReadAll(const VitPlan& plan) {
  StateDict tensors;
  for (const PlannedTensor& planned : plan.tensors) {
    TEC_RETURN_IF_ERROR(tensors.Add(planned.name, planned.read()));
  }
  return tensors;
}

}  // namespace tec
