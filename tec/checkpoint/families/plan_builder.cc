#include "tec/checkpoint/families/plan_builder.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "tec/base/nearest_name.h"
#include "tec/base/status.h"
#include "tec/checkpoint/elements.h"

namespace tec {
namespace {

TensorView Reshaped(TensorView tensor, Shape shape) {
  tensor.shape = std::move(shape);
  return tensor;
}

TensorView Zeros(const Shape& shape) {
  int64_t count = 1;
  for (int64_t size : shape) count *= size;
  return TensorView::FromFloats(shape, std::vector<float>(count));
}

double Letters(const std::vector<std::string>& names) {
  double sum = 0;
  for (const std::string& name : names) sum += name.size();
  return sum;
}

// The comparison of all with all is for people's slips, not for a file of another kind.
constexpr size_t kMaxComparisons = 100'000;
// Of the distances, which take the product of the lengths: a second's.
constexpr double kMaxSteps = 3e8;

}  // namespace

std::string ShapeText(const Shape& shape) { return absl::StrCat("[", absl::StrJoin(shape, ","), "]"); }

PlanBuilder::PlanBuilder(const Family& family, const EncoderPlace& place, const StateDict& tensors)
    : family_(family), place_(place) {
  plan_.family = family.name;
  plan_.prefix = place.prefix;
  plan_.other_prefixes = place.others;
  plan_.file_tensors = tensors.size();
  std::vector<std::pair<std::string, Part>> outside;
  std::set<std::string> reasons;
  for (const auto& [name, tensor] : tensors) {
    absl::string_view own = name, outer = name;
    const bool inside = absl::ConsumePrefix(&own, place.prefix);
    absl::ConsumePrefix(&outer, place.wrapper);
    const absl::string_view known = inside ? own : outer;
    if (const std::optional<std::string> why = Renamed(known, family.refused); why.has_value()) {
      // Many tensors may be there for one reason.
      if (reasons.insert(*why).second) refused_.push_back(absl::StrCat(name, ": ", *why));
      continue;
    }
    std::optional<std::string> renamed = Renamed(known, family.names);
    if (inside && renamed.has_value()) {
      const auto [part, added] = parts_.emplace(*renamed, Part{tensor, name});
      if (!added) AddProblem(absl::StrCat(name, " and ", part->second.name, " are both ", *renamed));
    } else if (std::optional<std::string> own_name = Renamed(outer, family.names_outside); own_name.has_value()) {
      outside.emplace_back(*own_name, Part{tensor, name});
    } else if (FitsAny(known, family.left_out) || IsHead(known) || (!inside && !renamed.has_value())) {
      // What stands beside an encoder that has a prefix, and is not called like a part of one, is none.
      plan_.left_out.push_back(name);
      if (inside && FitsAny(own, {"head.weight", "head.bias", "fc_norm.weight", "fc_norm.bias"})) {
        plan_.classifier.Add(std::string(own), tensor).IgnoreError();
      }
    } else {
      unexpected_.push_back(name);
    }
  }
  for (auto& [name, part] : outside) {
    if (Find(name) == nullptr) {
      parts_.emplace(name, std::move(part));
    } else {
      unexpected_.push_back(part.name);
    }
  }
}

const PlanBuilder::Part* PlanBuilder::Find(const std::string& name) const {
  const auto found = parts_.find(name);
  return found == parts_.end() ? nullptr : &found->second;
}

const PlanBuilder::Part* PlanBuilder::Use(const std::string& name, const Shape& shape) {
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
    AddProblem(absl::StrCat(part->name, " has shape ", ShapeText(part->tensor.shape), ", a model of width ",
                            traits().width, " needs ", ShapeText(shape)));
    return nullptr;
  }
  if (!IsFloatingPoint(part->tensor.dtype)) {
    AddProblem(absl::StrCat(part->name, " is ", Describe(part->tensor), ", no floating-point type"));
    return nullptr;
  }
  return part;
}

void PlanBuilder::Add(const std::string& name, const Shape& shape, const std::vector<const Part*>& from,
                      std::function<TensorView()> read) {
  PlannedTensor planned = {name, shape, {}, {}, std::move(read)};
  for (const Part* part : from) {
    planned.from.push_back(part->name);
    planned.sources.push_back(part->tensor);
  }
  plan_.tensors.push_back(std::move(planned));
}

void PlanBuilder::Take(const std::string& name, const Shape& shape, const std::string& part_name) {
  const Part* part = Use(part_name.empty() ? name : part_name, shape);
  if (part == nullptr) return;
  const TensorView tensor = part->tensor;
  Add(name, shape, {part}, [tensor, shape] { return Reshaped(tensor, shape); });
}

void PlanBuilder::TakePair(const std::string& module, const Shape& shape) {
  Take(module + ".weight", shape);
  Take(module + ".bias", shape);
}

