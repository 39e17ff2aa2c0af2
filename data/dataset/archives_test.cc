// Archives as people have them: what is in them, what their labels are, and what is said of the rest.

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "data/dataset/dataset.h"
#include "data/testing/make_tar.h"
#include "data/testing/make_zip.h"
#include "data/testing/peak_memory.h"
#include "tec/base/file.h"

namespace tec {
namespace {

using testing::TarMaker;
using testing::ZipMaker;
using Strings = std::vector<std::string>;

class ArchivesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = ::testing::TempDir() + "/archives_XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    ASSERT_EQ(chdir(pattern.c_str()), 0);
  }

  void Write(const std::string& path, const std::string& bytes) {
    const size_t slash = path.rfind('/');
    if (slash != std::string::npos) {
      ASSERT_TRUE(MakeDirectories(path.substr(0, slash)).ok());
    }
    ASSERT_TRUE(WriteFile(path, bytes).ok());
  }

  static std::unique_ptr<Dataset> Open(const std::string& path, bool labels = true, Split split = Split::kTrain,
                                       Strings exclude = {}) {
    DatasetOptions options;
    options.labels = labels;
    options.exclude = std::move(exclude);
    auto dataset = OpenDataset(path, split, options);
    EXPECT_TRUE(dataset.ok()) << dataset.status();
    return dataset.ok() ? *std::move(dataset) : nullptr;
  }

  static std::string Error(const std::string& path, Split split = Split::kTrain) {
    const auto dataset = OpenDataset(path, split);
    EXPECT_FALSE(dataset.ok()) << path;
    return std::string(dataset.status().message());
  }

  // "name=content label", one a picture.
  static Strings Contents(const Dataset& dataset) {
    Strings lines;
    for (int64_t i = 0; i < dataset.size(); ++i) {
      const auto bytes = dataset.Read(i);
      EXPECT_TRUE(bytes.ok()) << bytes.status();
      lines.push_back(absl::StrCat(dataset.name(i), "=", bytes.ok() ? *bytes : "", " ", dataset.label(i)));
    }
    return lines;
  }

  static std::string Link(char kind, const std::string& name, const std::string& target) {
    std::string header = TarMaker().Add(kind, name, "").unfinished();
    header.replace(157, target.size(), target);
    TarMaker::MendChecksums(&header);
    return header;
  }
};

TEST_F(ArchivesTest, ZipsHaveClassFoldersStoredAndDeflated) {
  ZipMaker::Options deflated, wide;
  deflated.deflate = true;
  wide.zip64 = true;
  const std::string long_text(5000, 'x');
  ZipMaker zip;
  zip.Add("top/", "").Add("top/dog/2.jpg", long_text, deflated).Add("top/cat/1.jpg", "one");
  zip.Add("top/dog/1.png", "wide", wide).Add("top/notes.txt", "said");
  Write("plain.zip", zip.Finish());
  Write("wide.zip", zip.Finish(/*zip64=*/true, "a comment"));
  Write("program.zip", zip.Finish(false, "", "#!/bin/sh in front of it\n"));
  for (const std::string name : {"plain", "wide", "program"}) {
    const auto dataset = Open(name + ".zip");
    ASSERT_NE(dataset, nullptr);
    const std::string prefix = name + ".zip/top/";
    EXPECT_EQ(Contents(*dataset), (Strings{prefix + "cat/1.jpg=one 0", prefix + "dog/1.png=wide 1",
                                           prefix + "dog/2.jpg=" + long_text + " 1"}));
    EXPECT_EQ(dataset->classes(), (Strings{"cat", "dog"}));
    EXPECT_EQ(dataset->left_out(), "1 file, not taken for pictures by their names: .txt 1");
    EXPECT_TRUE(dataset->defects().empty());
  }
  // Several, and a tar beside them.
  Write("d/a.zip", ZipMaker().Add("cat/1.jpg", "one").Finish());
  Write("d/b.zip", ZipMaker().Add("dog/2.jpg", long_text, deflated).Finish());
  Write("d/c.tar", TarMaker().AddFile("dog/3.jpg", "three").Finish());
  EXPECT_EQ(Contents(*Open("d")),
            (Strings{"a.zip/cat/1.jpg=one 0", "b.zip/dog/2.jpg=" + long_text + " 1", "c.tar/dog/3.jpg=three 1"}));
}

