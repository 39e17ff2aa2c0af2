// What a user says of the base model's file in pretraining; in other programs, the same as the flags of vit_flags.h.

#ifndef TEC_CONFIG_BASE_MODEL_FLAGS_H_
#define TEC_CONFIG_BASE_MODEL_FLAGS_H_

#include <string>
#include <vector>

#include "absl/flags/declare.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "tec/config/flag_parser.h"

ABSL_DECLARE_FLAG(std::string, base_model_family);
ABSL_DECLARE_FLAG(std::string, base_model_entry);
ABSL_DECLARE_FLAG(std::string, base_model_grid);

namespace tec {

// --base_model_family, --base_model_entry and --base_model_grid, which set the fields family, entry and grid of
// `message` ("base_model."; "" for the message itself).
std::vector<FlagSpec> BaseModelFlags(absl::string_view message);

// A status of ReadVitFile about the base model, with the flags under their names here.
absl::Status NamingBaseModelFlags(const absl::Status& status);

}  // namespace tec

#endif  // TEC_CONFIG_BASE_MODEL_FLAGS_H_
