// A plan (vit_plan.h) in the making: the file's tensors by their names here, what is taken of them in which form, and
// all that is wrong with them.

#ifndef TEC_CHECKPOINT_FAMILIES_PLAN_BUILDER_H_
#define TEC_CHECKPOINT_FAMILIES_PLAN_BUILDER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tec/checkpoint/families/encoder_place.h"
#include "tec/checkpoint/families/family.h"
#include "tec/checkpoint/families/vit_plan.h"
#include "tec/checkpoint/tensor_view.h"

namespace tec {

using Shape = std::vector<int64_t>;

// "[1,197,768]".
std::string ShapeText(const Shape& shape);

class PlanBuilder {
 public:
  struct Part {
    TensorView tensor;
    std::string name;  // In the file.
  };

  // Sorts every tensor of the file into parts, heads left out and what is unexpected.
  PlanBuilder(const Family& family, const EncoderPlace& place, const StateDict& tensors);

  const Family& family() const { return family_; }
  VitTraits& traits() { return plan_.traits; }
  const std::map<std::string, Part>& parts() const { return parts_; }
  // By its name here; nullptr if there is none.
  const Part* Find(const std::string& name) const;

  // What goes into the plan. A part that is missing or has another shape (but for sizes of one in front) is noted.
  void Take(const std::string& name, const Shape& shape, const std::string& part_name = "");
  void TakePair(const std::string& module, const Shape& shape);  // .weight and .bias.
  void TakeNorm(const std::string& module, int64_t width);       // The same, or .weight alone with traits.rms_norm.
  // The bias of a linear map [out]; zero, which is the same, where no block of the file has it.
  void TakeBias(const std::string& name, const Shape& shape, const std::string& part_name = "");
  // `part` times `factors`, element by element, both of the shape.
  void TakeProduct(const std::string& name, const Shape& shape, const std::string& part, const std::string& factors);
  // module.weight [C, in] and module.bias [C], each row times its entry of `scale` [C] where there is one.
  void TakeScaled(const std::string& module, int64_t in, const std::string& scale);
  // Row-wise; of the parts `optional` may be missing and are zero then.
  void Concatenate(const std::string& name, const Shape& shape, const Shape& part_shape,
                   const std::vector<std::string>& names, const std::set<std::string>& optional = {});
  void Constant(const std::string& name, const Shape& shape);  // Zero.
  void Add(const std::string& name, const Shape& shape, const std::vector<const Part*>& from,
           std::function<TensorView()> read);
  // For Add: the part, which counts as used; nullptr, and noted, if it is missing or of another shape.
  const Part* Use(const std::string& name, const Shape& shape);
  // The part, as a view of another shape with as many elements.
  void Reshape(const std::string& name, const Shape& shape) { parts_.at(name).tensor.shape = shape; }
  // Of a part that is looked at and goes into no tensor.
  void MarkUsed(const std::string& name) { used_.insert(name); }
  // For what is no tensor of the plan.
  VitPlan& plan() { return plan_; }
  void AddProblem(std::string problem) { problems_.push_back(std::move(problem)); }
  void AddMissing(std::string name) { missing_.push_back(std::move(name)); }

  // The plan, or InvalidArgument with everything that is wrong.
  absl::StatusOr<VitPlan> Finish();

 private:
  std::string NameInFile(const std::string& name) const;
  bool AbsentInAllBlocks(const std::string& name) const;
  absl::Status Problems();

  const Family& family_;
  EncoderPlace place_;
  VitPlan plan_;
  std::map<std::string, Part> parts_;
  std::set<std::string> used_;
  std::vector<std::string> missing_, unexpected_, refused_, problems_;
};

}  // namespace tec

#endif  // TEC_CHECKPOINT_FAMILIES_PLAN_BUILDER_H_