TEST_F(ArchivesTest, TheIndexKeepsZips) {
  ZipMaker::Options deflated;
  deflated.deflate = true;
  Write("d/a.zip", ZipMaker().Add("cat/1.jpg", "one").Add("dog/2.jpg", std::string(500, 'x'), deflated).Finish());
  Write("d/b.tar", TarMaker().AddFile("cat/3.jpg", "three").Finish());
  ASSERT_EQ(system("touch -d '2020-01-01' d d/a.zip d/b.tar"), 0);
  DatasetOptions options;
  options.index_folder = "index";
  const auto first = OpenDataset("d", Split::kTrain, options), second = OpenDataset("d", Split::kTrain, options);
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(Contents(**first), Contents(**second));
  EXPECT_EQ((*second)->classes(), (Strings{"cat", "dog"}));
  // What an index says of a file that is gone is said to come from it.
  ASSERT_EQ(rename("d/a.zip", "gone.zip"), 0);
  std::string bytes;
  const std::string of_index((*second)->Read(0, &bytes).message());
  EXPECT_NE(of_index.find("it is known from the index index/data_set_"), std::string::npos) << of_index;
  EXPECT_NE(of_index.find("delete that file"), std::string::npos) << of_index;
}

TEST_F(ArchivesTest, WhatAZipMayHoldBesides) {
  ZipMaker::Options encrypted, other, link, fat;
  encrypted.flags = 1;
  other.method = 12;
  link.unix_mode = 0120777;
  fat.system = 0;
  ZipMaker zip;
  zip.Add("a.jpg", "good").Add("b.jpg", "?", encrypted).Add("c.jpg", "?", other).Add("d.jpg", "b.jpg", link);
  zip.Add("__MACOSX/._a.jpg", "fork").Add("._a.jpg", "fork").Add("../e.jpg", "out").Add("f\\g.jpg", "slash", fat);
  Write("a.zip", zip.Finish());
  const auto dataset = Open("a.zip", false);
  ASSERT_NE(dataset, nullptr);
  EXPECT_EQ(Contents(*dataset), (Strings{"a.zip/a.jpg=good -1", "a.zip/e.jpg=out -1", "a.zip/f/g.jpg=slash -1"}));
  EXPECT_EQ(
      dataset->left_out(),
      "3 members of archives passed over: encrypted files 1, files compressed in another way than deflate (method "
      "12) 1, links to what is not there or left out 1; 2 files or folders that other programs leave: ._* 1, __MACOSX "
      "1");
}

TEST_F(ArchivesTest, BrokenZips) {
  ZipMaker zip;
  zip.Add("a/1.jpg", "one").Add("b/2.jpg", "two");
  const std::string bytes = zip.Finish();
  Write("cut.zip", bytes.substr(0, bytes.size() - 30));
  EXPECT_EQ(
      Error("cut.zip"),
      "no pictures in the archives of ./cut.zip: cut.zip: no zip directory at its end: the archive is cut or no zip");
  // An entry that claims to lie elsewhere ends the directory.
  std::string elsewhere = bytes;
  elsewhere[bytes.rfind("PK\1\2") + 45] = 1;
  Write("elsewhere.zip", elsewhere);
  const auto dataset = Open("elsewhere.zip");
  EXPECT_EQ(dataset->size(), 1);
  EXPECT_EQ(dataset->defects(), Strings{"elsewhere.zip: a file of the zip directory does not lie in the archive"});
  // What the directory does not show is seen when it is read.
  std::string header = bytes;
  header[0] = 'X';
  Write("header.zip", header);
  std::string read;
  EXPECT_EQ(Open("header.zip")->Read(0, &read).message(), "no entry of the zip at byte 0");
  // The directory's number of the last of several volumes.
  std::string volumes = bytes;
  volumes[volumes.rfind("PK\5\6") + 4] = volumes[volumes.rfind("PK\5\6") + 6] = 2;
  Write("volumes.zip", volumes);
  EXPECT_NE(Error("volumes.zip").find("a zip of several volumes: put them together"), std::string::npos);
}

