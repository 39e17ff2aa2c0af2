#include "tec/run/run_context.h"

#include "tec/base/status.h"
#include "tec/run/rank_runtime.h"

namespace tec {

absl::StatusOr<std::unique_ptr<RunContext>> RunContext::Open(const Options& options) {
  TEC_ASSIGN_OR_RETURN(const c10::Device device, SelectRankDevice(options.device, options.environment));
  std::unique_ptr<RunContext> context(new RunContext(device));
  SetComputeThreads(options.threads, options.environment);
  ProcessGroupOptions group;
  group.cuda = device.is_cuda();
  // It may wait for minutes for a rank that does not come.
  context->stop_signal_.set_ends_at_once(true);
  absl::StatusOr<std::unique_ptr<ProcessGroup>> met = ProcessGroup::Create(options.environment, group);
  context->stop_signal_.set_ends_at_once(false);
  if (!met.ok()) return met.status();
  context->group_ = *std::move(met);
  Progress::Options progress;
  progress.print_freq = options.print_freq;
  progress.log_seconds = options.log_seconds;
  progress.quiet = options.quiet || !context->first_rank();
  context->progress_ = std::make_unique<Progress>(progress);
  return context;
}

absl::Status RunContext::OnFirstRank(const std::function<absl::Status()>& body) {
  return group_->Agree(first_rank() ? body() : absl::OkStatus());
}

}  // namespace tec