void PlanBuilder::TakeNorm(const std::string& module, int64_t width) {
  Take(module + ".weight", {width});
  if (!plan_.traits.rms_norm) Take(module + ".bias", {width});
}

bool PlanBuilder::AbsentInAllBlocks(const std::string& name) const {
  const std::vector<std::string> pieces = absl::StrSplit(name, absl::MaxSplits('.', 2));
  if (pieces[0] != "blocks") return Find(name) == nullptr;
  for (int64_t block = 0; block < plan_.traits.depth; ++block) {
    if (Find(absl::StrCat("blocks.", block, ".", pieces.back())) != nullptr) return false;
  }
  return true;
}

void PlanBuilder::TakeBias(const std::string& name, const Shape& shape, const std::string& part_name) {
  const std::string& part = part_name.empty() ? name : part_name;
  if (AbsentInAllBlocks(part)) {
    Constant(name, shape);
  } else {
    Take(name, shape, part);
  }
}

void PlanBuilder::TakeProduct(const std::string& name, const Shape& shape, const std::string& part,
                              const std::string& factors) {
  const Part *first = Use(part, shape), *second = Use(factors, shape);
  if (first == nullptr || second == nullptr) return;
  const TensorView a = first->tensor, b = second->tensor;
  Add(name, shape, {first, second}, [a, b, shape] {
    std::vector<float> values = FloatsOf(a);
    const std::vector<float> others = FloatsOf(b);
    for (size_t i = 0; i < values.size(); ++i) values[i] *= others[i];
    return TensorView::FromFloats(shape, values);
  });
}

void PlanBuilder::TakeScaled(const std::string& module, int64_t in, const std::string& scale) {
  const int64_t width = traits().width;
  if (Find(scale) == nullptr) {
    Take(module + ".weight", {width, in});
    TakeBias(module + ".bias", {width});
    return;
  }
  const Part* gamma = Use(scale, {width});
  for (const auto& [name, shape] :
       {std::pair(module + ".weight", Shape{width, in}), std::pair(module + ".bias", Shape{width})}) {
    if (shape.size() == 1 && AbsentInAllBlocks(name)) {
      Constant(name, shape);
      continue;
    }
    const Part* part = Use(name, shape);
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

void PlanBuilder::Concatenate(const std::string& name, const Shape& shape, const Shape& part_shape,
                              const std::vector<std::string>& names, const std::set<std::string>& optional) {
  std::vector<const Part*> found;
  std::vector<TensorView> tensors;
  bool complete = true;
  for (const std::string& part_name : names) {
    if (optional.count(part_name) != 0 && Find(part_name) == nullptr) {
      tensors.push_back(Zeros(part_shape));
      continue;
    }
    const Part* part = Use(part_name, part_shape);
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

void PlanBuilder::Constant(const std::string& name, const Shape& shape) {
  Add(name, shape, {}, [shape] { return Zeros(shape); });
}

// As the family spells the tensor; `name` where it puts it together from several.
std::string PlanBuilder::NameInFile(const std::string& name) const {
  std::vector<NameRule> rules;
  for (const NameRule& rule : family_.names) rules.push_back({rule.to, rule.from});
  const std::optional<std::string> own = Renamed(name, rules);
  return own.has_value() ? place_.prefix + *own : name;
}

absl::StatusOr<VitPlan> PlanBuilder::Finish() {
  TEC_RETURN_IF_ERROR(Problems());
  return std::move(plan_);
}

absl::Status PlanBuilder::Problems() {
  // What such tensors stand for is then missing as well.
  if (!refused_.empty())
    return absl::InvalidArgumentError(
        absl::StrCat("not read by the family ", family_.name, ": ", absl::StrJoin(refused_, "; ")));
  for (std::string& name : missing_) name = NameInFile(name);
  std::vector<std::string> unexpected = unexpected_;
  for (const auto& [name, part] : parts_) {
    if (used_.count(name) == 0) unexpected.push_back(part.name);
  }
  const bool compare =
      missing_.size() * unexpected.size() <= kMaxComparisons && Letters(missing_) * Letters(unexpected) <= kMaxSteps;
  std::vector<std::string> own;
  for (const std::string& name : missing_) {
    const std::string nearest = compare ? NearestName(name, unexpected) : "";
    own.push_back(absl::StrCat(name, " is missing", nearest.empty() ? "" : absl::StrCat(" (there is ", nearest, ")")));
  }
  problems_.insert(problems_.begin(), own.begin(), own.end());
  for (const std::string& name : unexpected) {
    const std::string nearest = compare ? NearestName(name, missing_) : "";
    problems_.push_back(
        absl::StrCat(name, " is unexpected", nearest.empty() ? "" : absl::StrCat(" (meant: ", nearest, "?)")));
  }
  if (problems_.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(problems_.size(), " tensors do not fit the family ", family_.name,
                                                 ": ", absl::StrJoin(problems_, "; ")));
}

}  // namespace tec
