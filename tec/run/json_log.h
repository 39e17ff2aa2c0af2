// The files a run leaves for later reading, beside its checkpoints: log.txt, one JSON object an epoch under the
// reference's keys (recipe.md section 11), and metrics.jsonl, one an update. TensorBoard is event_writer.h's.

#ifndef TEC_RUN_JSON_LOG_H_
#define TEC_RUN_JSON_LOG_H_

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace tec {

using JsonFields = std::vector<std::pair<std::string, std::variant<int64_t, double>>>;

// {"a": 1, "b": 0.5} in the given order. A double gets as many digits as it needs to be read back exactly; NaN and the
// infinities are written as Python's json does (NaN, Infinity, -Infinity), since that is what reads the reference's
// log.
std::string ToJson(const JsonFields& fields);

// Appends `line` and an end of line.
absl::Status AppendLine(const std::string& path, absl::string_view line);

// Removes from a file of JSON lines those whose integer field `key` is `limit` or more, and an unfinished last line:
// what a run that was killed after its last checkpoint had already logged and what its successor will log again. A
// missing file is fine; a line without the key is kept.
absl::Status TrimLog(const std::string& path, absl::string_view key, int64_t limit);

}  // namespace tec

#endif  // TEC_RUN_JSON_LOG_H_
