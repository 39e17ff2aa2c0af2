#include "tec/checkpoint/families/vit_plan.h"

#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tec/base/printable.h"
#include "tec/base/status.h"
#include "tec/checkpoint/families/plan_steps.h"

namespace tec {
namespace {

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
  if (!prefix.empty()) absl::StrAppend(&report, ", those under \"", Printable(prefix), "\"");
  if (!left_out.empty()) absl::StrAppend(&report, "; left out by name: ", Printable(Groups(left_out)));
  if (!traits.assumed.empty()) absl::StrAppend(&report, "; assumed: ", absl::StrJoin(traits.assumed, ", "));
  return report;
}

absl::StatusOr<VitPlan> PlanVit(const Family& family, const StateDict& tensors, const VitHints& hints) {
  TEC_ASSIGN_OR_RETURN(const EncoderPlace place, FindEncoder(family, tensors, hints.entry));
  PlanBuilder builder(family, place, tensors);
  const std::set<int64_t> blocks = FindTraits(builder);
  PlanRotary(hints, builder);
  PlanTokens(hints, builder);
  const VitTraits& traits = builder.traits();
  const Shape width = {traits.width};
  builder.Take("patch_embed.proj.weight", {traits.width, traits.channels, traits.patch_size, traits.patch_size});
  builder.TakeBias("patch_embed.proj.bias", width);
  if (traits.patch_norm) builder.TakeNorm("patch_norm", traits.width);
  if (traits.pre_norm) builder.TakeNorm("norm_pre", traits.width);
  for (int64_t block : blocks) PlanBlock(absl::StrCat("blocks.", block, "."), builder);
  PlanFinalNorm(hints, builder);
  PlanPool(builder);
  return builder.Finish();
}

absl::StatusOr<StateDict> ReadAll(const VitPlan& plan) {
  StateDict tensors;
  for (const PlannedTensor& planned : plan.tensors) {
    TEC_RETURN_IF_ERROR(tensors.Add(planned.name, planned.read()));
  }
  return tensors;
}

}  // namespace tec
