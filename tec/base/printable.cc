#include "tec/base/printable.h"

#include <algorithm>
#include <cstddef>
#include <iterator>

#include "absl/strings/str_format.h"

namespace tec {
namespace {

// Characters of several bytes that a reader does not see but that change what he sees.
bool Steers(int32_t point) {
  constexpr struct {
    int32_t first, last;
  } kRanges[] = {
      {0x80, 0x9F},        // Control characters.
      {0xA0, 0xA0},        // A blank that is none for who looks for one, as the next ones.
      {0xAD, 0xAD},        // Soft hyphen.
      {0x61C, 0x61C},      // Arabic letter mark.
      {0x180E, 0x180E},    // Mongolian vowel separator.
      {0x2000, 0x200B},    // Blanks of all widths, and of none. (The next ones join letters and belong to words.)
      {0x200E, 0x200F},    // Marks of direction.
      {0x2028, 0x202F},    // Separators of lines and paragraphs; embeddings and overrides of direction; a blank.
      {0x205F, 0x205F},    // A blank.
      {0x2060, 0x206F},    // Word joiner, invisible operators, isolates of direction.
      {0xFEFF, 0xFEFF},    // Byte order mark.
      {0xFFF9, 0xFFFB},    // Interlinear annotation.
      {0xE0000, 0xE007F},  // Tags.
  };
  return std::any_of(std::begin(kRanges), std::end(kRanges),
                     [point](const auto& range) { return point >= range.first && point <= range.last; });
}

void AppendHex(absl::string_view bytes, std::string* out) {
  for (const char c : bytes) absl::StrAppendFormat(out, "\\x%02x", static_cast<uint8_t>(c));
}

std::string Escape(absl::string_view text, bool lines, bool backslashes) {
  std::string out;
  out.reserve(text.size());
  absl::string_view bytes;
  while (!text.empty()) {
    const int32_t point = TakeCodePoint(&text, &bytes);
    if (point == '\n' && lines) {
      out += '\n';
    } else if (point < 0x20 || point == 0x7F) {
      AppendHex(bytes, &out);
    } else if (Steers(point)) {
      absl::StrAppendFormat(&out, point > 0xFFFF ? "\\U%08x" : "\\u%04x", point);
    } else if (point == '\\' && backslashes) {
      out += "\\\\";
    } else {
      out.append(bytes.data(), bytes.size());
    }
  }
  return out;
}

}  // namespace

int32_t TakeCodePoint(absl::string_view* text, absl::string_view* bytes) {
  const auto byte = [text](size_t i) { return static_cast<uint8_t>((*text)[i]); };
  const uint8_t first = byte(0);
  const size_t length = first < 0x80 ? 1 : first >= 0xC2 && first < 0xE0 ? 2 : first < 0xE0 ? 0 : first < 0xF0 ? 3 : 4;
  int32_t point = length == 1 ? first : first & (0x7F >> length);
  bool valid = length > 0 && first < 0xF5 && length <= text->size();
  for (size_t i = 1; valid && i < length; ++i) {
    valid = (byte(i) & 0xC0) == 0x80;
    point = point << 6 | (byte(i) & 0x3F);
  }
  valid = valid && !(length == 3 && (point < 0x800 || (point >= 0xD800 && point < 0xE000))) &&
          !(length == 4 && (point < 0x10000 || point > 0x10FFFF));
  const size_t taken = valid ? length : 1;
  *bytes = text->substr(0, taken);
  text->remove_prefix(taken);
  return valid ? point : -1;
}

std::string Printable(absl::string_view text) { return Escape(text, /*lines=*/false, /*backslashes=*/false); }
std::string PrintableLines(absl::string_view text) { return Escape(text, /*lines=*/true, /*backslashes=*/false); }
std::string EscapedField(absl::string_view text) { return Escape(text, /*lines=*/false, /*backslashes=*/true); }

std::string ToUtf8(absl::string_view text) {
  std::string out;
  out.reserve(text.size());
  absl::string_view bytes;
  while (!text.empty()) {
    if (TakeCodePoint(&text, &bytes) < 0) {
      AppendHex(bytes, &out);
    } else {
      out.append(bytes.data(), bytes.size());
    }
  }
  return out;
}

}  // namespace tec
