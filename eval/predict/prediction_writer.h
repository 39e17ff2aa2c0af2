// What a classifier says of each image, as a table (CSV, RFC 4180) or as JSON lines; complete or not there.

#ifndef TEC_EVAL_PREDICT_PREDICTION_WRITER_H_
#define TEC_EVAL_PREDICT_PREDICTION_WRITER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "tec/base/file.h"

namespace tec {

class PredictionWriter {
 public:
  // `path` ends in .csv or .jsonl. `top`: classes an image, most probable first, at least 1. InvalidArgument for
  // another ending.
  //
  // CSV: the columns image, class, probability, then with `top` above 1 class_2, probability_2, ..., then error. JSON:
  // an object a line, {"image": ..., "class": ..., "probability": ..., "top": [{"class": ..., "probability": ...},
  // ...]} or
  // {"image": ..., "error": ...}.
  static absl::StatusOr<PredictionWriter> Open(const std::string& path, std::vector<std::string> classes, int64_t top);

  // `logits`: one for each class.
  absl::Status Add(const std::string& image, absl::Span<const float> logits);
  // An image that could not be read.
  absl::Status AddUnreadable(const std::string& image, const std::string& reason);
  // Nothing is at `path` before this.
  absl::Status Close() { return file_->Commit(); }

 private:
  PredictionWriter(std::unique_ptr<AtomicFileWriter> file, std::vector<std::string> classes, int64_t top, bool json)
      : file_(std::move(file)), classes_(std::move(classes)), top_(top), json_(json) {}

  std::unique_ptr<AtomicFileWriter> file_;
  std::vector<std::string> classes_;
  int64_t top_;
  bool json_;
};

}  // namespace tec

#endif  // TEC_EVAL_PREDICT_PREDICTION_WRITER_H_
