// The flags that pretraining and finetuning share.

#ifndef TEC_CONFIG_COMMON_FLAGS_H_
#define TEC_CONFIG_COMMON_FLAGS_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tec/config/distributed_flags.h"
#include "tec/config/experiment.pb.h"
#include "tec/config/flag_parser.h"

namespace tec {

// How a run saves and logs, and whether over another one. Part of the launch, not of the experiment: none of it changes
// what is computed.
struct SavingFlags {
  bool overwrite = false;      // --overwrite
  int64_t keep_last = 0;       // --keep_last
  bool encoder_only = false;   // --save_weights=encoder
  double log_seconds = 60;     // --log_seconds
  bool report = true;          // --report
  double report_seconds = 10;  // --report_seconds
};
// InvalidArgument for a value out of range.
absl::StatusOr<SavingFlags> ReadSavingFlags();

// The flags' current values.
std::string ConfigFlag();
bool PrintConfigFlag();

// Groups for ParseFlags that mean the same in both programs: fields of the messages that Experiment and Finetune have
// in common.
FlagGroup DataFlags();
FlagGroup OptimizerFlags();
FlagGroup OutputFlags();
FlagGroup RuntimeFlags();
// Of ReadSavingFlags; for programs whose runs take them (tec/run/run_options.h).
FlagGroup SavingFlagGroup();

// To be called after ApplyFlags, with `before` as the messages were before it: log_dir, where it was not given and was
// output_dir, follows output_dir.
void FollowOutputDir(const ParsedFlags& parsed, const config::Logging& before, config::Logging* logging);

// The user's view of paths (tec/base/path.h) for what the two messages have in common, as absolute ones: a recorded
// experiment can be taken back from any folder.
void ResolvePaths(config::Data* data, config::Checkpointing* checkpointing, config::Logging* logging);

// Prints and returns the exit code if there is nothing to run: `status` as an error (1), the help or the config (0).
std::optional<int> PrintAndFinish(const absl::Status& status, bool help, const std::function<std::string()>& help_text,
                                  bool print_config, const std::function<std::string()>& config_text);

}  // namespace tec

#endif  // TEC_CONFIG_COMMON_FLAGS_H_
