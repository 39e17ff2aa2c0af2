// What a run leaves for later reading beside its checkpoints, in one place: log.txt, one JSON object an epoch;
// metrics.jsonl, one an update; TensorBoard's events. Of several ranks the first one writes.
//
// One rule for all three: what a run that goes on finds there is what its checkpoint says has been done, whatever was
// killed when. So each is complete up to a checkpoint before that is written, and is cut back to it at the start.

#ifndef TEC_RUN_RUN_LOG_H_
#define TEC_RUN_RUN_LOG_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tec/run/event_writer.h"
#include "tec/run/json_log.h"

namespace tec {

using Scalars = std::vector<std::pair<std::string, double>>;

class RunLog {
 public:
  struct Position {
    // Of the checkpoint that the run goes on from, or of its start. What the logs say of later was logged by a run that
    // was killed, before its first checkpoint or after its last one, and is taken away: it will be logged again.
    int64_t epoch = 0, updates = 0;
    int64_t thousandths = 0;  // Of an epoch, since epoch 0: TensorBoard's axis.
  };
  // events_dir: empty for output_dir. Errors are of files.
  static absl::StatusOr<RunLog> Open(const std::string& output_dir, const std::string& events_dir,
                                     const Position& position);

  // One line of metrics.jsonl, and scalars at `thousandths` of an epoch, the reference's axis: comparable between
  // batch sizes.
  // The system has it afterwards: nothing is lost if the process is killed.
  absl::Status LogUpdate(int64_t update, const JsonFields& fields, int64_t thousandths, const Scalars& scalars);
  // One line of log.txt, and scalars at `step`.
  absl::Status LogEpoch(int64_t epoch, const JsonFields& fields, int64_t step, const Scalars& scalars);
  // Waits for the disk. Before each checkpoint: what it says has been logged is there after a power failure, too.
  absl::Status Sync();

 private:
  RunLog(std::string output_dir, std::unique_ptr<EventWriter> events);

  std::string output_dir_;
  std::unique_ptr<EventWriter> events_;
};

}  // namespace tec

#endif  // TEC_RUN_RUN_LOG_H_
