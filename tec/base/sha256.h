// SHA-256 (FIPS 180-4).

#ifndef TEC_BASE_SHA256_H_
#define TEC_BASE_SHA256_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace tec {

// Lower-case hexadecimal.
std::string Sha256(absl::string_view bytes);

// Of a file's content, which is read in pieces. Errors name the path.
absl::StatusOr<std::string> Sha256OfFile(const std::string& path);

}  // namespace tec

#endif  // TEC_BASE_SHA256_H_
