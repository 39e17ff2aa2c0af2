// The settings of a finetuning run: as config.h, for main_finetune.py's part of the recipe (section 13).

#ifndef TEC_CONFIG_FINETUNE_H_
#define TEC_CONFIG_FINETUNE_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tec/config/config.h"
#include "tec/config/finetune.pb.h"

namespace tec {

// The defaults of the reference's main_finetune.py (recipe.md sections 9 and 13). Not resolved.
config::Finetune ReferenceFinetune();

// The settings of an embedded name (FinetuneNames; the six table rows) or of a text file, which may be a row's
// (row.proto), over ReferenceFinetune().
absl::StatusOr<config::Finetune> LoadFinetune(const std::string& name_or_file);
absl::StatusOr<config::Finetune> ParseFinetune(const std::string& text, const std::string& file);
std::vector<std::string> FinetuneNames();

// Every field set. The encoder's shape follows from the name of the model.
config::Finetune Resolve(config::Finetune finetune, const Machine& machine = ThisMachine());

// All problems at once, but for the text of `aa`: whoever makes the transform parses it (eval/finetune/augmentation.h).
absl::Status Validate(const config::Finetune& resolved, Paths paths = Paths::kRequired);

std::string ToText(const config::Finetune& finetune);

}  // namespace tec

#endif  // TEC_CONFIG_FINETUNE_H_
