// SHA-256 (FIPS 180-4).

#ifndef TEC_BASE_SHA256_H_
#define TEC_BASE_SHA256_H_

#include <string>

#include "absl/strings/string_view.h"

namespace tec {

// Lower-case hexadecimal.
std::string Sha256(absl::string_view bytes);

}  // namespace tec

#endif  // TEC_BASE_SHA256_H_
