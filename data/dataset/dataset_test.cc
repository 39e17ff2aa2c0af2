#include "data/dataset/dataset.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "data/dataset/catalogue.h"
#include "data/dataset/pack.h"
#include "data/testing/make_tar.h"
#include "tec/base/file.h"

namespace tec {
namespace {

class DatasetTest : public ::testing::Test {
 protected:
  void SetUp() override {
    // The test runs in its folder, so that paths in messages are short and fixed.
    std::string pattern = ::testing::TempDir() + "/dataset_XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    ASSERT_EQ(chdir(pattern.c_str()), 0);
  }

  // A file whose content is its own path.
  void Touch(const std::string& path) {
    const size_t slash = path.rfind('/');
    if (slash != std::string::npos) {
      ASSERT_TRUE(MakeDirectories(path.substr(0, slash)).ok());
    }
    ASSERT_TRUE(WriteFile(path, path).ok());
  }

  std::unique_ptr<Dataset> Open(const std::string& path, Split split = Split::kTrain) {
    auto dataset = OpenDataset(path, split);
    EXPECT_TRUE(dataset.ok()) << dataset.status();
    return dataset.ok() ? *std::move(dataset) : nullptr;
  }

  std::string Error(const std::string& path, absl::StatusCode code, Split split = Split::kTrain) {
    auto dataset = OpenDataset(path, split);
    EXPECT_EQ(dataset.status().code(), code) << dataset.status();
    return std::string(dataset.status().message());
  }

