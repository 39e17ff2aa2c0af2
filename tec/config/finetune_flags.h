// The command line of //eval:finetune: every flag of the reference's main_finetune.py under its name, with its default
// and meaning (recipe.md section 9), and some of our own. Used as flags.h; --config or --data_path must be given.

#ifndef TEC_CONFIG_FINETUNE_FLAGS_H_
#define TEC_CONFIG_FINETUNE_FLAGS_H_

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "tec/config/common_flags.h"
#include "tec/config/finetune.h"
#include "tec/config/finetune.pb.h"

namespace tec {

struct FinetuneCommandLine {
  bool help = false;
  bool print_config = false;
  config::Finetune finetune;  // Resolved, valid, its paths as by UserPath (tec/base/path.h).
  SavingFlags saving;
  bool confusion = false;  // --confusion
  Distributed distributed;
};

absl::StatusOr<FinetuneCommandLine> ParseFinetuneCommandLine(int argc, const char* const* argv,
                                                             const Machine& machine = ThisMachine());

// The exit code if there is nothing to run, after printing why; see flags.h.
std::optional<int> FinishEarly(const absl::StatusOr<FinetuneCommandLine>& command_line);

std::string FinetuneHelpText();

}  // namespace tec

#endif  // TEC_CONFIG_FINETUNE_FLAGS_H_
