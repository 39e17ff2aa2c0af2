#include "tec/run/event_writer.h"

#include <errno.h>
#include <unistd.h>

#include <algorithm>
#include <optional>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "tec/base/file.h"
#include "tec/base/file_operations.h"
#include "tec/base/status.h"
#include "tec/run/event.pb.h"
#include "tec/run/event_file.h"

namespace tec {
namespace {

double WallTime() { return absl::ToDoubleSeconds(absl::Now() - absl::UnixEpoch()); }

constexpr size_t kTimeDigits = 10;

// The time for a new file's name, seconds since 1970: TensorBoard reads files in the order of their names, so it is
// after those that are there, though the clock may have been set back since.
int64_t TimeOfNewFile(const std::string& directory) {
  int64_t time = absl::ToUnixSeconds(absl::Now());
  for (const std::string& path : EventFiles(directory)) {
    const std::string name = path.substr(path.rfind('/') + 1);
    int64_t of_file;
    if (absl::SimpleAtoi(name.substr(kEventFilePrefix.size(), kTimeDigits), &of_file)) {
      time = std::max(time, of_file + 1);
    }
  }
  return time;
}

}  // namespace

absl::StatusOr<std::unique_ptr<EventWriter>> EventWriter::Create(const std::string& directory, int64_t first_step) {
  TEC_RETURN_IF_ERROR(MakeDirectories(directory));
  char host[256] = "localhost";
  gethostname(host, sizeof(host) - 1);
  const std::string path =
      absl::StrFormat("%s/%s%010d.%s.%d", directory, kEventFilePrefix, TimeOfNewFile(directory), host, getpid());
  std::FILE* file = std::fopen(path.c_str(), "abe");
  if (file == nullptr) return ErrnoToStatus(errno, "cannot create", path);
  std::unique_ptr<EventWriter> writer(new EventWriter(path, file));
  run::Event event;
  event.set_wall_time(WallTime());
  event.set_file_version("brain.Event:2");
  TEC_RETURN_IF_ERROR(writer->WriteRecord(event.SerializeAsString()));
  event.set_step(first_step);
  event.mutable_session_log()->set_status(run::SessionLog::START);
  TEC_RETURN_IF_ERROR(writer->WriteRecord(event.SerializeAsString()));
  TEC_RETURN_IF_ERROR(writer->Flush());
  return writer;
}

absl::StatusOr<int64_t> TrimEvents(const std::string& directory, int64_t updates, int64_t epoch) {
  int64_t largest = -1;
  for (const std::string& path : EventFiles(directory)) {
    TEC_ASSIGN_OR_RETURN(const std::string content, ReadFile(path));
    std::string kept;
    bool ours = false;
    absl::string_view rest = content;
    while (const std::optional<EventRecord> taken = TakeRecord(&rest)) {
      run::Event event;
      if (!event.ParseFromArray(taken->record.data(), static_cast<int>(taken->record.size()))) break;
      ours = ours || event.has_of_update() || event.has_of_epoch();
      if (event.of_update() > updates || (event.has_of_epoch() && event.of_epoch() >= epoch)) continue;
      absl::StrAppend(&kept, taken->framed);
      if (event.has_summary()) largest = std::max(largest, event.step());
    }
    if (ours && kept != content) TEC_RETURN_IF_ERROR(WriteFile(path, kept));
  }
  return largest;
}

EventWriter::~EventWriter() { std::fclose(file_); }

absl::Status EventWriter::AddScalars(int64_t step, const std::vector<std::pair<std::string, double>>& scalars,
                                     const EventSource& source) {
  run::Event event;
  event.set_wall_time(WallTime());
  event.set_step(step);
  if (source.update >= 0) event.set_of_update(source.update);
  if (source.epoch >= 0) event.set_of_epoch(source.epoch);
  for (const auto& [tag, scalar] : scalars) {
    auto* value = event.mutable_summary()->add_value();
    value->set_tag(tag);
    value->set_simple_value(static_cast<float>(scalar));
  }
  return WriteRecord(event.SerializeAsString());
}

absl::Status EventWriter::Flush() {
  if (std::fflush(file_) != 0) return ErrnoToStatus(errno, "cannot write", path_);
  return absl::OkStatus();
}

absl::Status EventWriter::Sync() {
  TEC_RETURN_IF_ERROR(Flush());
  if (file_operations::Sync(fileno(file_)) != 0) return ErrnoToStatus(errno, "cannot write to disk", path_);
  return absl::OkStatus();
}

absl::Status EventWriter::WriteRecord(const std::string& record) {
  const std::string framed = FramedRecord(record);
  if (std::fwrite(framed.data(), 1, framed.size(), file_) != framed.size()) {
    return ErrnoToStatus(errno, "cannot write", path_);
  }
  return absl::OkStatus();
}

}  // namespace tec
