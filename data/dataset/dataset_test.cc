#include "data/dataset/dataset.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

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
            "no held-out pictures in d/train: looked for folders val/ and test/");
}

TEST_F(DatasetTest, AClassCalledTrainIsNoSplit) {
  for (const char* name : {"v/bus/1.jpg", "v/train/2.jpg", "f/train/1.jpg", "f/val/2.jpg"}) Touch(name);
  EXPECT_EQ(Open("v")->classes(), (Strings{"bus", "train"}));
  EXPECT_EQ(Names(*Open("f")), Strings{"1.jpg"});
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
}

TEST_F(DatasetTest, ListErrorsNameTheLine) {
  const auto error = [this](const std::string& text) {
    EXPECT_TRUE(WriteFile("list", text).ok());
    return Error("list", absl::StatusCode::kInvalidArgument);
  };
  EXPECT_EQ(error("a.jpg\t1\nb.jpg\n"), "list:2: line 1 has a label and line 2 has none: all lines need one, or none");
  EXPECT_EQ(error("# x\na.jpg\tcat\n"), "list:2: label \"cat\" is not a whole number from 0");
  EXPECT_EQ(error("a.jpg\t-1\n"), "list:1: label \"-1\" is not a whole number from 0");
  EXPECT_EQ(error("a.jpg 99999999999\n"), "list:1: the label is too large");
  EXPECT_EQ(error("a.jpg 10000000\n"), "list:1: label 10000000 is not below 10000000");
  EXPECT_EQ(error("\t1\n"), "list:1: no path before the label");
  EXPECT_EQ(error(std::string("a\0b", 3)), "list:1: a zero byte: this is no list of files");
  ASSERT_TRUE(WriteFile("list", "# nothing\n").ok());
  EXPECT_EQ(Error("list", absl::StatusCode::kNotFound), "no pictures in list: looked for a list file, one path a line");
}

TEST_F(DatasetTest, ErrorsSayWhatWasLookedFor) {
  EXPECT_EQ(
      Error("nowhere", absl::StatusCode::kNotFound),
      "no data set at nowhere: looked for a folder with train/, a folder of class folders, a folder of pictures, or a "
      "list file");
  ASSERT_TRUE(MakeDirectories("empty").ok());
  const std::string extensions = "files ending in .jpg .jpeg .png .ppm .bmp .pgm .tif .tiff .webp";
  EXPECT_EQ(
      Error("empty", absl::StatusCode::kNotFound),
      "no pictures in empty: looked for a folder train/, class folders with pictures and for pictures directly in "
      "it, " +
          extensions);
  Touch("text/a/notes.txt");
  EXPECT_EQ(Error("text", absl::StatusCode::kNotFound),
            "no pictures in text: looked for a folder train/, class folders with pictures and for pictures directly in "
            "it, " +
                extensions);
  ASSERT_TRUE(MakeDirectories("split/train").ok());
  EXPECT_EQ(Error("split", absl::StatusCode::kNotFound),
            "no pictures in split/train: looked for class folders with pictures and for pictures directly in it, " +
                extensions);
  Touch("holes/a/1.jpg");
  ASSERT_TRUE(MakeDirectories("holes/b").ok());
  EXPECT_EQ(Error("holes", absl::StatusCode::kInvalidArgument),
            "1 of 2 class folders of holes without a picture: b; remove them or fill them, or the labels would shift "
            "between data sets (pictures are " +
                extensions + ")");
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

}  // namespace
}  // namespace tec
