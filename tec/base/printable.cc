#include "tec/base/printable.h"

#include "absl/strings/str_format.h"

namespace tec {

std::string Printable(absl::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const unsigned char c = text[i], next = i + 1 < text.size() ? text[i + 1] : 0;
    if (c < 0x20 || c == 0x7f) {
      absl::StrAppendFormat(&out, "\\x%02x", c);
    } else if (c == 0xC2 && next >= 0x80 && next < 0xA0) {
      // U+0080 to U+009F, which are control characters too.
      absl::StrAppendFormat(&out, "\\x%02x", next);
      ++i;
    } else {
      out += text[i];
    }
  }
  return out;
}

}  // namespace tec
