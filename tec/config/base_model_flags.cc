#include "tec/config/base_model_flags.h"

#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

ABSL_FLAG(std::string, base_model_family, "",
          "how the base model's file names its tensors (docs/checkpoints.md); empty: recognised from them");
ABSL_FLAG(
    std::string, base_model_entry, "",
    "which encoder of the base model's file, if it has several: an entry of it or a part of its tensors' names, such "
    "as teacher, model_ema, target_encoder; empty: the one that the family's project uses");
ABSL_FLAG(
    std::string, base_model_grid, "",
    "patches (rows x columns, such as 14x14) that the base model's position table is for, where its rows can be read "
    "in two ways; empty: as they say");

namespace tec {

std::vector<FlagSpec> BaseModelFlags(absl::string_view message) {
  std::vector<FlagSpec> flags;
  for (const char* field : {"family", "entry", "grid"}) {
    flags.push_back({absl::StrCat("base_model_", field), absl::StrCat(message, field)});
  }
  return flags;
}

absl::Status NamingBaseModelFlags(const absl::Status& status) {
  if (status.ok()) return status;
  return absl::Status(status.code(), absl::StrReplaceAll(status.message(), {{"--family", "--base_model_family"},
                                                                            {"--entry", "--base_model_entry"},
                                                                            {"--grid", "--base_model_grid"},
                                                                            {"--heads", "base_model.encoder.heads"}}));
}

}  // namespace tec
