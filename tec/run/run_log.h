// What a run leaves for later reading beside its checkpoints, in one place: log.txt, one JSON object an epoch;
// metrics.jsonl, one an update; TensorBoard's events. Of several ranks the first one writes.

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
    bool resumed = false;  // From a checkpoint. What the logs say of later was logged by a run that was killed after
                           // it, and is taken away: it will be logged again.
    int64_t epoch = 0, updates = 0;
    int64_t thousandths = 0;  // Of an epoch, since epoch 0: TensorBoard's axis.
  };
  // events_dir: empty for output_dir. Errors are of files.
  static absl::StatusOr<RunLog> Open(const std::string& output_dir, const std::string& events_dir,
                                     const Position& position);

  // One line of metrics.jsonl, and scalars at `thousandths` of an epoch, the reference's axis: comparable between
  // batch sizes.
  absl::Status LogUpdate(const JsonFields& fields, int64_t thousandths, const Scalars& scalars);
  // One line of log.txt, and scalars at `step`; all of it is on the disk afterwards.
  absl::Status LogEpoch(const JsonFields& fields, int64_t step, const Scalars& scalars);

 private:
  RunLog(std::string output_dir, std::unique_ptr<EventWriter> events);

  std::string output_dir_;
  std::unique_ptr<EventWriter> events_;
  double flushed_ = 0;
};

}  // namespace tec

#endif  // TEC_RUN_RUN_LOG_H_
