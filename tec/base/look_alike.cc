#include "tec/base/look_alike.h"

#include <cstdint>
#include <unordered_map>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "tec/base/printable.h"

namespace tec {
namespace {

// A mark that stands after its letter.
bool IsMark(int32_t c) {
  return (c >= 0x300 && c < 0x370) || (c >= 0x1AB0 && c < 0x1B00) || (c >= 0x1DC0 && c < 0x1E00) || c == 0x3099 ||
         c == 0x309A;
}

// The second and third part of a Korean syllable.
bool IsKoreanRest(int32_t c) { return c >= 0x1160 && c < 0x1200; }

// `text` with every letter above ASCII, and every letter with marks, as "*": equal for texts that may look alike.
std::string Outline(absl::string_view text) {
  std::string outline;
  absl::string_view bytes;
  while (!text.empty()) {
    const int32_t point = TakeCodePoint(&text, &bytes);
    if ((IsMark(point) || IsKoreanRest(point)) && !outline.empty()) {
      outline.back() = '*';
    } else if (point >= 0x80) {
      outline += '*';
    } else {
      outline.append(bytes.data(), bytes.size());
    }
  }
  return outline;
}

bool HasMarks(absl::string_view text) {
  absl::string_view bytes;
  while (!text.empty()) {
    const int32_t point = TakeCodePoint(&text, &bytes);
    if (IsMark(point) || IsKoreanRest(point)) return true;
  }
  return false;
}

}  // namespace

bool LookAlike(absl::string_view a, absl::string_view b) {
  return a != b && HasMarks(a) != HasMarks(b) && Outline(a) == Outline(b);
}

std::string FindLookAlikes(const std::vector<std::string>& some, const std::vector<std::string>& others) {
  std::unordered_map<std::string, const std::string*> decomposed, composed;
  for (const std::string& name : others) {
    // Plain names are most, and look like themselves alone.
    const std::string outline = Outline(name);
    if (outline != name) (HasMarks(name) ? decomposed : composed).emplace(outline, &name);
  }
  for (const std::string& name : some) {
    const std::string outline = Outline(name);
    if (outline == name) continue;
    const auto& candidates = HasMarks(name) ? composed : decomposed;
    const auto found = candidates.find(outline);
    if (found == candidates.end()) continue;
    return absl::StrCat(
        Printable(name), " (", absl::CHexEscape(name), ") and ", Printable(*found->second), " (",
        absl::CHexEscape(*found->second),
        "), one with its marks in the letters (Unicode's NFC), the other with marks after them (NFD, as "
        "macOS writes names); convmv --nfc makes them equal");
  }
  return "";
}

}  // namespace tec
