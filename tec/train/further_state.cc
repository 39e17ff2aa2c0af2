#include "tec/train/further_state.h"

#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "tec/base/logging.h"

namespace tec {
namespace {

// Written into files: never rename.
std::string Prefix(size_t number) { return absl::StrCat("further_models.", number, "."); }
constexpr char kModel[] = "model.", kAverage[] = "exp_avg.", kSquares[] = "exp_avg_sq.";
constexpr char kStep[] = "step.", kScale[] = "scale", kTracker[] = "growth_tracker";

}  // namespace

void AddFurtherState(const TrainingState& further, size_t number, TrainingState* state) {
  const std::string prefix = Prefix(number);
  for (const auto& [name, view] : further.model) {
    TEC_CHECK_OK(state->extra.Add(absl::StrCat(prefix, kModel, name), view));
  }
  for (const auto& [parameter, moments] : further.optimizer.moments) {
    TEC_CHECK_OK(state->extra.Add(absl::StrCat(prefix, kAverage, parameter), moments.exp_avg));
    TEC_CHECK_OK(state->extra.Add(absl::StrCat(prefix, kSquares, parameter), moments.exp_avg_sq));
    state->counters[absl::StrCat(prefix, kStep, parameter)] = moments.step;
  }
  if (further.scaler) {
    state->numbers[prefix + kScale] = further.scaler->scale;
    state->counters[prefix + kTracker] = further.scaler->growth_tracker;
  }
}

absl::StatusOr<TrainingState> FurtherState(const TrainingState& state, size_t number,
                                           const std::vector<ParameterGroup>& groups) {
  const std::string prefix = Prefix(number);
  TrainingState further;
  for (const ParameterGroup& group : groups) {
    OptimizerGroup saved;
    saved.num_parameters = static_cast<int64_t>(group.parameters.size());
    further.optimizer.groups.push_back(saved);
  }
  for (const auto& [full_name, view] : state.extra) {
    absl::string_view name = full_name;
    if (!absl::ConsumePrefix(&name, prefix)) continue;
    if (absl::ConsumePrefix(&name, kModel)) {
      TEC_CHECK_OK(further.model.Add(std::string(name), view));
      continue;
    }
    const bool average = absl::ConsumePrefix(&name, kAverage);
    int64_t parameter = 0;
    if ((!average && !absl::ConsumePrefix(&name, kSquares)) || !absl::SimpleAtoi(name, &parameter)) {
      return absl::InvalidArgumentError(absl::StrCat("unexpected tensor ", full_name));
    }
    MomentState& moments = further.optimizer.moments[parameter];
    (average ? moments.exp_avg : moments.exp_avg_sq) = view;
  }
  if (further.model.size() == 0) {
    return absl::InvalidArgumentError(absl::StrCat("the checkpoint holds no further new model number ", number));
  }
  for (auto& [parameter, moments] : further.optimizer.moments) {
    const auto step = state.counters.find(absl::StrCat(prefix, kStep, parameter));
    if (step == state.counters.end() || moments.exp_avg.shape != moments.exp_avg_sq.shape) {
      return absl::InvalidArgumentError(absl::StrCat("the optimizer state of parameter ", parameter,
                                                     " of new model number ", number, " is not whole"));
    }
    moments.step = step->second;
  }
  const auto scale = state.numbers.find(prefix + kScale);
  const auto tracker = state.counters.find(prefix + kTracker);
  if (scale != state.numbers.end() && tracker != state.counters.end()) {
    further.scaler.emplace();
    further.scaler->scale = scale->second;
    further.scaler->growth_tracker = tracker->second;
  }
  return further;
}

}  // namespace tec
