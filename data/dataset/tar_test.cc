#include "data/dataset/tar.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "data/testing/make_tar.h"

namespace tec {
namespace {

using ::tec::testing::TarMaker;
using Members = std::vector<std::pair<std::string, std::string>>;

// Names and contents up to the end or the first defect.
Members Read(const std::string& archive, absl::Status* defect) {
  const auto read_at = [&](uint64_t offset, size_t count, char* out) {
    EXPECT_LE(offset + count, archive.size());
    archive.copy(out, count, offset);
    return absl::OkStatus();
  };
  TarReader reader(read_at, archive.size());
  Members members;
  TarMember member;
  *defect = absl::OkStatus();
  while (true) {
    const auto more = reader.Next(&member);
    if (!more.ok()) *defect = more.status();
    if (!more.ok() || !*more) return members;
    members.emplace_back(member.name, archive.substr(member.begin, member.size));
  }
}

TEST(TarReaderTest, EveryKindOfHeader) {
  const std::string long_name = std::string(150, 'n') + "/picture.jpg";
  TarMaker tar;
  tar.Add('5', "folder/", "").AddFile("./folder/a.jpg", "plain").Add('g', "", TarMaker::Pax("comment", "nothing"));
  tar.Add('L', "././@LongLink", long_name + '\0').AddFile("cut short", "gnu");
  tar.Add('x', "pax", TarMaker::Pax("mtime", "1.5") + TarMaker::Pax("path", "p/\xC3\xA4.png")).AddFile("p", "pax");
  tar.Add('x', "pax", TarMaker::Pax("size", "4")).Add('0', "sized", "1234", "00000000000");
  tar.Add('\0', "old", "").Add('0', "eight", std::string(600, '8'), std::string("\x80\0\0\0\0\0\0\0\0\0\x02\x58", 12));
  absl::Status defect;
  const Members expected = {{"folder/a.jpg", "plain"}, {long_name, "gnu"}, {"p/\xC3\xA4.png", "pax"},
                            {"sized", "1234"},         {"old", ""},        {"eight", std::string(600, '8')}};
  EXPECT_EQ(Read(tar.Finish(), &defect), expected);
  EXPECT_TRUE(defect.ok()) << defect;
  EXPECT_EQ(Read(tar.unfinished(), &defect), expected);
  EXPECT_TRUE(defect.ok()) << defect;
}

TEST(TarReaderTest, DefectsAfterGoodMembers) {
  struct Case {
    const char* what;
    std::string rest;
    absl::StatusCode code;
  };
  std::string bad_checksum = TarMaker().AddFile("b", "x").Finish();
  bad_checksum[0] = 'c';
  const absl::StatusCode loss = absl::StatusCode::kDataLoss;
  const Case cases[] = {
      {"checksum", bad_checksum, loss},
      {"truncated content", TarMaker().AddFile("b", std::string(2000, 'x')).unfinished().substr(0, 1500), loss},
      {"truncated header", TarMaker().AddFile("b", "").unfinished().substr(0, 300), loss},
      {"8 GiB - 1", TarMaker().Add('0', "b", "x", "77777777777").Finish(), loss},
      {"no number", TarMaker().Add('0', "b", "x", "0000000x00").Finish(), loss},
      {"negative", TarMaker().Add('0', "b", "x", std::string(12, '\xFF')).Finish(), loss},
      {"base-256 overflow", TarMaker().Add('0', "b", "x", "\x80" + std::string(11, '\xFF')).Finish(), loss},
      {"long name beyond the end", TarMaker().Add('L', "l", "x", "00000777777").Finish(), loss},
      {"broken PAX", TarMaker().Add('x', "x", "99 path=a\n").AddFile("b", "x").Finish(), loss},
      {"negative PAX size", TarMaker().Add('x', "x", TarMaker::Pax("size", "-1")).AddFile("b", "x").Finish(), loss},
      {"garbage at the end", TarMaker().Finish() + "garbage", loss},
      {"name without a file", TarMaker().Add('L', "l", "name").unfinished(), loss},
  };
  const std::string good = TarMaker().AddFile("a", "good").unfinished();
  for (const Case& c : cases) {
    absl::Status defect;
    EXPECT_EQ(Read(good + c.rest, &defect), (Members{{"a", "good"}})) << c.what;
    EXPECT_EQ(defect.code(), c.code) << c.what << ": " << defect;
  }
}

TEST(TarReaderTest, WhatIsNoFileIsPassedOverAndCounted) {
  std::string sparse = TarMaker().Add('S', "sparse", std::string(700, 's')).unfinished();
  sparse[482] = 1;  // Its map goes on in one more block.
  sparse.insert(512, std::string(512, '\0'));
  TarMaker::MendChecksums(&sparse);
  TarMaker tar;
  tar.Add('V', "volume", "").AddFile("a", "a").Add('D', "folder/", std::string(600, 'd')).Add('3', "null", "");
  tar.Add('6', "pipe", "").Add('M', "rest", "rest").Add('A', "vendor's", "x");
  tar.Add('x', "x", TarMaker::Pax("GNU.sparse.major", "1")).AddFile("map", "1");
  tar.Add('x', "x", TarMaker::Pax("size", "3")).Add('5', "folder/", "").AddFile("b", "bb").AddFile("..", "x");
  const std::string archive = tar.unfinished() + sparse + TarMaker().AddFile("c", "c").Finish();
  TarReader reader(
      [&](uint64_t offset, size_t count, char* out) {
        archive.copy(out, count, offset);
        return absl::OkStatus();
      },
      archive.size());
  TarMember member;
  std::string names;
  for (auto more = reader.Next(&member); more.ok() && *more; more = reader.Next(&member)) {
    names += member.name + "=" + archive.substr(member.begin, member.size) + " ";
  }
  EXPECT_EQ(names, "a=a b=bb c=c ");
  EXPECT_EQ(reader.passed_over(), (std::map<std::string, int64_t>{{"FIFOs", 1},
                                                                  {"continued files of another volume", 1},
                                                                  {"devices", 1},
                                                                  {"lists of a dumped folder", 1},
                                                                  {"members of unknown kinds", 1},
                                                                  {"members without a name", 1},
                                                                  {"sparse files", 2},
                                                                  {"volume labels", 1}}));
}

TEST(TarReaderTest, NamesLeadNowhereElse) {
  absl::Status defect;
  EXPECT_EQ(Read(TarMaker()
                     .AddFile("/etc/a", "1")
                     .AddFile("../../b", "2")
                     .AddFile("c/../d", "3")
                     .Add('x', "x", TarMaker::Pax("path", "/e"))
                     .AddFile("x", "4")
                     .Finish(),
                 &defect),
            (Members{{"etc/a", "1"}, {"b", "2"}, {"c/d", "3"}, {"e", "4"}}));
  EXPECT_TRUE(defect.ok()) << defect;
}

TEST(TarReaderTest, LinksTellTheirTargets) {
  const auto with_target = [](char kind, const std::string& name, const std::string& target) {
    std::string header = TarMaker().Add(kind, name, "").unfinished();
    header.replace(157, target.size(), target);
    TarMaker::MendChecksums(&header);
    return header;
  };
  const std::string archive = with_target('1', "a/hard", "./a/b") + with_target('2', "a/soft", "../c/d") +
                              with_target('2', "top", "e") + with_target('2', "a/absolute", "/f/g") +
                              TarMaker().Add('K', "k", std::string(120, 't')).Add('1', "long", "").Finish();
  TarReader reader(
      [&](uint64_t offset, size_t count, char* out) {
        archive.copy(out, count, offset);
        return absl::OkStatus();
      },
      archive.size());
  TarMember member;
  std::vector<std::string> targets;
  for (auto more = reader.Next(&member); more.ok() && *more; more = reader.Next(&member)) {
    EXPECT_TRUE(member.is_link);
    targets.push_back(member.target);
  }
  EXPECT_EQ(targets, (std::vector<std::string>{"a/b", "c/d", "e", "f/g", std::string(120, 't')}));
}

TEST(TarReaderTest, ArchivesOneAfterAnother) {
  absl::Status defect;
  const std::string two =
      TarMaker().AddFile("a", "1").Finish() + std::string(8192, '\0') + TarMaker().AddFile("b", "2").Finish();
  EXPECT_EQ(Read(two, &defect), (Members{{"a", "1"}, {"b", "2"}}));
  EXPECT_TRUE(defect.ok()) << defect;
}

}  // namespace
}  // namespace tec
