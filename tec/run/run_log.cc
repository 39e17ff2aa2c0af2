#include "tec/run/run_log.h"

#include <errno.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "tec/base/file.h"
#include "tec/base/file_operations.h"
#include "tec/base/status.h"
#include "tec/base/while_away.h"

namespace tec {
namespace {

constexpr char kEpochs[] = "/log.txt";
constexpr char kUpdates[] = "/metrics.jsonl";

absl::Status SyncFile(const std::string& path) {
  const int fd = file_operations::OpenToRead(path);
  if (fd < 0) return errno == ENOENT ? absl::OkStatus() : ErrnoToStatus(errno, "cannot open", path);
  const int synced = file_operations::Sync(fd);
  const int error = errno;
  close(fd);
  return synced == 0 ? absl::OkStatus() : ErrnoToStatus(error, "cannot write to disk", path);
}

absl::Status Append(const std::string& folder, const char* name, const JsonFields& fields) {
  return RetryWhileAway(folder, [&] { return AppendLine(folder + name, ToJson(fields)); });
}

}  // namespace

RunLog::RunLog(std::string output_dir, std::unique_ptr<EventWriter> events)
    : output_dir_(std::move(output_dir)), events_(std::move(events)) {}

absl::StatusOr<RunLog> RunLog::Open(const std::string& output_dir, const std::string& events_dir,
                                    const Position& position) {
  TEC_RETURN_IF_ERROR(TrimLog(output_dir + kEpochs, "epoch", position.epoch));
  TEC_RETURN_IF_ERROR(TrimLog(output_dir + kUpdates, "update", position.updates + 1));
  const std::string& folder = events_dir.empty() ? output_dir : events_dir;
  TEC_ASSIGN_OR_RETURN(const int64_t largest, TrimEvents(folder, position.updates, position.epoch));
  // A viewer that has read the files before they were cut drops what comes after what is left.
  TEC_ASSIGN_OR_RETURN(std::unique_ptr<EventWriter> events,
                       EventWriter::Create(folder, largest < 0 ? position.thousandths : largest + 1));
  return RunLog(output_dir, std::move(events));
}

absl::Status RunLog::LogUpdate(int64_t update, const JsonFields& fields, int64_t thousandths, const Scalars& scalars) {
  TEC_RETURN_IF_ERROR(Append(output_dir_, kUpdates, fields));
  TEC_RETURN_IF_ERROR(events_->AddScalars(thousandths, scalars, {update, -1}));
  return events_->Flush();
}

absl::Status RunLog::LogEpoch(int64_t epoch, const JsonFields& fields, int64_t step, const Scalars& scalars) {
  TEC_RETURN_IF_ERROR(Append(output_dir_, kEpochs, fields));
  if (!scalars.empty()) TEC_RETURN_IF_ERROR(events_->AddScalars(step, scalars, {-1, epoch}));
  return events_->Flush();
}

absl::Status RunLog::Sync() {
  TEC_RETURN_IF_ERROR(SyncFile(output_dir_ + kEpochs));
  TEC_RETURN_IF_ERROR(SyncFile(output_dir_ + kUpdates));
  TEC_RETURN_IF_ERROR(events_->Sync());
  // The names, of files that are new. The checkpoint that follows does this for its own folder only.
  const std::string events_dir = events_->path().substr(0, events_->path().rfind('/'));
  for (const std::string& folder : {output_dir_, events_dir}) {
    if (file_operations::SyncFolder(folder) != 0) return ErrnoToStatus(errno, "cannot write to disk", folder);
  }
  return absl::OkStatus();
}

}  // namespace tec
