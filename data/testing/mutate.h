// Damage for tests of parsers: a function of the bytes and a number.

#ifndef TEC_DATA_TESTING_MUTATE_H_
#define TEC_DATA_TESTING_MUTATE_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace tec {
namespace testing {

// One to four changes: a bit turned, a byte or a number of 2 or 4 bytes set to an extreme, bytes cut off at the end,
// cut out, doubled, or moved. Half of them hit the first 128 bytes, where headers are.
std::string Mutate(absl::string_view bytes, uint64_t number);

}  // namespace testing
}  // namespace tec

#endif  // TEC_DATA_TESTING_MUTATE_H_
