#include "tec/base/printable.h"

#include "gtest/gtest.h"

namespace tec {
namespace {

TEST(PrintableTest, ShowsControlCharactersAndLeavesTheRest) {
  EXPECT_EQ(Printable("norm.weight"), "norm.weight");
  EXPECT_EQ(Printable("a\x1b[31mb\nc\td\x7f"), "a\\x1b[31mb\\x0ac\\x09d\\x7f");
  EXPECT_EQ(Printable(absl::string_view("\0", 1)), "\\x00");
  // U+009B starts a terminal's command as ESC [ does; U+00FC and U+6F22 are letters.
  EXPECT_EQ(Printable("\xC2\x9B\x32J"), "\\x9b2J");
  EXPECT_EQ(Printable("\xC3\xBC\xE6\xBC\xA2"), "\xC3\xBC\xE6\xBC\xA2");
}

}  // namespace
}  // namespace tec
