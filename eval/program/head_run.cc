#include "eval/program/head_run.h"

namespace tec {

RunContext::Options ContextOptionsOf(const HeadRunOptions& options) {
  RunContext::Options result;
  result.device = options.frozen.device;
  result.threads = options.frozen.threads;
  result.print_freq = options.print_freq;
  result.quiet = options.quiet;
  return result;
}

LoopOptions LoopOptionsOf(const HeadRunOptions& options, const std::string& method) {
  LoopOptions result;
  result.method = method;
  result.instead = "give it as --checkpoint";
  result.data_path = options.frozen.data_path;
  result.output_dir = options.frozen.output_dir;
  result.log_dir = options.log_dir;
  result.resume = options.resume;
  result.epochs = options.epochs;
  result.stop_after_update = options.stop_after_update;
  result.read_late = options.read_late;
  return result;
}

}  // namespace tec
