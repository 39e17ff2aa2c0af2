#include "tec/config/vit_flags.h"

#include <cstdint>
#include <string>

#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"
#include "tec/base/status.h"
#include "tec/config/base_model_flags.h"

ABSL_FLAG(std::string, family, "",
          "whose names the weight file's tensors have (docs/checkpoints.md); empty: recognised from them");
ABSL_FLAG(
    std::string, entry, "",
    "which encoder of a weight file with several: an entry of it or a part of its tensors' names, such as teacher, "
    "model_ema, target_encoder; empty: the one that the family's project uses");
ABSL_FLAG(int64_t, heads, 0,
          "attention heads of the weight file's encoder; 0: as the file or its config.json says, or as the published "
          "models of its family and width have");
ABSL_FLAG(std::string, grid, "",
          "patches (rows x columns, such as 14x14) that the weight file's position table is for, where its rows can be "
          "read in two ways; empty: as they say");

namespace tec {

std::vector<FlagSpec> VitFlags() {
  std::vector<FlagSpec> flags = {{"family"}, {"entry"}, {"heads"}, {"grid"}};
  for (const FlagSpec& alias : BaseModelFlags("")) flags.push_back({alias.name});
  return flags;
}

std::vector<FlagSpec> VitFlagsOfFinetune() {
  std::vector<FlagSpec> flags = {
      {"family", "family"}, {"entry", "entry"}, {"heads", "encoder.heads"}, {"grid", "grid"}};
  for (const FlagSpec& alias : BaseModelFlags("")) flags.push_back(alias);
  return flags;
}

absl::StatusOr<VitRequest> VitRequestFromFlags() {
  VitRequest request;
  const auto either = [](const std::string& own, const std::string& alias) { return own.empty() ? alias : own; };
  request.family = either(absl::GetFlag(FLAGS_family), absl::GetFlag(FLAGS_base_model_family));
  request.entry = either(absl::GetFlag(FLAGS_entry), absl::GetFlag(FLAGS_base_model_entry));
  request.heads = absl::GetFlag(FLAGS_heads);
  if (request.heads < 0) return absl::InvalidArgumentError(absl::StrCat("--heads=", request.heads, " is negative"));
  TEC_RETURN_IF_ERROR(ParseGrid(either(absl::GetFlag(FLAGS_grid), absl::GetFlag(FLAGS_base_model_grid)), &request));
  return request;
}

}  // namespace tec
