#include "tec/run/run_context.h"

#include "tec/base/status.h"
#include "tec/run/rank_runtime.h"

namespace tec {

absl::StatusOr<std::unique_ptr<RunContext>> RunContext::Open(const Options& options) {
  // Its error is told to the others, who would wait for this rank.
  const absl::StatusOr<c10::Device> device = SelectRankDevice(options.device, options.environment);
  std::unique_ptr<RunContext> context(new RunContext(device.ok() ? *device : c10::Device(c10::kCPU)));
  context->check_every_ = options.environment.check_every;
  SetComputeThreads(options.threads, options.environment);
  ProcessGroupOptions group;
  group.cuda = device.ok() && device->is_cuda();
  // It may wait for minutes for a rank that does not come. Alone it waits for none: a request to stop is kept for
  // later.
  context->stop_signal_.set_ends_at_once(options.environment.world_size > 1);
  absl::StatusOr<std::unique_ptr<ProcessGroup>> met = ProcessGroup::Create(options.environment, group, device.status());
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

absl::Status RunContext::OnFirstRank(const std::function<absl::Status()>& body, const std::string& what) {
  absl::Status status;
  if (first_rank()) {
    const ProcessGroup::Work work(*group_, what);
    status = body();
  }
  return group_->Agree(status, what);
}

}  // namespace tec
