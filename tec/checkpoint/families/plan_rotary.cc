#include <cmath>
#include <cstring>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tec/base/logging.h"
#include "tec/checkpoint/elements.h"
#include "tec/checkpoint/families/plan_steps.h"

namespace tec {
namespace {

constexpr char kPeriods[] = "rotary.periods";

// Of the d numbers of a head, in the order in which Rotary turns them, the place in the file.
std::vector<int64_t> PlacesInFile(const RotaryTraits& rotary, int64_t d) {
  const int64_t angles = d / 2;
  std::vector<int64_t> places(d);
  for (int64_t k = 0; k < angles; ++k) {
    const int64_t angle = rotary.columns_first ? (k + angles / 2) % angles : k;
    places[k] = rotary.interleaved ? 2 * angle : angle;
    places[k + angles] = rotary.interleaved ? 2 * angle + 1 : angle + angles;
  }
  return places;
}

// qkv's weight or bias with the rows of q and k so arranged.
TensorView Arranged(const TensorView& qkv, const std::vector<int64_t>& places, int64_t heads) {
  const std::vector<float> rows = FloatsOf(qkv);
  const int64_t d = places.size(), row = rows.size() / (3 * heads * d);
  std::vector<float> arranged = rows;
  for (int64_t head = 0; head < 2 * heads; ++head) {
    for (int64_t i = 0; i < d; ++i) {
      std::memcpy(&arranged[(head * d + i) * row], &rows[(head * d + places[i]) * row], row * sizeof(float));
    }
  }
  return TensorView::FromFloats(qkv.shape, arranged);
}

}  // namespace

void PlanRotary(const VitHints& hints, PlanBuilder& builder) {
  VitTraits& traits = builder.traits();
  traits.rotary = builder.family().rotary;
  if (!traits.rotary.has_value()) return;
  const PlanBuilder::Part* periods = builder.Find(kPeriods);
  if (periods == nullptr) {
    if (hints.config == nullptr) {
      traits.assumed.push_back(absl::StrCat("rotary positions as in the published models of family ",
                                            builder.family().name, " (theta ", traits.rotary->theta, ")"));
    }
    return;
  }
  const int64_t count = periods->tensor.shape.size() == 1 ? periods->tensor.shape[0] : 0;
  if (builder.Use(kPeriods, {count}) == nullptr) return;
  if (count < 1 || traits.width % (4 * count) != 0) {
    builder.AddProblem(absl::StrCat(periods->name, " has shape ", ShapeText(periods->tensor.shape),
                                    ", not a quarter of the width of a head"));
    return;
  }
  for (double period : DoublesOf(periods->tensor)) {
    if (!std::isfinite(period) || period <= 0) {
      builder.AddProblem(absl::StrCat(periods->name, " has the period ", period, ", which is none"));
      return;
    }
    traits.rotary->frequencies.push_back(traits.rotary->scale / period);
  }
  traits.heads = traits.width / (4 * count);
}

absl::Status ArrangeRotary(VitPlan* plan) {
  VitTraits& traits = plan->traits;
  if (!traits.rotary.has_value() || traits.heads < 1) return absl::OkStatus();
  if (traits.width % (4 * traits.heads) != 0) {
    return absl::InvalidArgumentError(absl::StrCat(traits.heads, " heads of the width ", traits.width,
                                                   " cannot have rotary positions, which take four numbers at a time: "
                                                   "--heads must divide ",
                                                   traits.width / 4));
  }
  RotaryTraits& rotary = *traits.rotary;
  if (!rotary.interleaved && !rotary.columns_first) return absl::OkStatus();
  const int64_t heads = traits.heads;
  const std::vector<int64_t> places = PlacesInFile(rotary, traits.width / heads);
  for (PlannedTensor& tensor : plan->tensors) {
    if (!absl::StrContains(tensor.name, ".attn.qkv.") || tensor.from.empty()) continue;
    tensor.read = [read = std::move(tensor.read), places, heads] { return Arranged(read(), places, heads); };
  }
  rotary.interleaved = rotary.columns_first = false;
  return absl::OkStatus();
}

RotaryGrid RotaryGridOf(const VitTraits& traits) {
  if (!traits.rotary.has_value() || traits.heads < 1) return {};
  const RotaryTraits& rotary = *traits.rotary;
  TEC_CHECK(!rotary.interleaved && !rotary.columns_first) << "ArrangeRotary comes first";
  const std::vector<double> frequencies =
      rotary.frequencies.empty() ? RotaryFrequencies(rotary.theta, traits.width / traits.heads / 4, rotary.scale)
                                 : rotary.frequencies;
  return {rotary.shift, rotary.span, rotary.origin, frequencies};
}

}  // namespace tec
