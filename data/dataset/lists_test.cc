// Lists as editors, spreadsheets and scripts write them.

#include "data/dataset/lists.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "tec/base/file.h"

namespace tec {
namespace {

// "path label" of each picture, and the classes if they have names; or the error.
std::string Read(const std::string& text, bool labels = true, const std::string& path = "list",
                 Split split = Split::kTrain) {
  Scan scan(path, {});
  const auto catalogue = CatalogueList(text, path, split, labels, &scan);
  if (!catalogue.ok()) return std::string(catalogue.status().message());
  std::string all;
  for (int64_t i = 0; i < catalogue->size(); ++i) {
    absl::StrAppend(&all, catalogue->name(i), " ", catalogue->label(i), "; ");
  }
  for (size_t i = 0; i < catalogue->classes.size(); ++i) {
    if (catalogue->classes[i] != absl::StrCat(i)) absl::StrAppend(&all, "(", catalogue->classes[i], ")");
  }
  return all;
}

TEST(ListsTest, MarksBlanksAndEndsOfLines) {
  EXPECT_EQ(Read("\xEF\xBB\xBF"
                 "a.jpg 0\nb.jpg 1\n"),
            "a.jpg 0; b.jpg 1; ");
  EXPECT_EQ(Read("a.jpg 0 \nb.jpg 1\t \r\n  \n"), "a.jpg 0; b.jpg 1; ");
  EXPECT_EQ(Read("a b.jpg\t0\r\nc.jpg\t1"), "a b.jpg 0; c.jpg 1; ");
  EXPECT_EQ(Read("a.jpg \nb.jpg\t\n"), "a.jpg -1; b.jpg -1; ");
}

TEST(ListsTest, Quotes) {
  EXPECT_EQ(Read("\"a 1\" 0\n\"b\"\"c.jpg\"\t1\n"), "a 1 0; b\"c.jpg 1; ");
  EXPECT_EQ(Read("\"a, b.jpg\"\n"), "a, b.jpg -1; ");
  EXPECT_EQ(Read("\"a.jpg\n"), "list:1: a quote that does not end");
  EXPECT_EQ(Read("\"a\"b.jpg\n"), "list:1: something other than a blank or tab after the quoted path");
}

TEST(ListsTest, Tables) {
  EXPECT_EQ(Read("path,label\na.jpg,0\n\"b,c.jpg\",1\n"), "a.jpg 0; b,c.jpg 1; ");
  EXPECT_EQ(Read("label;id;filename\n1;7;a.jpg\n0;8;b.jpg\n"), "a.jpg 1; b.jpg 0; ");
  EXPECT_EQ(Read("image_path\tclass\na.jpg\tdog\nb.jpg\tcat\n"), "a.jpg 1; b.jpg 0; (cat)(dog)");
  EXPECT_EQ(Read("filename\na.jpg\nb.jpg\n"), "a.jpg -1; b.jpg -1; ");
  EXPECT_EQ(Read("a.jpg,3\nb.jpg,0\n"), "a.jpg 3; b.jpg 0; ");
  EXPECT_EQ(Read("path,label\na.jpg\n"), "list:2: too few columns");
  // No tables.
  EXPECT_EQ(Read("a,b.jpg\nc.jpg\n"), "a,b.jpg -1; c.jpg -1; ");
  EXPECT_EQ(Read("a.jpg\tdog\n"), "list:1: label \"dog\" is not a whole number from 0");
  EXPECT_EQ(Read("path,label\na.jpg,dog\n", /*labels=*/false), "a.jpg -1; ");
}

TEST(ListsTest, OtherEncodingsAreNamed) {
  const std::string wide("a\0.\0j\0p\0g\0\n\0", 12);
  EXPECT_EQ(Read("\xFF\xFE" + wide), "list is text in UTF-16: save it as UTF-8 (iconv -f UTF-16 -t UTF-8)");
  EXPECT_EQ(Read(wide), "list is text in UTF-16: save it as UTF-8 (iconv -f UTF-16 -t UTF-8)");
  EXPECT_EQ(Read(std::string("\xFF\xFE\0\0a\0\0\0", 8)),
            "list is text in UTF-32: save it as UTF-8 (iconv -f UTF-32 -t UTF-8)");
  // Other bytes may be names.
  EXPECT_EQ(Read("caf\xE9.jpg\n"), "caf\xE9.jpg -1; ");
}

TEST(ListsTest, WhatIsNoPathIsNamed) {
  const std::string folder = testing::TempDir() + "/lists";
  ASSERT_TRUE(MakeDirectories(folder + "/a").ok());
  for (const char* name : {"/a/1.jpg", "/b.jpg", "/b.jpg 2", "/7 c.jpg"}) {
    ASSERT_TRUE(WriteFile(folder + name, "").ok());
  }
  const std::string list = folder + "/list";
  const std::string table =
      ": what may follow is a blank or tab and one whole number from 0, the label; for anything "
      "else, as classes by name, write a table, whose first line is path,label";
  EXPECT_EQ(Read("b.jpg cat\n", true, list), list + ":1: after the picture b.jpg stands \"cat\"" + table);
  EXPECT_EQ(Read("b.jpg -1\n", true, list), list + ":1: after the picture b.jpg stands \"-1\"" + table);
  EXPECT_EQ(Read("b.jpg,cat\n", true, list), list + ":1: after the picture b.jpg stands \",cat\"" + table);
  EXPECT_EQ(Read("b.jpg 0 1\n", true, list), list + ":1: after the picture b.jpg stands \"0 1\"" + table);
  EXPECT_EQ(Read("\"b.jpg 0\"\n", true, list), list + ":1: quotes around a path and its label: write \"b.jpg\" 0");
  EXPECT_EQ(Read("photo,species\nb.jpg,cat\n", true, list), "b.jpg -1; ");
  EXPECT_EQ(Read("what,species\nb.jpg,cat\n", true, list),
            list + ":2: after the picture b.jpg stands \",cat\"" + table +
                "; its first line, \"what,species\", names no column that is known");
  EXPECT_EQ(Read("b.jpg|0\n", true, list), list + ":1: after the picture b.jpg stands \"|0\"" + table);
  EXPECT_EQ(Read("b.jpg,0,\n", true, list), list + ":1: after the picture b.jpg stands \",0,\"" + table);
  EXPECT_EQ(Read("'b.jpg' 0\n", true, list),
            list + ":1: single quotes: write 'b.jpg' without them, or between double ones");
  EXPECT_EQ(Read("0 b.jpg\n", true, list),
            list + ":1: the label stands before the picture b.jpg: a line is a path, then its label");
  EXPECT_EQ(Read("{\"image\": \"b.jpg\"}\n", true, list),
            list + ":1: JSON: write a table, whose first line is path,label");
  EXPECT_THAT(Read("b.jpg\nhttps://example.org/b.jpg\n", true, list),
              testing::StartsWith(list + ":2: https://example.org/b.jpg is an address, and nothing is fetched"));
  EXPECT_EQ(Read("a\\1.jpg 0\nx\\y.jpg 1\n", true, list), "a/1.jpg 0; x/y.jpg 1; ");
  // Files are called so.
  EXPECT_EQ(Read("b.jpg\t0\nb.jpg 2\t1\n7 c.jpg\t2\n", true, list), "b.jpg 0; b.jpg 2 1; 7 c.jpg 2; ");
}

TEST(ListsTest, AsOtherProgramsWriteThem) {
  EXPECT_EQ(Read("a.jpg 0\rb.jpg 1\r"), "a.jpg 0; b.jpg 1; ");
  EXPECT_EQ(Read("path label\na.jpg 0\nb.jpg 1\n"), "a.jpg 0; b.jpg 1; ");
  EXPECT_EQ(Read("path,label\na.jpg,2.0\nb.jpg,0.0\nc.jpg,1\n"), "a.jpg 2; b.jpg 0; c.jpg 1; ");
  // Without the suffixes of its files.
  const std::string folder = testing::TempDir() + "/ids";
  ASSERT_TRUE(MakeDirectories(folder).ok());
  ASSERT_TRUE(WriteFile(folder + "/00a1.jpg", "").ok());
  EXPECT_EQ(Read("id,breed,label\n00a1,x,dog\n00a2,y,cat\n", true, folder + "/list"),
            "00a1.jpg 1; 00a2.jpg 0; (cat)(dog)");
}

TEST(ListsTest, ALabelThatIsNoClassIsRefusedBeforeItTakesMemory) {
  EXPECT_EQ(Read("a.jpg 0\nb.jpg 9999999\n"),
            "list: the label 9999999 among 2 pictures: labels are numbers of classes, from 0, not of pictures");
  EXPECT_EQ(Read("a.jpg 99999\n"), "a.jpg 99999; ");
}

TEST(ListsTest, BlanksOfEveryKind) {
  EXPECT_EQ(Read("a.jpg 0\u00A0\n\u200Bb.jpg 1\u3000 \n\uFEFFc.jpg 1\t\u2009\r\n\u00A0\n"),
            "a.jpg 0; b.jpg 1; c.jpg 1; ");
  EXPECT_EQ(Read("a.jpg 0\r\nb.jpg 1\r\n\x1A"), "a.jpg 0; b.jpg 1; ");
  // But a file may be called so.
  const std::string folder = testing::TempDir() + "/blanks";
  ASSERT_TRUE(MakeDirectories(folder).ok());
  ASSERT_TRUE(WriteFile(folder + "/b\u00A0", "").ok());
  EXPECT_EQ(Read("a\u00A0\nb\u00A0\n", true, folder + "/list"), "a -1; b\u00A0 -1; ");
}

TEST(ListsTest, BlanksOfEveryKindInTables) {
  for (const char* separator : {"\t", ",", ";", "|"}) {
    const auto table = [&](absl::string_view text) { return absl::StrReplaceAll(text, {{"|", separator}}); };
    EXPECT_EQ(Read(table("path|label\u00A0\na.jpg|1\u00A0\nb.jpg|\u2009 1 \u3000\r\n\u00A0\n\u200B# c\nd.jpg|0\n")),
              "a.jpg 1; b.jpg 1; d.jpg 0; ");
    EXPECT_EQ(Read(table("\u200B\"path\"|label\n\u200B\"a.jpg\"\u00A0|1\n\u00A0b.jpg|0\n")), "a.jpg 1; b.jpg 0; ");
    // Which part it is, is not lost by a blank, nor where the line ends before it.
    EXPECT_EQ(Read(table("path|label|split\na.jpg|0|train\u00A0\nb.jpg|1|test\nc.jpg|1|\u2003train\n")),
              "a.jpg 0; c.jpg 1; ");
    EXPECT_EQ(Read(table("path|label|split\na.jpg|0|train\nb.jpg|1|\nc.jpg|1|test\n")), "a.jpg 0; b.jpg 1; c.jpg 1; ");
  }
  // But a file may be called so.
  const std::string folder = testing::TempDir() + "/blanks_in_tables";
  ASSERT_TRUE(MakeDirectories(folder).ok());
  ASSERT_TRUE(WriteFile(folder + "/\u3000b.jpg", "").ok());
  EXPECT_EQ(Read("label,path\n0,\u3000a.jpg\n1,\u3000b.jpg\n", true, folder + "/list"), "a.jpg 0; \u3000b.jpg 1; ");
}

TEST(ListsTest, AColumnSaysWhichPart) {
  const std::string table = "path,label,split\na.jpg,0,train\nb.jpg,1,Test\n\nc.jpg,1,train\nd.jpg,,test\n";
  EXPECT_EQ(Read(table), "a.jpg 0; c.jpg 1; ");
  EXPECT_EQ(Read("path,label,split\na.jpg,0,train\nb.jpg,1,test\nc.jpg,1,valid\n", true, "list", Split::kHeldOut),
            "c.jpg 1; ");
  EXPECT_EQ(Read(table, false, "list", Split::kWhole), "a.jpg -1; b.jpg -1; c.jpg -1; d.jpg -1; ");
  EXPECT_EQ(Read(table, true, "list", Split::kHeldOut),
            "list:6: line 3 has a label and line 6 has none: all lines need one, or none");
  EXPECT_EQ(Read("is_train;image\n1;a.jpg\n0;b.jpg\n"), "a.jpg -1; ");
  EXPECT_EQ(Read("is_train;image\n1;a.jpg\n0;b.jpg\n", true, "list", Split::kHeldOut), "b.jpg -1; ");
  // A class of VOC and COCO.
  EXPECT_EQ(Read("filename,sheep,train,tvmonitor\na.jpg,0,1,0\nb.jpg,1,0,0\n"), "a.jpg -1; b.jpg -1; ");
  EXPECT_EQ(Read("image|data set\na.jpg|training\nb.jpg|Validation\n"), "a.jpg -1; ");
  // One part alone is what the list is for; what says something else says nothing of parts.
  EXPECT_EQ(Read("path,split\na.jpg,test\nb.jpg,test\n"), "a.jpg -1; b.jpg -1; ");
  EXPECT_EQ(Read("path,set\na.jpg,train\nb.jpg,II\n"), "a.jpg -1; b.jpg -1; ");
  EXPECT_EQ(Read("a.jpg 0\nb.jpg 1\n", true, "list", Split::kHeldOut),
            "no held-out pictures in list: no column, such as split, that says train of some pictures and val or test "
            "of others; or give a folder with val/ or test/, or files called so (val.txt)");
}

TEST(ListsTest, ColumnsThatAreNotObeyedAreSaid) {
  testing::internal::CaptureStderr();
  EXPECT_EQ(Read("path,fold\na.jpg,0\nb.jpg,1\n"), "a.jpg -1; b.jpg -1; ");
  EXPECT_EQ(Read("path,set\na.jpg,train\nb.jpg,II\n"), "a.jpg -1; b.jpg -1; ");
  EXPECT_EQ(Read("path,label\na.jpg,1\nb.jpg,2\n"), "a.jpg 1; b.jpg 2; ");
  const std::string said = testing::internal::GetCapturedStderr();
  for (const char* what : {"whatever stands in its column fold;", "whatever stands in its column set;",
                           "list: no picture has the label 0, from which labels count"}) {
    EXPECT_NE(said.find(what), std::string::npos) << what << " in " << said;
  }
}

TEST(ListsTest, WhatIsSaidOfColumnsIsTrue) {
  const std::string table = "path,split,fold\na.jpg,train,0\nb.jpg,test,1\n";
  const auto said = [](const std::string& text, Split split) {
    testing::internal::CaptureStderr();
    Read(text, true, "list", split);
    return testing::internal::GetCapturedStderr();
  };
  const std::string tip = "; a column split may say train, val or test of each",
                    all = "list: the pictures of all its lines";
  const std::string train = said(table, Split::kTrain);
  EXPECT_THAT(train,
              testing::HasSubstr("list: the pictures whose column split says train are taken, whatever stands in "
                                 "its column fold\n"));
  EXPECT_THAT(train, testing::Not(testing::HasSubstr(all)));
  EXPECT_THAT(said(table, Split::kWhole),
              testing::HasSubstr(all + " are taken, whatever stands in its column fold, split\n"));
  EXPECT_THAT(said("path,train\na.jpg,0\nb.jpg,1\n", Split::kTrain),
              testing::HasSubstr(all + " are taken, whatever stands in its column train" + tip));
}

TEST(ListsTest, LinesThatDoNotFitTheColumns) {
  EXPECT_EQ(Read("path,label\na,b.jpg,1\n"),
            "list:2: more columns than the first line's 2: a name with a \",\" in it needs quotes around it");
  EXPECT_EQ(Read("path,label\na.jpg,1,,\nb.jpg,0\n"), "a.jpg 1; b.jpg 0; ");
  EXPECT_EQ(Read("path\tlabel\tnote\na.jpg\t1\t\nb.jpg\t0\tgood\n"), "a.jpg 1; b.jpg 0; ");
  EXPECT_EQ(Read("path,label\na.jpg,-1\n"), "list:2: label -1 is negative: labels are whole numbers from 0, or names");
}

TEST(ListsTest, LitterIsLeftOut) { EXPECT_EQ(Read("a/b.jpg\na/._b.jpg\na/Thumbs.db\n"), "a/b.jpg -1; "); }

}  // namespace
}  // namespace tec