// As Python's zipfile does, whether the index or the directory tells of them, and whatever part is opened.
TEST_F(ArchivesTest, ZipsWhoseBytesHaveAnotherChecksumAreDamaged) {
  ZipMaker::Options deflated;
  deflated.deflate = true;
  std::string bytes =
      ZipMaker().Add("train/a/1.jpg", "one").Add("train/b/2.jpg", "two", deflated).Add("val/a/3.jpg", "three").Finish();
  Write("d/a.tar", TarMaker().AddFile("train/a/0.jpg", "zero").AddFile("val/b/4.jpg", "four").Finish());
  Write("d/b.zip", bytes);
  ASSERT_EQ(system("touch -d '2020-01-01' d d/a.tar d/b.zip"), 0);
  DatasetOptions options;
  options.index_folder = "index";
  for (int start = 0; start < 2; ++start) {
    const auto train = OpenDataset("d", Split::kTrain, options), held_out = OpenDataset("d", Split::kHeldOut, options);
    ASSERT_TRUE(train.ok() && held_out.ok());
    EXPECT_EQ(Contents(**train),
              (Strings{"a.tar/train/a/0.jpg=zero 0", "b.zip/train/a/1.jpg=one 0", "b.zip/train/b/2.jpg=two 1"}));
    EXPECT_EQ(Contents(**held_out), (Strings{"a.tar/val/b/4.jpg=four 1", "b.zip/val/a/3.jpg=three 0"}));
  }
  bytes.replace(bytes.find("one"), 3, "onE");
  const size_t directory = bytes.find("PK\1\2", bytes.find("PK\1\2") + 1);
  bytes[directory + 16] ^= 1;
  Write("b.zip", bytes);
  const auto dataset = Open("b.zip");
  std::string read;
  for (const int picture : {0, 1}) {
    const absl::Status status = dataset->Read(picture, &read);
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
    EXPECT_EQ(status.message(), "its bytes do not have the checksum that the zip keeps of them: they are damaged");
  }
}

TEST_F(ArchivesTest, PartsInAnArchive) {
  ZipMaker zip;
  TarMaker tar;
  for (const char* name : {"top/train/cat/1.jpg", "top/train/dog/2.jpg", "top/val/cat/3.jpg"}) {
    zip.Add(name, name);
    tar.AddFile(name, name);
  }
  Write("a.zip", zip.Finish());
  Write("a.tar", tar.Finish());
  for (const std::string path : {"a.zip", "a.tar"}) {
    EXPECT_EQ(Contents(*Open(path)), (Strings{path + "/top/train/cat/1.jpg=top/train/cat/1.jpg 0",
                                              path + "/top/train/dog/2.jpg=top/train/dog/2.jpg 1"}));
    EXPECT_EQ(Contents(*Open(path, false, Split::kHeldOut)), Strings{path + "/top/val/cat/3.jpg=top/val/cat/3.jpg -1"});
    EXPECT_EQ(Open(path, true, Split::kWhole)->classes(), (Strings{"train", "val"}));
  }
  // And in a folder of archives.
  Write("d/a.zip", zip.Finish());
  EXPECT_EQ(Open("d")->classes(), (Strings{"cat", "dog"}));
  EXPECT_EQ(Contents(*Open("d", false, Split::kHeldOut)), Strings{"a.zip/top/val/cat/3.jpg=top/val/cat/3.jpg -1"});
  Write("b.zip", ZipMaker().Add("cat/1.jpg", "one").Finish());
  EXPECT_EQ(Error("b.zip", Split::kHeldOut),
            "no held-out pictures in ./b.zip: looked for folders val/ and test/ beside a folder train/ in it");
}

