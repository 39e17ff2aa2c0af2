// Comma-separated values by RFC 4180.

#ifndef TEC_EVAL_EMBED_CSV_H_
#define TEC_EVAL_EMBED_CSV_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace tec {

// `text` as one field: in quotes where it holds a comma, a quote, a line's end, or a blank at an end. Bytes that are
// not UTF-8 become \xNN (ToUtf8), since readers of CSV refuse a file with them.
std::string CsvField(absl::string_view text);

// Rows of fields. Lines may end in LF or CRLF; an empty last line is none. InvalidArgument for a quote that does not
// end or text behind one.
absl::StatusOr<std::vector<std::vector<std::string>>> ParseCsv(absl::string_view text);

}  // namespace tec

#endif  // TEC_EVAL_EMBED_CSV_H_
