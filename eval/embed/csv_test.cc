#include "eval/embed/csv.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace tec {
namespace {

using Rows = std::vector<std::vector<std::string>>;

TEST(CsvTest, FieldsComeBackAsTheyWere) {
  const std::vector<std::string> fields = {"plain", "a,b", "say \"hi\"", "two\nlines", "", " blank ", "\"", "é"};
  std::string line;
  for (const std::string& field : fields) line += (line.empty() ? "" : ",") + CsvField(field);
  const auto rows = ParseCsv(line + "\n" + line);
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_EQ(*rows, (Rows{fields, fields}));
  EXPECT_EQ(CsvField("plain"), "plain");
  EXPECT_EQ(CsvField("a,b"), "\"a,b\"");
}

TEST(CsvTest, BytesThatAreNoUtf8AreEscaped) { EXPECT_EQ(CsvField("caf\xE9"), "caf\\xe9"); }

TEST(CsvTest, LineEndsAndEmptyFields) {
  const auto rows = ParseCsv("a,,\r\n,\"\"\nlast");
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_EQ(*rows, (Rows{{"a", "", ""}, {"", ""}, {"last"}}));
  EXPECT_EQ(ParseCsv("")->size(), 0);
}

TEST(CsvTest, WhatIsNoCsvIsRefused) {
  EXPECT_EQ(ParseCsv("a\nb,\"open\n").status().message(), "line 3: a quote that does not end");
  EXPECT_EQ(ParseCsv("\"a\"b\n").status().message(), "line 1: text behind a closing quote");
}

}  // namespace
}  // namespace tec
