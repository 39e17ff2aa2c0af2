// TensorBoard event files: scalars only, no TensorFlow. Format: a TFRecord file (event_file.h) of Event messages
// (event.proto).

#ifndef TEC_RUN_EVENT_WRITER_H_
#define TEC_RUN_EVENT_WRITER_H_

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace tec {

// What scalars tell of: an update, counted from 1, or an epoch, counted from 0; TrimEvents asks. -1: of none.
struct EventSource {
  int64_t update = -1, epoch = -1;
};

// Removes from the event files of a folder what was written of updates after `updates` and of the epoch `epoch` and
// later ones, and an unfinished last record, as TrimLog does with its files. Files in which nothing is of an update or
// an epoch stay as they are. Returns the largest step that is left, -1 if there is none.
absl::StatusOr<int64_t> TrimEvents(const std::string& directory, int64_t updates, int64_t epoch);

class EventWriter {
 public:
  // Makes the folder and in it a new file events.out.tfevents.<time>.<host>.<pid>. TensorBoard then drops what files
  // of an earlier, interrupted run in the same folder say of `first_step` and later.
  static absl::StatusOr<std::unique_ptr<EventWriter>> Create(const std::string& directory, int64_t first_step);
  ~EventWriter();
  EventWriter(const EventWriter&) = delete;
  EventWriter& operator=(const EventWriter&) = delete;

  absl::Status AddScalars(int64_t step, const std::vector<std::pair<std::string, double>>& scalars,
                          const EventSource& source = {});
  absl::Status Flush();
  // Flushes, and waits for the disk.
  absl::Status Sync();
  const std::string& path() const { return path_; }

 private:
  EventWriter(std::string path, std::FILE* file) : path_(std::move(path)), file_(file) {}
  absl::Status WriteRecord(const std::string& record);

  std::string path_;
  std::FILE* file_;
};

}  // namespace tec

#endif  // TEC_RUN_EVENT_WRITER_H_