TEST_F(ArchivesTest, LinksStandForTheirMembers) {
  const std::string start = TarMaker().AddFile("a/1.jpg", "one").AddFile("a/1.cls", "1").unfinished();
  const std::string links = Link('1', "a/2.jpg", "a/1.jpg") + TarMaker().AddFile("a/2.cls", "0").unfinished() +
                            Link('2', "a/3.jpg", "../b/later.png") + Link('2', "a/3.cls", "2.cls") +
                            Link('2', "a/4.jpg", "nowhere.jpg") + Link('2', "a/loop.jpg", "loop.jpg") +
                            Link('2', "folder", "a");
  Write("links.tar", start + links + TarMaker().AddFile("b/later.png", "later").AddFile("b/later.cls", "1").Finish());
  const auto dataset = Open("links.tar");
  ASSERT_NE(dataset, nullptr);
  EXPECT_EQ(Contents(*dataset), (Strings{"links.tar/a/1.jpg=one 1", "links.tar/a/2.jpg=one 0",
                                         "links.tar/a/3.jpg=later 0", "links.tar/b/later.png=later 1"}));
  EXPECT_EQ(
      dataset->left_out(),
      "3 members of archives passed over: links to nothing 2, links to folders or to files that are no pictures 1");
  EXPECT_TRUE(dataset->defects().empty());
}

TEST_F(ArchivesTest, LinksOfAZipStandForTheirMembers) {
  ZipMaker::Options link, deflated_link;
  link.unix_mode = deflated_link.unix_mode = 0120777;
  deflated_link.deflate = true;
  ZipMaker zip;
  zip.Add("b/z.jpg", "y.jpg", link).Add("a/1.jpg", "one").Add("b/y.jpg", "../a/./1.jpg", deflated_link);
  zip.Add("b/up.jpg", "../../a/1.jpg", link)
      .Add("b/nothing.jpg", "nowhere.jpg", link)
      .Add("b/loop.jpg", "loop.jpg", link);
  zip.Add("b/long.jpg", std::string(5000, 'x'), link).Add("folder", "a", link).Add("b/out.jpg", "/etc/passwd", link);
  zip.Add("b/empty.jpg", "", link).Add("b/folder.jpg", "../a", link);
  std::string bytes = zip.Finish();
  Write("links.zip", bytes);
  const auto dataset = Open("links.zip");
  ASSERT_NE(dataset, nullptr);
  EXPECT_EQ(Contents(*dataset), (Strings{"links.zip/a/1.jpg=one 0", "links.zip/b/up.jpg=one 1",
                                         "links.zip/b/y.jpg=one 1", "links.zip/b/z.jpg=one 1"}));
  EXPECT_EQ(dataset->left_out(),
            "7 members of archives passed over: links to what is not there or left out 5, damaged links 1, links to "
            "folders or "
            "to files that are no pictures 1");
  EXPECT_TRUE(dataset->defects().empty());
  // One whose text is damaged stands for nothing.
  bytes.replace(bytes.find("y.jpg", bytes.find("b/z.jpg") + 7), 5, "1.jpg");
  Write("links.zip", bytes);
  EXPECT_EQ(Open("links.zip")->size(), 3);
}

TEST_F(ArchivesTest, OneArchiveAClass) {
  for (const std::string name : {"n01440764", "n01443537"}) {
    Write("d/" + name + ".tar", TarMaker().AddFile(name + "_1.JPEG", name).Finish());
  }
  EXPECT_EQ(Open("d")->classes(), (Strings{"n01440764", "n01443537"}));
  EXPECT_EQ(Open("d")->label(1), 1);
  // As ImageNet is published, and one that is broken in the middle.
  TarMaker all;
  for (const std::string name : {"n01443537", "n01440764"}) all.AddFile(name + ".tar", *ReadFile("d/" + name + ".tar"));
  Write("all.tar", all.Finish());
  const auto whole = Open("all.tar");
  EXPECT_EQ(Contents(*whole), (Strings{"all.tar/n01443537/n01443537_1.JPEG=n01443537 1",
                                       "all.tar/n01440764/n01440764_1.JPEG=n01440764 0"}));
  EXPECT_EQ(whole->classes(), (Strings{"n01440764", "n01443537"}));
  all.AddFile("n1.tar", std::string(700, 'x')).AddFile("n2.tar", TarMaker().AddFile("a.jpg", "a").Finish());
  Write("all.tar", all.Finish());
  EXPECT_EQ(Open("all.tar")->size(), 3);
  EXPECT_EQ(Open("all.tar")->defects(), Strings{"all.tar: n1.tar: a bad checksum in the header at byte 0"});
}

