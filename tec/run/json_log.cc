#include "tec/run/json_log.h"

#include <errno.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "tec/base/file.h"
#include "tec/base/status.h"

namespace tec {
namespace {

// The shortest text that reads back as the same number.
std::string FormatDouble(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  for (int digits = 1; digits < 17; ++digits) {
    const std::string text = absl::StrFormat("%.*g", digits, value);
    if (std::strtod(text.c_str(), nullptr) == value) return text;
  }
  return absl::StrFormat("%.17g", value);
}

// The integer after "key": in a line that ToJson wrote.
bool FindInteger(absl::string_view line, absl::string_view key, int64_t* value) {
  const std::string wanted = absl::StrCat("\"", key, "\": ");
  const size_t at = line.find(wanted);
  if (at == absl::string_view::npos) return false;
  const absl::string_view rest = line.substr(at + wanted.size());
  return absl::SimpleAtoi(rest.substr(0, rest.find_first_of(",}")), value);
}

}  // namespace

std::string ToJson(const JsonFields& fields) {
  std::string json = "{";
  for (const auto& [key, value] : fields) {
    if (json.size() > 1) json += ", ";
    absl::StrAppend(&json, "\"", key, "\": ");
    if (const int64_t* integer = std::get_if<int64_t>(&value)) {
      absl::StrAppend(&json, *integer);
    } else {
      absl::StrAppend(&json, FormatDouble(std::get<double>(value)));
    }
  }
  return json + "}";
}

absl::Status AppendLine(const std::string& path, absl::string_view line) {
  std::FILE* file = std::fopen(path.c_str(), "ae");
  if (file == nullptr) return ErrnoToStatus(errno, "cannot open", path);
  const std::string text = absl::StrCat(line, "\n");
  const bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size();
  int error = errno;
  if (std::fclose(file) != 0) {
    error = errno;
  } else if (written) {
    return absl::OkStatus();
  }
  return ErrnoToStatus(error, "cannot write", path);
}

absl::Status TrimLog(const std::string& path, absl::string_view key, int64_t limit) {
  const auto content = ReadFile(path);
  if (absl::IsNotFound(content.status())) return absl::OkStatus();
  TEC_RETURN_IF_ERROR(content.status());
  std::string kept;
  absl::string_view rest = *content;
  while (!rest.empty()) {
    const size_t end = rest.find('\n');
    if (end == absl::string_view::npos) break;
    const absl::string_view line = rest.substr(0, end);
    rest.remove_prefix(end + 1);
    int64_t value;
    if (!FindInteger(line, key, &value) || value < limit) absl::StrAppend(&kept, line, "\n");
  }
  if (kept == *content) return absl::OkStatus();
  return WriteFile(path, kept);
}

}  // namespace tec
