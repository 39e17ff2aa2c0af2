#include "tec/base/printable.h"

#include "gtest/gtest.h"

namespace tec {
namespace {

TEST(PrintableTest, ShowsControlCharactersAndLeavesTheRest) {
  EXPECT_EQ(Printable("norm.weight"), "norm.weight");
  EXPECT_EQ(Printable("a\x1b[31mb\nc\td\x7f\\"), "a\\x1b[31mb\\x0ac\\x09d\\x7f\\");
  EXPECT_EQ(Printable(absl::string_view("\0", 1)), "\\x00");
  // U+009B starts a terminal's command as ESC [ does; U+00FC and U+6F22 are letters, U+1F600 is a face.
  EXPECT_EQ(Printable("\xC2\x9B\x32J"), "\\u009b2J");
  EXPECT_EQ(Printable("\xC3\xBC\xE6\xBC\xA2\xF0\x9F\x98\x80"), "\xC3\xBC\xE6\xBC\xA2\xF0\x9F\x98\x80");
  // Blanks that look like another.
  EXPECT_EQ(Printable("a\u00A0\u2003\u202Fb"), "a\\u00a0\\u2003\\u202fb");
  // Right-to-left override: "gpj.exe" would read "exe.jpg".
  EXPECT_EQ(Printable("\xE2\x80\xAEgpj.exe"), "\\u202egpj.exe");
  EXPECT_EQ(Printable("\xE2\x80\xA8\xE2\x81\xA6\xEF\xBB\xBF\xF3\xA0\x81\x81"), "\\u2028\\u2066\\ufeff\\U000e0041");
  // A joiner between letters stays.
  EXPECT_EQ(Printable("\xE2\x80\x8C"), "\xE2\x80\x8C");
}

TEST(PrintableTest, ShowsWhatIsNoUtf8) {
  EXPECT_EQ(Printable("caf\xE9"), "caf\\xe9");                       // Latin-1.
  EXPECT_EQ(Printable("\x80\xC3"), "\\x80\\xc3");                    // Stray, and cut off.
  EXPECT_EQ(Printable("\xC0\xAF"), "\\xc0\\xaf");                    // Overlong /.
  EXPECT_EQ(Printable("\xE0\x9F\xBF"), "\\xe0\\x9f\\xbf");           // Overlong.
  EXPECT_EQ(Printable("\xED\xA0\x80"), "\\xed\\xa0\\x80");           // A surrogate.
  EXPECT_EQ(Printable("\xF4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");  // Above U+10FFFF.
  EXPECT_EQ(Printable("\xF8\xFF"), "\\xf8\\xff");
  EXPECT_EQ(Printable("\xE6\xBC-"), "\\xe6\\xbc-");
}

TEST(PrintableTest, KeepsLinesOfMessages) { EXPECT_EQ(PrintableLines("a\n\x1b[2Jb\r\n"), "a\n\\x1b[2Jb\\x0d\n"); }

TEST(PrintableTest, FieldsStayDifferent) {
  EXPECT_EQ(EscapedField("a\tb\nc"), "a\\x09b\\x0ac");
  EXPECT_EQ(EscapedField("a\\x09b"), "a\\\\x09b");
  EXPECT_NE(EscapedField("\xC2\x85"), EscapedField("\x85"));
}

TEST(PrintableTest, Utf8KeepsAllThatIsUtf8) {
  EXPECT_EQ(ToUtf8("a\n\t\x1b\xC2\x9B\xC3\xBC"), "a\n\t\x1b\xC2\x9B\xC3\xBC");
  EXPECT_EQ(ToUtf8("caf\xE9/caf\xE8"), "caf\\xe9/caf\\xe8");
  EXPECT_EQ(ToUtf8("\xED\xA0\x80"), "\\xed\\xa0\\x80");
}

}  // namespace
}  // namespace tec
