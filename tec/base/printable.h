// Text out of a file, for a terminal or a log.

#ifndef TEC_BASE_PRINTABLE_H_
#define TEC_BASE_PRINTABLE_H_

#include <string>

#include "absl/strings/string_view.h"

namespace tec {

// `text` (UTF-8) with every control character, a line's end too, as \xNN: nothing in it moves a cursor, changes a
// colour or makes a line of its own.
std::string Printable(absl::string_view text);

}  // namespace tec

#endif  // TEC_BASE_PRINTABLE_H_