TEST_F(ArchivesTest, ArchivesWithoutAPictureAreSaid) {
  Write("d/cat.tar", TarMaker().AddFile("1.jpg", "one").Finish());
  Write("d/dog.tar", TarMaker().AddFile("notes.txt", "said").Finish());
  EXPECT_EQ(Error("d"),
            "d: 1 of 2 archives, which stand for a class each, have no picture: dog.tar; remove them or fill them, or "
            "the labels would shift between data sets");
  // One that is something else says so.
  Write("e/cat.tar", *ReadFile("d/cat.tar"));
  Write("e/dog.tar", "\x1f\x8b\x08");
  EXPECT_EQ(
      Error("e"),
      "e: 1 of 2 archives, which stand for a class each, have no picture: dog.tar: it is compressed by gzip: unpack "
      "it (tar xzf, gunzip); the tar itself is read as it is; remove them or fill them, or the labels would shift "
      "between data sets");
  EXPECT_NE(Error(".").find("archives lie in its folder d (cat.tar, ...): give that folder"), std::string::npos);
  Write("empty.tar", "");
  EXPECT_EQ(Error("empty.tar"), "no pictures in the archives of ./empty.tar: empty.tar: the file is empty");
  TarMaker all;
  all.AddFile("cat.tar", *ReadFile("d/cat.tar")).AddFile("dog.tar", "").AddFile("cow.tar", TarMaker().Finish());
  Write("all.tar", all.AddFile("pig.tar.gz", "x").AddFile("hen.zip", "x").Finish());
  const auto dataset = Open("all.tar", false);
  EXPECT_EQ(dataset->defects(), Strings{"all.tar: dog.tar: the file is empty"});
  EXPECT_EQ(dataset->left_out(),
            "3 members of archives passed over: .gz in an archive, not opened: unpack it 1, .zip in an archive, not "
            "opened: unpack it 1, archives in an archive without a file in them 1");
}

TEST_F(ArchivesTest, ADefectOfAnArchiveInsideEndsThatOneAloneAtEveryDepth) {
  const std::string one = TarMaker().AddFile("1.jpg", "one").Finish(),
                    two = TarMaker().AddFile("2.jpg", "two").Finish();
  TarMaker train;
  train.AddFile("n01.tar", "")
      .AddFile("n02.tar", one)
      .AddFile("n03.tar", std::string(700, 'x'))
      .AddFile("n04.tar", two);
  Write("a.tar", TarMaker().AddFile("train.tar", train.Finish()).AddFile("val.tar", train.Finish()).Finish());
  const auto dataset = Open("a.tar");
  ASSERT_NE(dataset, nullptr);
  EXPECT_EQ(Contents(*dataset), (Strings{"a.tar/train/n02/1.jpg=one 0", "a.tar/train/n04/2.jpg=two 1"}));
  EXPECT_EQ(dataset->defects(), (Strings{"a.tar: train/n01.tar: the file is empty",
                                         "a.tar: train/n03.tar: a bad checksum in the header at byte 0",
                                         "a.tar: val/n01.tar: the file is empty",
                                         "a.tar: val/n03.tar: a bad checksum in the header at byte 0"}));
}

// As of damaged pictures, each costs its picture alone, and that is said.
TEST_F(ArchivesTest, DamagedLabelsCostTheirPicturesAlone) {
  ZipMaker zip;
  for (int i = 0; i < 5; ++i) {
    zip.Add(absl::StrCat(i, ".jpg"), absl::StrCat(i)).Add(absl::StrCat(i, ".cls"), i == 1 || i == 3 ? "one" : "0");
  }
  // Beside a good .cls, or without a picture, what else cannot be read costs nothing.
  zip.Add("4.json", "one").Add("x.json", "one").Add("y.json", std::string(2 << 20, ' '));
  Write("a.zip", absl::StrReplaceAll(zip.Finish(), {{"one", "1  "}}));
  const auto dataset = Open("a.zip");
  ASSERT_NE(dataset, nullptr);
  EXPECT_EQ(Contents(*dataset), (Strings{"a.zip/0.jpg=0 0", "a.zip/2.jpg=2 0", "a.zip/4.jpg=4 0"}));
  EXPECT_EQ(dataset->defects(), Strings{"a.zip: 1.cls: its bytes do not have the checksum that the zip keeps of them: "
                                        "they are damaged; pictures left out for such a label: 2"});
  EXPECT_EQ(Open("a.zip", false)->size(), 5);
  EXPECT_TRUE(Open("a.zip", false)->defects().empty());
  Write("b.tar", TarMaker()
                     .AddFile("1.jpg", "1")
                     .AddFile("1.json", std::string(2 << 20, ' '))
                     .AddFile("2.jpg", "2")
                     .AddFile("2.cls", "0")
                     .Finish());
  EXPECT_EQ(Contents(*Open("b.tar")), Strings{"b.tar/2.jpg=2 0"});
  EXPECT_EQ(Open("b.tar")->defects(),
            Strings{"b.tar: 1.json: 2097152 bytes are too many for a label; pictures left out for such a label: 1"});
}

