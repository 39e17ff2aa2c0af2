// What every part of a run shares: this rank's device, the other ranks, the console and the request to stop.
//
//   TEC_ASSIGN_OR_RETURN(const std::unique_ptr<RunContext> context, RunContext::Open(options));

#ifndef TEC_RUN_RUN_CONTEXT_H_
#define TEC_RUN_RUN_CONTEXT_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "c10/core/DeviceGuard.h"
#include "tec/dist/environment.h"
#include "tec/dist/process_group.h"
#include "tec/run/progress.h"
#include "tec/run/run_options.h"
#include "tec/run/stop_signal.h"

namespace tec {

class RunContext {
 public:
  struct Options {
    LaunchEnvironment environment;  // Which rank this process is; by default the only one.
    std::string device = "cpu";     // As SelectRankDevice.
    int64_t threads = 0;            // Compute threads on the CPU; 0: this machine's cores, shared among its ranks.
    int64_t print_freq = 20;        // Micro-steps between two lines where there is no terminal.
    bool quiet = false;             // No progress display; errors and warnings are still logged.
    double log_seconds = 0;         // A line at least so often there; 0: by print_freq.
  };
  // Of config::Experiment or config::Finetune.
  template <typename Settings>
  static Options OptionsOf(const Settings& settings, const RunOptions& options) {
    return {
        options.environment, settings.runtime().device(), settings.runtime().threads(), settings.logging().print_freq(),
        options.quiet,       options.log_seconds};
  }
  // Chooses the device, sets the number of threads, meets the other ranks. One context at a time. Errors are
  // SelectRankDevice's and ProcessGroup::Create's.
  static absl::StatusOr<std::unique_ptr<RunContext>> Open(const Options& options);

  c10::Device device() const { return device_; }
  ProcessGroup& group() { return *group_; }
  Progress& progress() { return *progress_; }  // Silent on every rank but the first.
  bool stop_requested() const { return stop_signal_.received() != 0; }
  // How often this process was asked to save and go on.
  int save_requests() const { return stop_signal_.save_requests(); }
  bool first_rank() const { return group_->rank() == 0; }
  // Updates between two comparisons of the ranks' state; 0: none but at the start and at saves.
  int64_t check_every() const { return check_every_; }
  // Runs `body` on the first rank; every rank learns how it ended (ProcessGroup::Agree), and waits as long as it takes.
  absl::Status OnFirstRank(const std::function<absl::Status()>& body,
                           const std::string& what = "the first rank's work");

 private:
  explicit RunContext(c10::Device device) : device_(device), guard_(device) {}

  StopSignal stop_signal_;
  c10::Device device_;
  c10::OptionalDeviceGuard guard_;
  int64_t check_every_ = 0;
  std::unique_ptr<ProcessGroup> group_;
  std::unique_ptr<Progress> progress_;
};

}  // namespace tec

#endif  // TEC_RUN_RUN_CONTEXT_H_
