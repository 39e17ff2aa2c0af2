// The command line of //tec:pretrain: every flag of the reference's main_pretrain.py under its name, with its default
// and meaning (recipe.md section 9), and some of our own. `--flag value` and `--flag=value` are both understood.
//
//   int main(int argc, char** argv) {
//     tec::InitLogging(argv[0]);
//     const absl::StatusOr<tec::CommandLine> command_line = tec::ParseCommandLine(argc, argv);
//     if (std::optional<int> exit_code = tec::FinishEarly(command_line)) return *exit_code;
//     if (command_line->is_quickstart) return RunQuickstart(command_line->quickstart);
//     return Run(command_line->experiment, command_line->distributed);
//   }
//
// What runs: with --config that; else with --data_path and --base_model, and neither --model nor --basemodel,
// own_images (own_images.h); else with --data_path the reference's defaults, as its commands expect; else the
// quickstart. A flag that is given overrides the file; one that is not given leaves it alone, so a flag's default
// counts only where nothing else speaks. Link this library or finetune_flags into a program, never both: they define
// flags of the same name.

#ifndef TEC_CONFIG_FLAGS_H_
#define TEC_CONFIG_FLAGS_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "tec/config/common_flags.h"
#include "tec/config/config.h"
#include "tec/config/experiment.pb.h"

namespace tec {

struct CommandLine {
  bool help = false;          // --help: nothing else is filled in.
  bool print_config = false;  // --print_config
  bool dry_run = false;       // --dry_run
  bool is_quickstart = false;
  config::Experiment experiment;  // Unless is_quickstart: resolved, valid, its paths as by UserPath (tec/base/path.h).
  config::Quickstart quickstart;  // If is_quickstart: the same.
  int64_t knn_every = 0;          // --knn_every: epochs between two kNN evaluations; 0: none.
  std::string knn_data_path;      // --knn_data_path, its path as by UserPath; the experiment's data unless given.
  bool open = false;              // --open: show the quickstart's page at the end.
  std::string announcement;       // Lines to print first, on the first rank; usually empty.
  SavingFlags saving;
  Distributed distributed;
};

// Settles what own_images leaves to the files and the device: fills in `experiment`, the reference's, and then all that
// `given` sets. Gives the announcement.
using SettleExperiment =
    std::function<absl::StatusOr<std::string>(const config::Experiment& given, const Distributed& distributed,
                                              const Machine& machine, config::Experiment* experiment)>;

// Errors: InvalidArgument or NotFound, a message for the user: an unknown flag (with the nearest one), a bad value, a
// bad file, or all that is wrong with the experiment. Without `own_images` there is no such config.
absl::StatusOr<CommandLine> ParseCommandLine(int argc, const char* const* argv, const Machine& machine = ThisMachine(),
                                             const SettleExperiment& own_images = nullptr);

// The exit code if there is nothing to run: an error was printed to standard error (1), or the help, the resolved
// experiment or its cost to standard output (0).
std::optional<int> FinishEarly(const absl::StatusOr<CommandLine>& command_line);

// What --help prints: examples, then the flags by group with their defaults.
std::string HelpText();

}  // namespace tec

#endif  // TEC_CONFIG_FLAGS_H_
