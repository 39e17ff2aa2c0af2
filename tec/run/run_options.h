// What a run is asked for and what it answers, whatever it trains. No tensors.

#ifndef TEC_RUN_RUN_OPTIONS_H_
#define TEC_RUN_RUN_OPTIONS_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "tec/checkpoint/background_saver.h"
#include "tec/dist/environment.h"

namespace tec {

// By the caller, beside the settings.
struct RunOptions {
  LaunchEnvironment environment;  // Which rank this process is; by default the only one.
  bool quiet = false;             // No progress display; errors and warnings are still logged.
  bool overwrite = false;         // Starts anew in an output_dir that holds a run.
  RetentionOptions retention;     // Of the numbered checkpoints.
  double log_seconds = 0;         // Without a terminal, a line at least so often; 0: by print_freq alone.
  // Called on every rank after each update with the number of updates done since epoch 0; true stops the run as a
  // signal would: it saves and returns with `stopped` set.
  std::function<bool(int64_t updates)> stop_after_update;
  // Whether the host reads what an update gave only after it has queued the next micro-step. By default on a GPU; on
  // the CPU, for tests: it changes no checkpoint.
  std::optional<bool> read_late;
};

struct LoopOptions {
  std::string method;         // Of the checkpoints that it goes on from.
  std::string instead;        // What a checkpoint of another method is good for (FindRunState).
  std::string data_path;      // For messages.
  std::string output_dir;     // Checkpoints and logs.
  std::string log_dir;        // TensorBoard's events; empty: output_dir.
  std::string scalar_prefix;  // Of the losses' names in TensorBoard.
  std::string resume;         // A checkpoint; empty: the newest of output_dir, if there is one.
  int64_t epochs = 0, start_epoch = 0;
  int64_t save_period = 0;                                 // checkpoint-N every so many epochs, and the last; 0: none.
  double save_every_minutes = 0;                           // Also within an epoch; 0: only at its end.
  RetentionOptions retention;                              // Of the numbered checkpoints.
  double warmup_epochs = 0;                                // For advice.
  bool overwrite = false;                                  // As in RunOptions.
  std::function<bool(int64_t updates)> stop_after_update;  // As in RunOptions.
  std::optional<bool> read_late;                           // As in RunOptions.
};

// Of settings that have these parts: config::Experiment, config::Finetune. method and instead are left open.
template <typename Settings>
LoopOptions LoopOptionsOf(const Settings& settings, const RunOptions& options) {
  LoopOptions result;
  result.data_path = settings.data().path();
  result.output_dir = settings.logging().output_dir();
  result.log_dir = settings.logging().log_dir();
  result.resume = settings.checkpointing().resume();
  result.epochs = settings.schedule().epochs();
  result.start_epoch = settings.schedule().start_epoch();
  result.save_period = settings.checkpointing().save_period();
  result.save_every_minutes = settings.checkpointing().save_every_minutes();
  result.retention = options.retention;
  result.warmup_epochs = settings.schedule().warmup_epochs();
  result.overwrite = options.overwrite;
  result.stop_after_update = options.stop_after_update;
  result.read_late = options.read_late;
  return result;
}

struct LoopResult {
  bool stopped = false;        // By a signal or by stop_after_update, after saving.
  int64_t updates = 0;         // Since epoch 0, those before a resume included.
  int64_t epochs = 0;          // Finished.
  std::vector<double> losses;  // Means over the last epoch finished; empty if none was in this call.
  double seconds = 0;          // Of training in this call.
  double images_per_second = 0;
  std::string checkpoint;  // The newest checkpoint file: the last checkpoint-N.pth, or this_checkpoint.pth if stopped.
};

}  // namespace tec

#endif  // TEC_RUN_RUN_OPTIONS_H_