// A label's deflated bytes may be said to go on for as long as the archive does: no more are read than it can need.
TEST_F(ArchivesTest, WhatALabelDoesNotNeedIsNotRead) {
  ZipMaker::Options deflate;
  deflate.deflate = true;
  std::string zip = ZipMaker().Add("0.jpg", "zero").Add("0.cls", "0", deflate).Finish();
  constexpr uint32_t kHole = uint32_t{300} << 20;
  const size_t directory = zip.find("PK\1\2");
  const auto add_hole = [&zip](size_t at) {
    uint32_t number;
    std::memcpy(&number, &zip[at], sizeof(number));
    number += kHole;
    std::memcpy(&zip[at], &number, sizeof(number));
  };
  add_hole(zip.find("PK\1\2", directory + 1) + 20);  // The stored size of the label ...
  add_hole(zip.rfind("PK\5\6") + 16);                // ... and where the directory begins.
  Write("a.zip", zip.substr(0, directory));
  ASSERT_EQ(truncate("a.zip", static_cast<off_t>(directory) + kHole), 0);
  std::ofstream("a.zip", std::ios::app | std::ios::binary) << zip.substr(directory);
  const auto dataset = Open("a.zip");
  ASSERT_NE(dataset, nullptr);
  EXPECT_EQ(Contents(*dataset), Strings{"a.zip/0.jpg=zero 0"});
  testing::ExpectPeakMemoryAtMost(150);
}

TEST_F(ArchivesTest, LabelsWithoutAPictureAreSaid) {
  TarMaker tar;
  for (int i = 0; i < 3; ++i) tar.AddFile(absl::StrCat(i, ".jpg"), "x").AddFile(absl::StrCat(i, ".cls"), "1");
  Write("a.tar", tar.Finish());
  EXPECT_EQ(Open("a.tar")->left_out(),
            "no picture has the label 0, from which labels count, and that class is kept without one: do they count "
            "from 1?");
  Write("b.tar", tar.AddFile("3.jpg", "x").AddFile("3.cls", "9").Finish());
  EXPECT_EQ(Open("b.tar")->left_out(),
            "of the 10 labels up to the largest, 8 have no picture, and are kept as classes without one: 0, 2, 3, 4, "
            "5, ...");
}

// Numbers are no classes, from wherever they are counted, whether all are there, and whatever says how many there are.
TEST_F(ArchivesTest, NumberedArchivesAreNoClasses) {
  int folder = 0;
  for (const Strings& names : {Strings{"train-000", "train-001"}, Strings{"train-000", "train-002"},
                               Strings{"100", "101", "107"}, Strings{"train-00000-of-00003", "train-00002-of-00003"},
                               Strings{"part0_shard0", "part0_shard1", "part1_shard0"}}) {
    const std::string where = absl::StrCat("numbered", folder++);
    for (const std::string& name : names) {
      Write(absl::StrCat(where, "/", name, ".tar"), TarMaker().AddFile(name + "_1.jpg", name).Finish());
    }
    const auto shards = Open(where);
    EXPECT_TRUE(shards->classes().empty()) << names.front();
    EXPECT_NE(
        shards->why_unlabelled().find(absl::StrCat("(", names.front(), ".tar, ...) are a numbering and no classes")),
        std::string::npos)
        << shards->why_unlabelled();
  }
}

