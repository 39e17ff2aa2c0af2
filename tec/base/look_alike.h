// Names that look alike and differ: the same letters composed and decomposed, as Unicode's normal forms NFC and NFD
// have them. macOS writes names in the latter, everybody else in the former.

#ifndef TEC_BASE_LOOK_ALIKE_H_
#define TEC_BASE_LOOK_ALIKE_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace tec {

// Whether two different texts may be one in different normal forms: equal but for letters with marks, which stand as
// one character in either, and as a letter with marks after it, or as the parts of a Korean syllable, in the other.
// There is no table of letters behind it, so that it may take different letters for one; it is for messages.
bool LookAlike(absl::string_view a, absl::string_view b);

// The first pair of one name each that look alike, for a message, with their bytes where they differ; empty if there is
// none. Takes time linear in the number of names.
std::string FindLookAlikes(const std::vector<std::string>& some, const std::vector<std::string>& others);

}  // namespace tec

#endif  // TEC_BASE_LOOK_ALIKE_H_
