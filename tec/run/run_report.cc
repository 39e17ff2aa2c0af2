#include "tec/run/run_report.h"

#include <sys/resource.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "c10/core/CachingDeviceAllocator.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"
#include "tec/config/advice.h"
#include "tec/run/matrix_rate.h"
#include "tec/run/rank_runtime.h"

namespace tec {
namespace {

// The most so far: on a GPU what its allocator held for this process, else what of this process was in memory.
double PeakMemoryGib(c10::Device device) {
  if (device.is_cuda()) {
    constexpr auto kAll = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
    const auto stats = c10::getDeviceAllocator(device.type())->getDeviceStats(device.index());
    return static_cast<double>(stats.reserved_bytes[kAll].peak) / (1 << 30);
  }
  struct rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / (1 << 20);  // Linux counts in KiB.
}

}  // namespace

RunReport::RunReport(RunContext& context, Task& task, const LoopOptions& options, const EpochPlan& plan)
    : context_(context), task_(task), options_(options), plan_(plan), clock_([&task] {
        return task.loader() == nullptr ? 0 : task.loader()->wait_seconds();
      }) {}

absl::Status RunReport::Open(const RunPosition& position) {
  const double start = static_cast<double>(position.next_micro_step) / plan_.steps_per_epoch + position.epoch;
  TEC_ASSIGN_OR_RETURN(log_, RunLog::Open(options_.output_dir, options_.log_dir,
                                          {position.epoch, position.updates, static_cast<int64_t>(start * 1000)}));
  return absl::OkStatus();
}

absl::Status RunReport::LogUpdate(const UnreadUpdate& read) {
  if (!log_) return absl::OkStatus();
  const RunPosition& position = read.position;
  const std::vector<std::vector<double>>& losses = read.agreed->losses;
  const UpdateResult& update = read.result;
  const int64_t step = position.next_micro_step - 1;
  JsonFields fields = {
      {"update", position.updates}, {"epoch", position.epoch}, {"micro_step", step}, {"lr", position.lr}};
  // The reference's events have the losses of the last micro-step.
  Scalars scalars = {{"lr", position.lr}};
  const std::vector<std::string>& names = task_.loss_names();
  for (size_t i = 0; i < names.size(); ++i) {
    double mean = 0;
    for (const std::vector<double>& of_step : losses) mean += of_step[i] / losses.size();
    fields.emplace_back(names[i], mean);
    scalars.emplace_back(absl::StrCat(options_.scalar_prefix, names[i]), losses.back()[i]);
  }
  if (update.grad_norm) {
    fields.emplace_back("grad_norm", *update.grad_norm);
    if (!update.skipped) scalars.emplace_back("grad_norm", *update.grad_norm);
  }
  if (update.loss_scale) {
    fields.emplace_back("loss_scale", *update.loss_scale);
    fields.emplace_back("skipped", int64_t{update.skipped});
  }
  Scalars speed = {{"images_per_second", Rate(read.span)},
                   {"data_wait_seconds", read.span.waited},
                   {"memory_gib", PeakMemoryGib(context_.device())}};
  if (task_.loader() != nullptr) speed.emplace_back("bad_images", read.bad_images);
  for (auto& [name, value] : speed) {
    fields.emplace_back(name, value);
    scalars.emplace_back(absl::StrCat("perf/", name), value);
  }
  const double where = static_cast<double>(step) / plan_.steps_per_epoch + position.epoch;
  return log_->LogUpdate(position.updates, fields, static_cast<int64_t>(where * 1000), scalars);
}

absl::Status RunReport::LogEpoch(const RunPosition& finished, const RunClock::Span& span, EpochReport* report) {
  JsonFields& fields = report->fields;
  fields.emplace_back("epoch", finished.epoch);
  for (auto& field : report->more) fields.push_back(std::move(field));
  fields.emplace_back("updates", finished.updates);
  fields.emplace_back("images_per_second", Rate(span));
  fields.emplace_back("seconds", span.seconds);
  fields.emplace_back("data_wait_seconds", span.waited);
  if (task_.loader() != nullptr) fields.emplace_back("bad_images", task_.loader()->bad_count());
  if (task_.loader() != nullptr) {
    const std::string advice =
        AdviceOnWaiting(span.waited, span.seconds, task_.loader()->options().threads, RankCores());
    if (!advice.empty()) TEC_LOG(WARNING) << advice;
  }
  TEC_RETURN_IF_ERROR(log_->LogEpoch(finished.epoch, fields, report->scalars_step, report->scalars));
  if (!std::exchange(rate_shown_, true)) ShowRate(finished.epoch, span);
  return log_->Sync();
}

void RunReport::ShowRate(int64_t epoch, const RunClock::Span& span) {
  // A short epoch says nothing of a rate.
  constexpr double kLeastSeconds = 10, kMeasuredSeconds = 0.5;
  const ImageCost cost = task_.Cost();
  if (cost.flops <= 0 || span.seconds < kLeastSeconds) return;
  const int ranks = context_.group().world_size();
  context_.progress().Print(absl::StrCat(
      "epoch ", epoch, ": ", ranks == 1 ? "" : "a rank ",
      RateText(Rate(span) / ranks, cost.flops, MatrixRate(context_.device(), cost.type, kMeasuredSeconds), cost.type)));
}

absl::Status RunReport::Sync() { return log_->Sync(); }

void RunReport::ShowProgress(const RunPosition& position) {
  if (!context_.progress().WouldShow(position.next_micro_step, plan_.steps_done())) return;
  const RunClock::Span recent = clock_.Recent();
  ProgressState state;
  state.epoch = position.epoch;
  state.epochs = options_.epochs;
  state.step = position.next_micro_step;
  state.steps_per_epoch = plan_.steps_done();
  state.lr = position.lr;
  for (size_t i = 0; i < position.losses.size(); ++i) {
    const Meter& losses = position.losses[i];
    if (losses.count() > 0) state.losses.push_back({task_.loss_names()[i], losses.Median(), losses.Mean()});
  }
  state.step_seconds = clock_.step_seconds();
  state.data_wait_seconds = clock_.step_wait();
  state.images_per_second = Rate(recent);
  const int64_t left = (state.epochs - state.epoch) * state.steps_per_epoch - state.step;
  state.eta_seconds = static_cast<double>(left) * recent.seconds / static_cast<double>(recent.steps);
  context_.progress().Update(state);
}

}  // namespace tec
