// Strict reading of protobuf text files, with messages that a user can act on.

#ifndef TEC_CONFIG_TEXT_H_
#define TEC_CONFIG_TEXT_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/message.h"

namespace tec {

// The candidate with the fewest edits to `word` (case and "-" versus "_" do not count), if that is near enough to be a
// slip: at most 2 edits or a third of the word. Otherwise empty.
std::string Nearest(absl::string_view word, const std::vector<std::string>& candidates);

// "; did you mean \"...\"?" with the nearest, or nothing.
std::string DidYouMean(absl::string_view word, const std::vector<std::string>& candidates);

// Replaces `message` by what `text` says. InvalidArgument, one line "file:line:column: problem" for each problem, for
// an unknown field or enum value (with the nearest known one), a field given twice, a wrong type, a syntax error,
// nesting deeper than 100.
absl::Status ParseText(const std::string& text, const std::string& file, google::protobuf::Message* message);

// The text of a config file of at most 1 MiB; a pipe will do. Errors: NotFound, PermissionDenied, InvalidArgument (a
// folder, a larger file).
absl::StatusOr<std::string> ReadConfigFile(const std::string& path);

// Sets in `base` every field that `over` has; a repeated field is replaced, not appended to.
void MergeOver(const google::protobuf::Message& over, google::protobuf::Message* base);

// Text that ParseText reads back to an equal message, headed by the schema's file and message.
std::string MessageToText(const google::protobuf::Message& message);

}  // namespace tec

#endif  // TEC_CONFIG_TEXT_H_
