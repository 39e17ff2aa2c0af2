#include "tec/run/run_log.h"

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tec/base/status.h"

namespace tec {
namespace {

constexpr char kEpochs[] = "/log.txt";
constexpr char kUpdates[] = "/metrics.jsonl";
// Between two writes of the events, which a viewer waits for.
constexpr double kFlushSeconds = 10;

double Now() { return absl::GetCurrentTimeNanos() * 1e-9; }

}  // namespace

RunLog::RunLog(std::string output_dir, std::unique_ptr<EventWriter> events)
    : output_dir_(std::move(output_dir)), events_(std::move(events)), flushed_(Now()) {}

absl::StatusOr<RunLog> RunLog::Open(const std::string& output_dir, const std::string& events_dir,
                                    const Position& position) {
  if (position.resumed) {
    TEC_RETURN_IF_ERROR(TrimLog(output_dir + kEpochs, "epoch", position.epoch));
    TEC_RETURN_IF_ERROR(TrimLog(output_dir + kUpdates, "update", position.updates + 1));
  }
  TEC_ASSIGN_OR_RETURN(std::unique_ptr<EventWriter> events,
                       EventWriter::Create(events_dir.empty() ? output_dir : events_dir, position.thousandths));
  return RunLog(output_dir, std::move(events));
}

absl::Status RunLog::LogUpdate(const JsonFields& fields, int64_t thousandths, const Scalars& scalars) {
  TEC_RETURN_IF_ERROR(AppendLine(output_dir_ + kUpdates, ToJson(fields)));
  TEC_RETURN_IF_ERROR(events_->AddScalars(thousandths, scalars));
  if (Now() - flushed_ < kFlushSeconds) return absl::OkStatus();
  flushed_ = Now();
  return events_->Flush();
}

absl::Status RunLog::LogEpoch(const JsonFields& fields, int64_t step, const Scalars& scalars) {
  TEC_RETURN_IF_ERROR(AppendLine(output_dir_ + kEpochs, ToJson(fields)));
  if (!scalars.empty()) TEC_RETURN_IF_ERROR(events_->AddScalars(step, scalars));
  return events_->Flush();
}

}  // namespace tec
