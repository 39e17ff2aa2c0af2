#include "tec/checkpoint/small_json.h"

#include <algorithm>
#include <memory>

#include "absl/strings/str_cat.h"
#include "tec/base/status.h"
#include "tec/checkpoint/mapped_file.h"

namespace tec {
namespace {

constexpr int kMaxDepth = 8;

// The deepest nesting of brackets that are not in texts. (The library's own callback would tell too, but looks through
// all of an object's elements for each of them.)
int DepthOf(absl::string_view text) {
  int depth = 0, deepest = 0;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') ++i;
      if (c == '"') quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '[' || c == '{') {
      deepest = std::max(deepest, ++depth);
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return deepest;
}

}  // namespace

absl::StatusOr<nlohmann::json> ParseSmallJson(absl::string_view text) {
  if (text.size() > kMaxSmallJson) {
    return absl::InvalidArgumentError(absl::StrCat(text.size(), " bytes, more than 1 MiB of JSON"));
  }
  if (DepthOf(text) > kMaxDepth) {
    return absl::InvalidArgumentError(absl::StrCat("JSON nested deeper than ", kMaxDepth));
  }
  try {
    return nlohmann::json::parse(text.begin(), text.end());
  } catch (const nlohmann::json::parse_error& error) {
    return absl::InvalidArgumentError(absl::StrCat("no JSON, from byte ", error.byte, " on"));
  } catch (const nlohmann::json::exception&) {
    return absl::InvalidArgumentError("no JSON: a number is out of range");
  }
}

absl::StatusOr<nlohmann::json> ReadSmallJson(const std::string& path) {
  TEC_ASSIGN_OR_RETURN(const std::shared_ptr<const MappedFile> file, MappedFile::Open(path));
  absl::StatusOr<nlohmann::json> json = ParseSmallJson(file->bytes());
  if (!json.ok()) return Annotate(json.status(), path);
  return json;
}

}  // namespace tec
