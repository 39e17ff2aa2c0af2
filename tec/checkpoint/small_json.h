// The JSON files that stand beside weights (config.json, the index of sharded weights): small and shallow, so they are
// taken whole; what is not is refused before it can fill memory or the stack.

#ifndef TEC_CHECKPOINT_SMALL_JSON_H_
#define TEC_CHECKPOINT_SMALL_JSON_H_

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace tec {

// A tree takes up to 40 times its text.
inline constexpr size_t kMaxSmallJson = size_t{1} << 20;

// InvalidArgument: more than 1 MiB, no JSON (with the byte), or nested deeper than 8.
absl::StatusOr<nlohmann::json> ParseSmallJson(absl::string_view text);
// The same of a file. NotFound, PermissionDenied: the path.
absl::StatusOr<nlohmann::json> ReadSmallJson(const std::string& path);

}  // namespace tec

#endif  // TEC_CHECKPOINT_SMALL_JSON_H_
