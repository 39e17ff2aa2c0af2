// Text from outside (names of files, classes and tensors, paths, messages of libraries), made safe where it leaves the
// program. Every terminal, log, list and format that takes such text takes it through one of these.

#ifndef TEC_BASE_PRINTABLE_H_
#define TEC_BASE_PRINTABLE_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace tec {

// For a terminal or a log: `text` in one line. Bytes that are no UTF-8 become \xNN, as do control characters of one
// byte, an end of line among them; longer characters that steer (U+0080 to U+009F, line separators, changes of
// direction) or cannot be seen become \uNNNN. So nothing in it moves a cursor, changes a colour or the order of
// reading, or makes a line of its own.
std::string Printable(absl::string_view text);

// The same for a message that may have several lines: ends of lines stay.
std::string PrintableLines(absl::string_view text);

// Printable() with every backslash doubled: different texts stay different, and none has a tab or an end of line. For
// lists that are read back.
std::string EscapedField(absl::string_view text);

// For a format that demands UTF-8: bytes that are none become \xNN (Python's "backslashreplace"), all else stays.
std::string ToUtf8(absl::string_view text);

// Takes a character off the front of `text`, which is not empty, sets `*bytes` to it and returns its code point; -1,
// and one byte, where there is no UTF-8: a stray byte, an overlong form, a surrogate, a code point above U+10FFFF.
int32_t TakeCodePoint(absl::string_view* text, absl::string_view* bytes);

}  // namespace tec

#endif  // TEC_BASE_PRINTABLE_H_