  std::vector<std::string> Names(const Dataset& dataset) {
    std::vector<std::string> names;
    for (int64_t i = 0; i < dataset.size(); ++i) names.push_back(dataset.name(i));
    return names;
  }
};

using Strings = std::vector<std::string>;

// Sets the time of the last change.
void Touched(const std::string& path, int64_t seconds) {
  const timespec times[2] = {{seconds, 0}, {seconds, 0}};
  ASSERT_EQ(utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
}

TEST_F(DatasetTest, ClassFoldersInImageFoldersOrder) {
  for (const char* name : {"d/b/2.jpg", "d/b/10.JPEG", "d/B/x.png", "d/b/a/1.jpg", "d/b/a-b/1.jpg", "d/b/a/c/0.Webp",
                           "d/b/notes.txt", "d/README"}) {
    Touch(name);
  }
  const auto dataset = Open("d/");
  EXPECT_EQ(dataset->classes(), (Strings{"B", "b"}));
  // Bytewise, capitals first; folders by their whole path, as sorted(os.walk()) has them, so that "b/a-b" comes before
  // "b/a/c".
  EXPECT_EQ(Names(*dataset), (Strings{"B/x.png", "b/10.JPEG", "b/2.jpg", "b/a/1.jpg", "b/a-b/1.jpg", "b/a/c/0.Webp"}));
  EXPECT_EQ(dataset->label(0), 0);
  for (int64_t i = 1; i < dataset->size(); ++i) EXPECT_EQ(dataset->label(i), 1);
  EXPECT_TRUE(dataset->labelled());
  for (int64_t i = 0; i < dataset->size(); ++i) {
    const auto bytes = dataset->Read(i);
    ASSERT_TRUE(bytes.ok()) << bytes.status();
    EXPECT_EQ(*bytes, "d/" + dataset->name(i));
    EXPECT_EQ(dataset->file(i), std::filesystem::current_path() / "d" / dataset->name(i));
  }
}

TEST_F(DatasetTest, FlatFolder) {
  for (const char* name : {"d/2.jpg", "d/10.png", "d/notes.txt", "d/logs/log.txt"}) Touch(name);
  const auto dataset = Open("d");
  EXPECT_EQ(Names(*dataset), (Strings{"10.png", "2.jpg"}));
  EXPECT_FALSE(dataset->labelled());
  EXPECT_EQ(dataset->label(0), -1);
  EXPECT_EQ(*dataset->Read(1), "d/2.jpg");
}

TEST_F(DatasetTest, Splits) {
  for (const char* name : {"d/train/a/1.jpg", "d/train/b/2.jpg", "d/val/a/3.jpg", "d/test/a/4.jpg", "e/test/5.jpg"}) {
    Touch(name);
  }
  EXPECT_EQ(Names(*Open("d", Split::kTrain)), (Strings{"a/1.jpg", "b/2.jpg"}));
  EXPECT_EQ(Names(*Open("d", Split::kHeldOut)), Strings{"a/3.jpg"});
  EXPECT_EQ(Open("d", Split::kWhole)->classes(), (Strings{"test", "train", "val"}));
  EXPECT_EQ(Names(*Open("e", Split::kHeldOut)), Strings{"5.jpg"});
  EXPECT_EQ(Error("d/train", absl::StatusCode::kNotFound, Split::kHeldOut),
            "no held-out pictures in d/train: looked for folders val/ and test/, val.tecpack, val.tar, val.zip, "
            "val.txt, val.csv, test.tecpack, test.tar, test.zip, test.txt, test.csv");
}

TEST_F(DatasetTest, PartsMayBeFiles) {
  // Every kind of part, with the labels of the others.
  Touch("d/0/1.jpg");
  Touch("d/1/2.jpg");
  testing::TarMaker tar;
  tar.AddFile("3.jpg", "").AddFile("3.cls", "1");
  ASSERT_TRUE(MakeDirectories("p").ok());
  ASSERT_TRUE(WriteFile("p/val.txt", "../d/0/1.jpg 0\n").ok());
  ASSERT_TRUE(WriteFile("p/train.txt", "../d/0/1.jpg 0\n../d/1/2.jpg 1\n").ok());
  EXPECT_EQ(Names(*Open("p")), (Strings{"../d/0/1.jpg", "../d/1/2.jpg"}));
  EXPECT_EQ(Names(*Open("p", Split::kHeldOut)), Strings{"../d/0/1.jpg"});
  EXPECT_EQ(*Open("p", Split::kHeldOut)->Read(0), "d/0/1.jpg");
  // A shard comes before a list, a packed file before both, a folder before all.
  ASSERT_TRUE(WriteFile("p/train.tar", tar.Finish()).ok());
  ASSERT_TRUE(WriteFile("p/val.tar", tar.Finish()).ok());
  EXPECT_EQ(Names(*Open("p")), Strings{"train.tar/3.jpg"});
  EXPECT_EQ(Names(*Open("p", Split::kHeldOut)), Strings{"val.tar/3.jpg"});
  for (const char* part : {"p/train.tecpack", "p/test.tecpack", "p/val.tecpack"}) {
    ASSERT_TRUE(WritePack(*Open("d"), part).ok());
  }
  EXPECT_EQ(Names(*Open("p")), (Strings{"0/1.jpg", "1/2.jpg"}));
  EXPECT_EQ(Open("p", Split::kHeldOut)->classes(), (Strings{"0", "1"}));
  Touch("p/train/0/4.jpg");
  Touch("p/val/0/5.jpg");
  EXPECT_EQ(Names(*Open("p")), Strings{"0/4.jpg"});
  EXPECT_EQ(Names(*Open("p", Split::kHeldOut)), Strings{"0/5.jpg"});
  // "test" serves where there is no "val" of any kind.
  for (const char* suffix : {"txt", "tar", "tecpack"}) ASSERT_EQ(unlink(("p/val." + std::string(suffix)).c_str()), 0);
  ASSERT_EQ(rename("p/val", "p/elsewhere"), 0);
  EXPECT_EQ(Names(*Open("p", Split::kHeldOut)), (Strings{"0/1.jpg", "1/2.jpg"}));
  // A file alone has no parts.
  EXPECT_EQ(Error("p/train.tecpack", absl::StatusCode::kNotFound, Split::kHeldOut),
            "p/train.tecpack is a file: held-out pictures need a folder with one of val/, test/, val.tecpack, val.tar, "
            "val.zip, val.txt, val.csv, test.tecpack, test.tar, test.zip, test.txt, test.csv");
}

TEST_F(DatasetTest, AClassCalledTrainIsNoSplit) {
  for (const char* name :
       {"v/bus/1.jpg", "v/train/2.jpg", "f/train/1.jpg", "f/val/2.jpg", "o/train/a/1.jpg", "o/logs/log.txt"}) {
    Touch(name);
  }
  EXPECT_EQ(Open("v")->classes(), (Strings{"bus", "train"}));
  EXPECT_EQ(Names(*Open("f")), Strings{"1.jpg"});
  EXPECT_EQ(Names(*Open("o")), Strings{"a/1.jpg"});
  // With folders in it it is a part, whatever else it holds and in whatever order the system lists that.
  for (int i = 0; i < 20; ++i) Touch("o/train/" + std::to_string(i) + ".jpg");
  EXPECT_EQ(Error("o", absl::StatusCode::kInvalidArgument).find("o/train holds pictures (0.jpg) as well as folders"),
            0);
}

TEST_F(DatasetTest, ListFile) {
  Touch("d/a b.jpg");
  Touch("d/sub/c.jpg");
  ASSERT_TRUE(WriteFile("d/list.txt", "# pictures\n\na b.jpg\r\nsub/c.jpg").ok());
  const auto plain = Open("d/list.txt");
  EXPECT_EQ(Names(*plain), (Strings{"a b.jpg", "sub/c.jpg"}));
  EXPECT_FALSE(plain->labelled());
  EXPECT_EQ(*plain->Read(0), "d/a b.jpg");
  EXPECT_EQ(*plain->Read(1), "d/sub/c.jpg");

  ASSERT_TRUE(WriteFile("d/labelled", "a b.jpg\t2\nsub/c.jpg 0\n").ok());
  const auto labelled = Open("d/labelled");
  EXPECT_EQ(Names(*labelled), (Strings{"a b.jpg", "sub/c.jpg"}));
  EXPECT_EQ(labelled->label(0), 2);
  EXPECT_EQ(labelled->label(1), 0);
  EXPECT_EQ(labelled->classes(), (Strings{"0", "1", "2"}));

  char folder[4096];
  ASSERT_NE(getcwd(folder, sizeof(folder)), nullptr);
  ASSERT_TRUE(WriteFile("absolute", std::string(folder) + "/d/sub/c.jpg\n").ok());
  EXPECT_EQ(*Open("absolute")->Read(0), "d/sub/c.jpg");
  EXPECT_EQ(Open("absolute")->file(0), std::string(folder) + "/d/sub/c.jpg");
}

TEST_F(DatasetTest, ListErrorsNameTheLine) {
  const auto error = [this](const std::string& text) {
    EXPECT_TRUE(WriteFile("list", text).ok());
    return Error("list", absl::StatusCode::kInvalidArgument);
  };
  EXPECT_EQ(error("a.jpg\t1\nb.jpg\n"), "list:2: line 1 has a label and line 2 has none: all lines need one, or none");
  EXPECT_EQ(error("# x\na.jpg\tcat\n"), "list:2: label \"cat\" is not a whole number from 0");
  EXPECT_EQ(error("a.jpg\t-1\n"), "list:1: label \"-1\" is not a whole number from 0");
  EXPECT_EQ(error("a.jpg 99999999999\n"), "list:1: label 99999999999 is not below 10000000");
  EXPECT_EQ(error("a.jpg 10000000\n"), "list:1: label 10000000 is not below 10000000");
  EXPECT_EQ(error("\t1\n"), "list:1: no path before the label");
  EXPECT_EQ(error(std::string("a\0b", 3)), "list:1: a zero byte: this is no list of files");
  ASSERT_TRUE(WriteFile("list", "# nothing\n").ok());
  EXPECT_EQ(Error("list", absl::StatusCode::kNotFound), "no pictures in list: looked for a list file, one path a line");
}

TEST_F(DatasetTest, ErrorsSayWhatWasLookedFor) {
  EXPECT_EQ(Error("nowhere", absl::StatusCode::kNotFound),
            "no data set at nowhere: looked for a folder with train/, train.tecpack, train.tar, train.zip, train.txt, "
            "train.csv, a folder of class "
            "folders, a folder of pictures, or a list file");
  ASSERT_TRUE(MakeDirectories("empty").ok());
  const std::string pictures = "files ending in .jpg .jpeg .png .ppm .bmp .pgm .tif .tiff .webp";
  const std::string extensions = pictures + " .tar .zip";
  EXPECT_EQ(Error("empty", absl::StatusCode::kNotFound),
            "no pictures in empty: looked for a folder train/, train.tecpack, train.tar, train.zip, train.txt, "
            "train.csv, class folders with "
            "pictures, for pictures directly in it and for archives, " +
                extensions);
  Touch("text/a/notes.txt");
  EXPECT_EQ(Error("text", absl::StatusCode::kNotFound),
            "no pictures in text: looked for a folder train/, train.tecpack, train.tar, train.zip, train.txt, "
            "train.csv, class folders with "
            "pictures, for pictures directly in it and for archives, " +
                extensions + "; left out 1 file, not taken for pictures by their names: .txt 1");
  // Below class folders, too.
  Touch("phone/holiday/IMG_1.HEIC");
  EXPECT_TRUE(absl::EndsWith(Error("phone", absl::StatusCode::kNotFound),
                             "; holiday/IMG_1.HEIC is HEIF or AVIF: convert it to JPEG or PNG (heif-convert, avifdec); "
                             "left out 1 file, not taken for pictures by their names: .heic 1"))
      << Error("phone", absl::StatusCode::kNotFound);
  Touch("phone/home/1.jpg");
  EXPECT_TRUE(absl::EndsWith(Error("phone", absl::StatusCode::kInvalidArgument),
                             "; holiday/IMG_1.HEIC is HEIF or AVIF: convert it to JPEG or PNG (heif-convert, avifdec)"))
      << Error("phone", absl::StatusCode::kInvalidArgument);
  ASSERT_TRUE(MakeDirectories("split/train").ok());
  EXPECT_EQ(Error("split", absl::StatusCode::kNotFound),
            "no pictures in split/train: looked for class folders with pictures, for pictures directly in it and for "
            "archives, " +
                extensions);
  Touch("holes/a/1.jpg");
  ASSERT_TRUE(MakeDirectories("holes/b").ok());
  EXPECT_EQ(Error("holes", absl::StatusCode::kInvalidArgument),
            "1 of 2 class folders of holes without a picture: b; remove them or fill them, or the labels would shift "
            "between data sets (pictures are " +
                pictures + ")");
  Touch("mixed/1.jpg");
  Touch("mixed/a/2.jpg");
  EXPECT_EQ(
      Error("mixed", absl::StatusCode::kInvalidArgument),
      "mixed holds pictures (1.jpg) as well as folders of pictures (a): keep either class folders or a flat folder, "
      "or name the pictures in a list file");
  EXPECT_EQ(Error("mixed/1.jpg", absl::StatusCode::kInvalidArgument),
            "mixed/1.jpg is a picture: a data set is a folder of pictures or a list file of their paths");
  EXPECT_EQ(Error("", absl::StatusCode::kInvalidArgument), "the data set's path is empty");
}

TEST_F(DatasetTest, LinksAreFollowedAndLoopsRefused) {
  Touch("real/1.jpg");
  ASSERT_TRUE(MakeDirectories("d").ok());
  ASSERT_EQ(symlink("../real", "d/a"), 0);
  EXPECT_EQ(Names(*Open("d")), Strings{"a/1.jpg"});
  ASSERT_EQ(symlink(".", "real/loop"), 0);
  // Followed to the system's limit of 40 links, it would show the picture 41 times.
  EXPECT_EQ(Error("d", absl::StatusCode::kInvalidArgument), "d/a/loop is a link back to a folder that it lies in");
}

TEST_F(DatasetTest, UnreadableFilesAreAStatus) {
  Touch("d/1.jpg");
  Touch("d/2.jpg");
  ASSERT_EQ(mkfifo("d/3.jpg", 0600), 0);
  ASSERT_EQ(symlink("gone", "d/4.jpg"), 0);
  const auto dataset = Open("d");
  ASSERT_EQ(dataset->size(), 4);
  ASSERT_EQ(unlink("d/2.jpg"), 0);
  EXPECT_TRUE(dataset->Read(0).ok());
  EXPECT_EQ(dataset->Read(1).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(dataset->Read(2).status().message(), "not a regular file");
  EXPECT_EQ(dataset->Read(3).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(DatasetTest, NestedFoldersWithoutLabels) {
  for (const char* name : {"d/b/2.jpg", "d/a/deep/1.png", "d/z.jpg", "d/b/x/3.jpg"}) Touch(name);
  ASSERT_TRUE(MakeDirectories("d/nothing").ok());
  DatasetOptions options;
  options.labels = false;
  const auto dataset = OpenDataset("d", Split::kTrain, options);
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ(Names(**dataset), (Strings{"z.jpg", "a/deep/1.png", "b/2.jpg", "b/x/3.jpg"}));
  EXPECT_FALSE((*dataset)->labelled());
  EXPECT_EQ(*(*dataset)->Read(1), "d/a/deep/1.png");
}

TEST_F(DatasetTest, ClassesThatAreHardlyOnesAreSaid) {
  for (const char* name : {"d/Train/a/1.jpg", "d/Test/a/2.jpg", "e/Test/1.jpg", "e/cat/2.jpg"}) Touch(name);
  const auto log_of = [this](const std::string& path) {
    ::testing::internal::CaptureStderr();
    EXPECT_EQ(Open(path)->classes().size(), 2);
    return ::testing::internal::GetCapturedStderr();
  };
  EXPECT_NE(log_of("d").find("d: Test, Train are taken for classes; parts of a data set are to be called train, and "
                             "val or test"),
            std::string::npos);
  EXPECT_EQ(log_of("e"), "");
}

TEST_F(DatasetTest, WhatIsLeftOutIsCounted) {
  for (const char* name : {"d/a/1.jpg", "d/a/2.GIF", "d/b/3.png", "d/b/x/4.gif", "d/b/README", "d/b/5.txt"})
    Touch(name);
  ::testing::internal::CaptureStderr();
  const auto labelled = Open("d");
  const std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(labelled->size(), 2);  // As ImageFolder has it.
  EXPECT_EQ(labelled->left_out(), "4 files, not taken for pictures by their names: .gif 2, .txt 1, without a suffix 1");
  EXPECT_NE(log.find("d: left out 4 files, not taken"), std::string::npos) << log;
  DatasetOptions options;
  options.labels = false;
  const auto unlabelled = OpenDataset("d", Split::kTrain, options);
  ASSERT_TRUE(unlabelled.ok()) << unlabelled.status();
  EXPECT_EQ(Names(**unlabelled), (Strings{"a/1.jpg", "a/2.GIF", "b/3.png", "b/x/4.gif"}));
  EXPECT_EQ((*unlabelled)->left_out(), "2 files, not taken for pictures by their names: .txt 1, without a suffix 1");

  testing::TarMaker tar;
  tar.AddFile("1.depth.png", "").AddFile("1.gif", "1").AddFile("1.json", "{}").AddFile("1.txt", "a cat");
  tar.AddFile("2.txt", "").AddFile("2.jpg", "").AddFile("2.mask.png", "").AddFile("LICENSE", "");
  ASSERT_TRUE(WriteFile("a.tar", tar.Finish()).ok());
  EXPECT_EQ(Names(*Open("a.tar")), (Strings{"a.tar/1.gif", "a.tar/2.jpg"}));
  EXPECT_EQ(
      Open("a.tar")->left_out(),
      "2 pictures left out as parts of samples that have another one: names that are equal up to the first dot, "
      "beside a KEY.jpg or a label, are one sample: .depth.png 1, .mask.png 1; 3 files, not taken for pictures by "
      "their names: .txt 2, without a suffix 1");

  // Names that are numbered after their dot: few are kept apart, fewer named.
  Touch("n/1.jpg");
  for (int i = 0; i < 120; ++i) std::ofstream("n/x." + std::to_string(1000 + i)).put('x');
  const std::string many = Open("n")->left_out();
  EXPECT_EQ(many.substr(0, many.find(", .")), "120 files, not taken for pictures by their names: others 20") << many;
  EXPECT_EQ(many.substr(many.size() - 5), ", ...");
  // The index keeps it.
  for (const char* folder : {"d", "d/a", "d/b", "d/b/x"}) Touched(folder, 1000);
  options = DatasetOptions();
  options.index_folder = "index";
  for (int start = 0; start < 2; ++start) {
    EXPECT_EQ(OpenDataset("d", Split::kTrain, options).value()->left_out(), labelled->left_out());
  }
}

TEST_F(DatasetTest, ShardsOfWebDataset) {
  testing::TarMaker first, second;
  first.AddFile("n01/a.b/0001.jpg", "picture 1").AddFile("n01/a.b/0001.cls", " 2\n").AddFile("note.txt", "no picture");
  first.AddFile("0002.json", R"({"label": 0, "width": 9})").AddFile("0002.seg.png", "picture 2");
  second.AddFile("0003.CLS", "1").AddFile("0003.PNG", std::string(1000, 'p'));
  ASSERT_TRUE(MakeDirectories("d/train").ok());
  ASSERT_TRUE(WriteFile("d/train/b.tar", second.Finish()).ok());
  ASSERT_TRUE(WriteFile("d/train/a.tar", first.Finish()).ok());
  const auto dataset = Open("d");
  ASSERT_NE(dataset, nullptr);
  EXPECT_EQ(Names(*dataset), (Strings{"a.tar/n01/a.b/0001.jpg", "a.tar/0002.seg.png", "b.tar/0003.PNG"}));
  EXPECT_EQ(dataset->classes(), (Strings{"0", "1", "2"}));
  EXPECT_EQ(dataset->label(0), 2);
  EXPECT_EQ(dataset->label(1), 0);
  EXPECT_EQ(dataset->label(2), 1);
  EXPECT_EQ(*dataset->Read(0), "picture 1");
  EXPECT_EQ(*dataset->Read(2), std::string(1000, 'p'));

  const auto one = Open("d/train/b.tar");
  EXPECT_EQ(Names(*one), (Strings{"b.tar/0003.PNG"}));
  for (const Dataset* either : {dataset.get(), one.get()}) {
    EXPECT_EQ(either->file(either->size() - 1), std::filesystem::current_path() / "d/train/b.tar");
  }
}

TEST_F(DatasetTest, OfASamplesPicturesThatWithTheShortestSuffix) {
  testing::TarMaker tar;
  tar.AddFile("1.depth.png", "depth").AddFile("1.jpg", "1").AddFile("1.mask.png", "mask").AddFile("1.png", "png");
  tar.AddFile("2.txt", "");  // Of a sample without a picture: not the next one's.
  tar.AddFile("3.jpg", "3").AddFile("3.right.jpg", "right").AddFile("4.left.jpg", "left").AddFile("4.right.jpg", "");
  ASSERT_TRUE(WriteFile("a.tar", tar.Finish()).ok());
  const auto dataset = Open("a.tar");
  ASSERT_NE(dataset, nullptr);
  EXPECT_EQ(Names(*dataset), (Strings{"a.tar/1.jpg", "a.tar/3.jpg", "a.tar/4.left.jpg"}));
  EXPECT_FALSE(dataset->labelled());
  EXPECT_EQ(*dataset->Read(0), "1");
}

TEST_F(DatasetTest, WithoutLabelsWhateverTheDataSetHas) {
  testing::TarMaker labelled, partly;
  labelled.AddFile("1.jpg", "1").AddFile("1.cls", "0");
  partly.AddFile("2.jpg", "2")
      .AddFile("3.cls", "1")
      .AddFile("3.jpg", "3")
      .AddFile("4.cls", "none")
      .AddFile("4.jpg", "");
  ASSERT_TRUE(MakeDirectories("d").ok());
  ASSERT_TRUE(WriteFile("d/a.tar", labelled.Finish()).ok());
  ASSERT_TRUE(WritePack(*Open("d"), "a.tecpack").ok());
  ASSERT_TRUE(WriteFile("d/b.tar", partly.Finish()).ok());
  ASSERT_TRUE(WriteFile("list", "1.jpg\t7\n2.jpg\n").ok());
  Error("d", absl::StatusCode::kInvalidArgument);
  Error("list", absl::StatusCode::kInvalidArgument);
  const std::pair<std::string, Strings> expected[] = {
      {"d", {"a.tar/1.jpg", "b.tar/2.jpg", "b.tar/3.jpg", "b.tar/4.jpg"}},
      {"d/b.tar", {"b.tar/2.jpg", "b.tar/3.jpg", "b.tar/4.jpg"}},
      {"a.tecpack", {"a.tar/1.jpg"}},
      {"list", {"1.jpg", "2.jpg"}},
  };
  DatasetOptions options;
  options.labels = false;
  for (const auto& [path, names] : expected) {
    const auto dataset = OpenDataset(path, Split::kTrain, options);
    ASSERT_TRUE(dataset.ok()) << dataset.status();
    EXPECT_EQ(Names(**dataset), names);
    EXPECT_FALSE((*dataset)->labelled()) << path;
    EXPECT_EQ((*dataset)->label(0), -1) << path;
  }
}

TEST_F(DatasetTest, ABrokenShardIsUsedUpToTheDefect) {
  testing::TarMaker tar;
  tar.AddFile("1.jpg", "one").AddFile("1.cls", "0").AddFile("2.jpg", "two").AddFile("2.cls", "1");
  const std::string bytes = tar.Finish();
  ASSERT_TRUE(MakeDirectories("d").ok());
  ASSERT_TRUE(WriteFile("d/a.tar", bytes.substr(0, 5 * 512)).ok());  // Ends after the header of 2.jpg.
  ASSERT_TRUE(WriteFile("d/b.tar", bytes).ok());
  EXPECT_EQ(Names(*Open("d")), (Strings{"a.tar/1.jpg", "b.tar/1.jpg", "b.tar/2.jpg"}));
  // Nothing left at all, labels that are missing, and a mixture are errors.
  ASSERT_TRUE(MakeDirectories("e").ok());
  ASSERT_TRUE(WriteFile("e/a.tar", bytes.substr(0, 100)).ok());
  EXPECT_EQ(Error("e", absl::StatusCode::kNotFound),
            "no pictures in the archives of e/a.tar: a.tar: the archive ends in the header at byte 0");
  testing::TarMaker unlabelled;
  ASSERT_TRUE(WriteFile("d/c.tar", unlabelled.AddFile("3.jpg", "three").Finish()).ok());
  EXPECT_EQ(
      Error("d", absl::StatusCode::kInvalidArgument),
      "1 of 4 pictures in the archives of d have no label (a .cls, or \"label\" in a .json): all need one, or none");
  Touch("d/x.jpg");
  EXPECT_EQ(Error("d", absl::StatusCode::kInvalidArgument),
            "d holds archives (a.tar) as well as pictures (x.jpg): which of them are meant? --exclude names what is "
            "not, as in "
            "--exclude='*.zip'");
}

TEST_F(DatasetTest, AShardThatTheSystemCannotReadIsAnError) {
  testing::TarMaker tar;
  tar.AddFile("1.jpg", "one");
  ASSERT_TRUE(MakeDirectories("d").ok());
  ASSERT_TRUE(WriteFile("d/a.tar", tar.Finish()).ok());
  ASSERT_EQ(symlink("../later", "d/b.tar"), 0);
  EXPECT_EQ(Error("d", absl::StatusCode::kNotFound), "open d/b.tar: No such file or directory");
  ASSERT_TRUE(WriteFile("later", tar.Finish()).ok());
  EXPECT_EQ(Names(*Open("d")), (Strings{"a.tar/1.jpg", "b.tar/1.jpg"}));
  // What is no archive at all is a defect of the data, and nothing waits for a FIFO's other end.
  ASSERT_EQ(mkfifo("d/c.tar", 0600), 0);
  EXPECT_EQ(Error("d", absl::StatusCode::kInvalidArgument),
            "d: 1 of 3 archives, which stand for a class each, have no picture: c.tar: not a regular file; "
            "remove them or fill them, or the labels would shift between data sets");
  DatasetOptions unlabelled;
  unlabelled.labels = false;
  const auto dataset = OpenDataset("d", Split::kTrain, unlabelled);
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ((*dataset)->size(), 2);
  EXPECT_EQ((*dataset)->defects(), Strings{"c.tar: not a regular file"});
}

TEST_F(DatasetTest, APackIsTheDataSetItWasMadeOf) {
  for (const char* name : {"classes/b/2.jpg", "classes/a/1.png", "classes/b/x/3.jpg", "flat/2.jpg", "flat/1.jpg",
                           "mixed/z.jpg", "mixed/a/deep/1.gif"}) {
    Touch(name);
  }
  testing::TarMaker first, second, unlabelled;
  first.AddFile("1.jpg", "one").AddFile("1.cls", "1");
  second.AddFile("2.jpg", "two").AddFile("2.json", R"({"label": 0})").AddFile("3.jpg", "").AddFile("3.cls", "1");
  unlabelled.AddFile("a/4.png", "four").AddFile("a/4.txt", "text").AddFile("b/4.png", "another");
  ASSERT_TRUE(MakeDirectories("shards").ok());
  ASSERT_TRUE(WriteFile("shards/a.tar", first.Finish()).ok());
  ASSERT_TRUE(WriteFile("shards/b.tar", second.Finish()).ok());
  ASSERT_TRUE(WriteFile("one.tar", unlabelled.Finish()).ok());
  ASSERT_TRUE(WriteFile("list", "flat/1.jpg 1\nclasses/a/1.png 0\n").ok());
  struct Case {
    const char* path;
    bool labels;
    Strings classes;
    int64_t size;
  };
  for (const Case& one :
       {Case{"classes", true, {"a", "b"}, 3}, Case{"classes", false, {}, 3}, Case{"flat", true, {}, 2},
        Case{"mixed", false, {}, 2}, Case{"shards", true, {"0", "1"}, 3}, Case{"shards", false, {}, 3},
        Case{"one.tar", true, {"a", "b"}, 2}, Case{"list", true, {"0", "1"}, 2}}) {
    DatasetOptions options;
    options.labels = one.labels;
    const auto source = OpenDataset(one.path, Split::kTrain, options);
    ASSERT_TRUE(source.ok()) << source.status();
    ASSERT_TRUE(WritePack(**source, "d.tecpack").ok());
    const auto pack = Open("d.tecpack");
    ASSERT_NE(pack, nullptr);
    ASSERT_EQ(pack->size(), one.size) << one.path;
    EXPECT_EQ(Names(*pack), Names(**source));
    EXPECT_EQ(pack->classes(), one.classes) << one.path;
    for (int64_t i = 0; i < one.size; ++i) {
      EXPECT_EQ(pack->label(i), (*source)->label(i)) << one.path << " " << i;
      EXPECT_EQ(pack->file(i), std::filesystem::current_path() / "d.tecpack");
      const std::string bytes = *(*source)->Read(i);
      EXPECT_EQ(*pack->Read(i), bytes) << one.path << " " << i;
    }
  }
  ASSERT_TRUE(WritePack(*Open("classes"), "d.tecpack").ok());
  // Cut anywhere or with any bit of its index turned, it is refused.
  const std::string bytes = *ReadFile("d.tecpack");
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(ReadPackCatalogue(absl::string_view(bytes).substr(0, size)).ok()) << size;
  }
  const size_t index = bytes.find("TECCAT03");
  for (size_t i = index; i < bytes.size(); ++i) {
    std::string damaged = bytes;
    damaged[i] ^= 4;
    EXPECT_FALSE(ReadPackCatalogue(damaged).ok()) << i;
  }
}

TEST_F(DatasetTest, TheIndexIsUsedUntilAFolderChanges) {
  for (const char* name : {"d/b/2.jpg", "d/a/1.png"}) Touch(name);
  ASSERT_TRUE(MakeDirectories("index").ok());
  DatasetOptions options;
  options.index_folder = "index";
  const auto names = [&] {
    const auto dataset = OpenDataset("d", Split::kTrain, options);
    EXPECT_TRUE(dataset.ok()) << dataset.status();
    return Names(**dataset);
  };
  // A folder that has just changed is not trusted.
  EXPECT_EQ(names(), (Strings{"a/1.png", "b/2.jpg"}));
  Touch("d/b/3.jpg");
  EXPECT_EQ(names(), (Strings{"a/1.png", "b/2.jpg", "b/3.jpg"}));
  for (const char* folder : {"d", "d/a", "d/b"}) Touched(folder, 1000);
  EXPECT_EQ(names().size(), 3u);  // Writes the index.
  // What the index does not see: a change that leaves the times as they were. So it is in use.
  ASSERT_EQ(unlink("d/b/3.jpg"), 0);
  Touched("d/b", 1000);
  EXPECT_EQ(names(), (Strings{"a/1.png", "b/2.jpg", "b/3.jpg"}));
  EXPECT_EQ(OpenDataset("d", Split::kTrain, options).value()->classes(), (Strings{"a", "b"}));
  Touched("d/b", 1001);
  EXPECT_EQ(names(), (Strings{"a/1.png", "b/2.jpg"}));
}

TEST_F(DatasetTest, TheIndexKeepsTheDefectsOfShards) {
  testing::TarMaker tar;
  tar.AddFile("1.jpg", "one").AddFile("2.jpg", "two");
  const std::string bytes = tar.Finish();
  ASSERT_TRUE(MakeDirectories("d").ok());
  ASSERT_TRUE(WriteFile("d/a.tar", bytes.substr(0, 3 * 512)).ok());  // Ends after the header of 2.jpg.
  ASSERT_TRUE(WriteFile("d/b.tar", bytes).ok());
  for (const char* path : {"d/a.tar", "d/b.tar", "d"}) Touched(path, 1000);
  const std::string defect = "a.tar: a size of 3 bytes, where the archive ends after 0, in the header at byte 1024";
  DatasetOptions options;
  options.index_folder = "made/index";
  for (const std::string path : {"d", "d/a.tar"}) {
    for (const bool indexed : {false, true}) {
      ::testing::internal::CaptureStderr();
      const auto dataset = OpenDataset(path, Split::kTrain, options);
      const std::string log = ::testing::internal::GetCapturedStderr();
      ASSERT_TRUE(dataset.ok()) << dataset.status();
      EXPECT_EQ((*dataset)->size(), path == "d" ? 3 : 1);
      EXPECT_EQ((*dataset)->defects(), Strings{defect});
      EXPECT_NE(log.find("broken archive, of which pictures are lost: d/" + defect), std::string::npos) << log;
      if (indexed) continue;
      // What the index does not see: a change that leaves size and time as they were. So it is in use.
      ASSERT_TRUE(WriteFile("d/a.tar", std::string(3 * 512, 'x')).ok());
      for (const char* changed : {"d/a.tar", "d"}) Touched(changed, 1000);
    }
    ASSERT_TRUE(WriteFile("d/a.tar", bytes.substr(0, 3 * 512)).ok());
    for (const char* changed : {"d/a.tar", "d"}) Touched(changed, 1000);
  }
  // Repaired, it is read again.
  ASSERT_TRUE(WriteFile("d/a.tar", bytes).ok());
  Touched("d/a.tar", 1000);
  Touched("d", 1000);
  for (const std::string path : {"d", "d/a.tar"}) {
    const auto dataset = OpenDataset(path, Split::kTrain, options);
    ASSERT_TRUE(dataset.ok()) << dataset.status();
    EXPECT_EQ((*dataset)->size(), path == "d" ? 4 : 2);
    EXPECT_TRUE((*dataset)->defects().empty());
  }
}

// A shard that could not be opened for a while is missing from no index.
TEST_F(DatasetTest, NoIndexIsKeptOfWhatTheSystemCouldNotRead) {
  testing::TarMaker tar;
  tar.AddFile("1.jpg", "one");
  ASSERT_TRUE(MakeDirectories("d").ok());
  ASSERT_TRUE(WriteFile("d/a.tar", tar.Finish()).ok());
  ASSERT_EQ(symlink("../later", "d/b.tar"), 0);
  for (const char* path : {"d/a.tar", "d"}) Touched(path, 1000);
  DatasetOptions options;
  options.index_folder = "index";
  EXPECT_EQ(OpenDataset("d", Split::kTrain, options).status().code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(WriteFile("later", tar.Finish()).ok());
  Touched("later", 1000);
  const auto dataset = OpenDataset("d", Split::kTrain, options);
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ(Names(**dataset), (Strings{"a.tar/1.jpg", "b.tar/1.jpg"}));
}

// Packed files were written before the index knew of defects.
TEST(CatalogueTest, TheFirstVersionIsRead) {
  Catalogue catalogue;
  catalogue.classes = {"a", "b"};
  catalogue.containers = {"pack"};
  catalogue.AddRecord("x.jpg", 1, 0, 8, 3);
  std::string bytes = SerializeCatalogue(catalogue, {});
  bytes.resize(bytes.size() - 5 * 8);  // Empty lists and texts of later versions.
  bytes[7] = '1';
  const uint32_t crc =
      static_cast<uint32_t>(crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data() + 12), bytes.size() - 12));
  std::memcpy(&bytes[8], &crc, sizeof(crc));
  std::vector<Stamp> stamps;
  const auto read = ParseCatalogue(bytes, &stamps);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->name(0), "x.jpg");
  EXPECT_EQ(read->label(0), 1);
  EXPECT_TRUE(read->defects.empty());
  bytes[7] = '5';
  EXPECT_FALSE(ParseCatalogue(bytes, &stamps).ok());
}

// A large file whose middle, zeros, takes no place on the disk.
void WriteWithHole(const std::string& path, const std::string& begin, uint64_t hole, const std::string& end) {
  ASSERT_TRUE(WriteFile(path, begin).ok());
  ASSERT_EQ(truncate(path.c_str(), static_cast<off_t>(begin.size() + hole)), 0);
  const int fd = open(path.c_str(), O_WRONLY | O_APPEND);
  ASSERT_GE(fd, 0);
  EXPECT_EQ(write(fd, end.data(), end.size()), static_cast<ssize_t>(end.size()));
  close(fd);
}

// A file, a member of a shard and a record of a packed file; what is beside them can be read.
TEST_F(DatasetTest, AnOversizedImageIsRefusedBeforeMemoryIsTaken) {
  const uint64_t size = kMaxEncodedBytes + 512;
  Touch("files/a.jpg");
  WriteWithHole("files/b.jpg", "", size, "");

  using testing::TarMaker;
  const std::string header = TarMaker().Add('0', "b.jpg", "", absl::StrFormat("%011o", size)).unfinished();
  WriteWithHole("s.tar", TarMaker().AddFile("a.jpg", "files/a.jpg").unfinished() + header, size,
                TarMaker().AddFile("c.jpg", "c").Finish());

  Catalogue catalogue;
  catalogue.containers = {"pack"};
  catalogue.AddRecord("a.jpg", -1, 0, 8, 11);
  catalogue.AddRecord("b.jpg", -1, 0, 19, size);
  const std::string index = SerializeCatalogue(catalogue, {});
  const uint64_t place[2] = {19 + size, index.size()};
  WriteWithHole("p.tecpack", "TECPACK1files/a.jpg", size,
                index + std::string(reinterpret_cast<const char*>(place), sizeof(place)) + "TECPACKE");

  for (const char* path : {"files", "s.tar", "p.tecpack"}) {
    const auto dataset = Open(path);
    ASSERT_NE(dataset, nullptr);
    std::string bytes;
    const absl::Status status = dataset->Read(1, &bytes);
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << path;
    EXPECT_EQ(status.message(), "the encoded image has 268435968 bytes, more than 268435456") << path;
    EXPECT_LT(bytes.capacity(), 1000u) << path;
    EXPECT_EQ(*dataset->Read(0), "files/a.jpg") << path;
  }
  EXPECT_EQ(*Open("s.tar")->Read(2), "c");
  // At exactly the limit it is read.
  ASSERT_EQ(truncate("files/b.jpg", kMaxEncodedBytes), 0);
  std::string bytes;
  EXPECT_TRUE(Open("files")->Read(1, &bytes).ok());
  EXPECT_EQ(bytes.size(), kMaxEncodedBytes);
}

}  // namespace
}  // namespace tec