TEST_F(ArchivesTest, LabelsApartFromTheirPictures) {
  TarMaker tar;
  for (int i = 0; i < 3; ++i) tar.AddFile(absl::StrCat(i, ".jpg"), "x");
  for (int i = 0; i < 3; ++i) tar.AddFile(absl::StrCat(i, ".cls"), "0");
  Write("a.tar", tar.Finish());
  EXPECT_EQ(
      Error("a.tar"),
      "3 labels (.cls, .json) in ./a.tar do not stand beside their picture: members of one sample must follow one "
      "another, as in archives written with tar --sort=name");
  EXPECT_EQ(Open("a.tar", false)->size(), 3);
  // A zip is sorted when it is read.
  ZipMaker zip;
  for (int i = 0; i < 3; ++i) zip.Add(absl::StrCat(i, ".jpg"), absl::StrCat(i));
  for (int i = 0; i < 3; ++i) zip.Add(absl::StrCat(i, ".cls"), absl::StrCat(i % 2));
  Write("a.zip", zip.Finish());
  EXPECT_EQ(Contents(*Open("a.zip")), (Strings{"a.zip/0.jpg=0 0", "a.zip/1.jpg=1 1", "a.zip/2.jpg=2 0"}));
}

TEST_F(ArchivesTest, LabelsThatAreNoNumbersAreNoDamage) {
  testing::TarMaker cls, json, far;
  cls.AddFile("1.jpg", "p").AddFile("1.cls", "0").AddFile("2.jpg", "p").AddFile("2.cls", "cat\n");
  json.AddFile("1.jpg", "p").AddFile("1.json", R"({"label": "cat"})");
  far.AddFile("1.jpg", "p").AddFile("1.cls", "9999999");
  Write("cls.tar", cls.Finish());
  Write("json.tar", json.Finish());
  Write("far.tar", far.Finish());
  const std::string end = "; classes by name are to be folders in the archives";
  EXPECT_EQ(Error("cls.tar"), "labels in the archives of ./cls.tar are no whole numbers from 0: 2.cls: \"cat\"" + end);
  EXPECT_EQ(Error("json.tar"),
            "labels in the archives of ./json.tar are no whole numbers from 0: 1.json: \"cat\"" + end);
  EXPECT_EQ(Error("far.tar"),
            "./far.tar: the label 9999999 among 1 pictures: labels are numbers of classes, from 0, "
            "not of pictures");
  const auto dataset = Open("cls.tar", /*labels=*/false);
  EXPECT_EQ(dataset->size(), 2);
  EXPECT_TRUE(dataset->defects().empty());
}

TEST_F(ArchivesTest, DottedNamesWithoutSamplesArePictures) {
  TarMaker tar;
  for (int i = 0; i < 3; ++i) tar.AddFile(absl::StrCat("train/cat.", i, ".jpg"), absl::StrCat(i));
  Write("a.tar", tar.AddFile("train/README.txt", "said").Finish());
  EXPECT_EQ(Contents(*Open("a.tar")),
            (Strings{"a.tar/train/cat.0.jpg=0 -1", "a.tar/train/cat.1.jpg=1 -1", "a.tar/train/cat.2.jpg=2 -1"}));
  // With samples they are parts.
  Write("b.tar", tar.AddFile("1.jpg", "").AddFile("1.cls", "0").Finish());
  const auto samples = Open("b.tar", false);
  EXPECT_EQ(samples->size(), 2);
  EXPECT_NE(samples->left_out().find("2 pictures left out as parts of samples"), std::string::npos);
}

TEST_F(ArchivesTest, BracesStandForSeveral) {
  for (const std::string name : {"s-08", "s-09", "s-10", "t"}) {
    Write("d/" + name + ".tar", TarMaker().AddFile(name + ".jpg", name).AddFile(name + ".cls", "0").Finish());
  }
  EXPECT_EQ(Contents(*Open("d/s-{08..10}.tar")),
            (Strings{"s-08.tar/s-08.jpg=s-08 0", "s-09.tar/s-09.jpg=s-09 0", "s-10.tar/s-10.jpg=s-10 0"}));
  EXPECT_EQ(Open("d/{s-08,t}.tar")->size(), 2);
  EXPECT_EQ(Error("d/s-{07..10}.tar"), "1 of the 4 archives of d/s-{07..10}.tar are not there: d/s-07.tar");
  EXPECT_EQ(Error("d/{1..3"), "d/{1..3: a brace that does not end");
  EXPECT_EQ(Error("d/{1..3}.jpg"),
            "d/{1..3}.jpg: braces are for archives, names that end in .tar or .zip; name other files in a list");
}

