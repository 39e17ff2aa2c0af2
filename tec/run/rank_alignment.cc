#include "tec/run/rank_alignment.h"

#include <cstdint>

#include "absl/strings/str_cat.h"
#include "tec/base/fingerprint.h"
#include "tec/base/status.h"
#include "tec/base/version.h"
#include "tec/dist/replicas.h"
#include "tec/run/rank_runtime.h"

namespace tec {

absl::Status AlignRanks(RunContext& context, Task& task, const EpochPlan& plan) {
  if (context.group().world_size() == 1) return absl::OkStatus();
  RankFacts facts = task.Facts();
  facts.emplace_back("version", kVersion);
  facts.emplace_back("kind of device", context.device().is_cpu() ? "cpu" : "cuda");
  facts.emplace_back("--bfloat16_gradients", Bfloat16Gradients() ? "on" : "off");
  facts.emplace_back("images in the data set", absl::StrCat(plan.dataset_size));
  if (task.loader() != nullptr) {
    const Dataset& dataset = task.loader()->dataset();
    Fingerprint names;
    for (int64_t i = 0; i < dataset.size(); ++i) names.Add(absl::StrCat(dataset.name(i), "/", dataset.label(i)));
    facts.emplace_back("fingerprint of the images' names and labels", absl::StrCat(absl::Hex(names.value())));
  }
  TEC_RETURN_IF_ERROR(CompareFacts(context.group(), facts));
  return SendReplicas(context.group(), task.Replicated());
}

}  // namespace tec
