#include "eval/embed/csv.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tec/base/printable.h"

namespace tec {

std::string CsvField(absl::string_view text) {
  const std::string readable = ToUtf8(text);
  const bool blank_end = !readable.empty() && (readable.front() == ' ' || readable.back() == ' ');
  if (!blank_end && readable.find_first_of(",\"\r\n") == std::string::npos) return readable;
  return absl::StrCat("\"", absl::StrReplaceAll(readable, {{"\"", "\"\""}}), "\"");
}

absl::StatusOr<std::vector<std::vector<std::string>>> ParseCsv(absl::string_view text) {
  std::vector<std::vector<std::string>> rows;
  std::vector<std::string> row;
  std::string field;
  bool quoted = false, closed = false;  // Within quotes; behind their end.
  int64_t line = 1;
  const auto end_field = [&] {
    row.push_back(std::move(field));
    field.clear();
    closed = false;
  };
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\n') ++line;
    if (quoted) {
      if (c != '"') {
        field += c;
      } else if (i + 1 < text.size() && text[i + 1] == '"') {
        field += text[++i];
      } else {
        quoted = false;
        closed = true;
      }
    } else if (c == ',') {
      end_field();
    } else if (c == '\n' || (c == '\r' && i + 1 < text.size() && text[i + 1] == '\n')) {
      if (c == '\r') {
        ++i;
        ++line;
      }
      end_field();
      rows.push_back(std::exchange(row, {}));
    } else if (closed) {
      return absl::InvalidArgumentError(absl::StrCat("line ", line, ": text behind a closing quote"));
    } else if (c == '"' && field.empty()) {
      quoted = true;
    } else {
      field += c;
    }
  }
  if (quoted) return absl::InvalidArgumentError(absl::StrCat("line ", line, ": a quote that does not end"));
  if (!field.empty() || closed || !row.empty()) {
    end_field();
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace tec