TEST_F(ArchivesTest, LitterAndWhatIsExcludedIsLeftOut) {
  for (const char* name :
       {"d/cat/1.jpg", "d/cat/._1.jpg", "d/cat/Thumbs.db", "d/cat/@eaDir/1.jpg/SYNOPHOTO.jpg", "d/dog/2.jpg",
        "d/dog/2_thumb.jpg", "d/__MACOSX/cat/._1.jpg", "d/lost+found/x", "d/old/3.jpg"}) {
    Write(name, name);
  }
  const auto dataset = Open("d", true, Split::kTrain, {"*_thumb.*", "old"});
  ASSERT_NE(dataset, nullptr);
  EXPECT_EQ(Contents(*dataset), (Strings{"cat/1.jpg=d/cat/1.jpg 0", "dog/2.jpg=d/dog/2.jpg 1"}));
  EXPECT_EQ(dataset->left_out(),
            "5 files or folders that other programs leave: ._* 1, @eaDir 1, Thumbs.db 1, __MACOSX 1, lost+found 1; "
            "2 files or folders that --exclude names: .jpg 1, old/ 1");
  EXPECT_EQ(ParseExclude("*_thumb.*,old"), (Strings{"*_thumb.*", "old"}));
}

TEST_F(ArchivesTest, OtherContainersAreNamed) {
  const std::pair<std::string, std::string> files[] = {{"a.tar.gz", "\x1f\x8b\x08"},
                                                       {"b/train.parquet", "PAR1"},
                                                       {"c.npy", "\x93NUMPY"},
                                                       {"d", "version https://git-lfs.github.com/spec/v1"},
                                                       {"e/data.mdb", "x"},
                                                       {"f.mp4", std::string("\0\0\0\x20"
                                                                             "ftypisom",
                                                                             12)},
                                                       {"g/shard.tfrecord", "x"},
                                                       {"h.h5", "\x89HDF\r\n\x1a\n"},
                                                       {"i.dcm", std::string(128, '\0') + "DICM"}};
  const char* expected[] = {"compressed by gzip",
                            "train.parquet is Parquet",
                            "a NumPy array",
                            "Git LFS",
                            "data.mdb is an LMDB",
                            "a video",
                            "shard.tfrecord is TFRecord",
                            "an HDF5 file",
                            "DICOM"};
  int i = 0;
  for (const auto& [path, bytes] : files) {
    Write(path, bytes);
    const std::string error = Error(path.substr(0, path.find('/')));
    EXPECT_NE(error.find(expected[i]), std::string::npos) << error;
    ++i;
  }
  // By their contents, whatever they are called.
  const std::pair<std::string, std::string> disguised[] = {
      {"gz.tar", "\x1f\x8b\x08" + std::string(600, 'x')},
      {"page.tar", "<!DOCTYPE html>" + std::string(600, ' ')},
      {"records/train-00000-of-00002", std::string("\x40\1\0\0\0\0\0\0crc.\x0A", 13) + std::string(300, 'x')},
      {"ids/00a1", "\xFF\xD8\xFF\xE0"},
      {"shot/a.heic", std::string("\0\0\0\x18"
                                  "ftypheic",
                                  12)},
      {"arrays/x.npz", "PK\3\4"}};
  const char* kinds[] = {"gz.tar: it is compressed by gzip", "page.tar: it is a page of HTML",
                         "train-00000-of-00002 is TFRecord", "00a1 is a JPEG, but files called so are not looked for",
                         "a.heic is HEIF or AVIF",           "x.npz is NumPy arrays"};
  i = 0;
  for (const auto& [path, bytes] : disguised) {
    Write(path, bytes);
    const std::string error = Error(path.substr(0, path.find('/')));
    EXPECT_NE(error.find(kinds[i]), std::string::npos) << error;
    ++i;
  }
  for (const char* address : {"s3://bucket/data", "https://host/train.tar", "gs://b", "hf://datasets/x"}) {
    EXPECT_NE(Error(address).find("is an address, and nothing is fetched from elsewhere"), std::string::npos);
  }
}

}  // namespace
}  // namespace tec
