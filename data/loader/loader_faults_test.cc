// What happens to the files of a data set while it is read: folders that are away, archives that shrink, many that are
// bad.

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "data/dataset/pack.h"
#include "data/image/encode.h"
#include "data/loader/loader.h"
#include "data/testing/make_tar.h"
#include "data/testing/make_zip.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tec/base/file.h"
#include "tec/base/random.h"
#include "tec/base/steady_seconds.h"

namespace tec {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kImages = 12;

std::string Picture(int64_t number) {
  RandomStream stream(RandomKey{1, RandomPurpose::kPictures, 0, static_cast<uint64_t>(number)});
  Image image(24, 24);
  for (size_t b = 0; b < image.size_bytes(); ++b) image.data()[b] = stream.NextUint32() >> 24;
  return *EncodePng(image);
}

using Batches = std::vector<std::vector<uint8_t>>;

class LoaderFaultsTest : public ::testing::Test {
 protected:
  LoaderFaultsTest() {
    std::string pattern = ::testing::TempDir() + "/loader_faultsXXXXXX";
    base_ = mkdtemp(pattern.data());
    folder_ = base_ + "/data";
    tec::testing::TarMaker tar;
    tec::testing::ZipMaker zip;
    std::string list;
    for (int64_t i = 0; i < kImages; ++i) {
      const std::string name = absl::StrCat(i % 2 == 0 ? "a/" : "b/", i + 10, ".png");
      EXPECT_TRUE(MakeDirectories(folder_ + "/classes/" + name.substr(0, 1)).ok());
      EXPECT_TRUE(WriteFile(folder_ + "/classes/" + name, Picture(i)).ok());
      tar.AddFile(name, Picture(i));
      zip.Add(name, Picture(i));
      absl::StrAppend(&list, folder_, "/classes/", name, " ", i % 2, "\n");
    }
    EXPECT_TRUE(WriteFile(folder_ + "/a.tar", tar.Finish()).ok());
    EXPECT_TRUE(WriteFile(folder_ + "/a.zip", zip.Finish()).ok());
    EXPECT_TRUE(WriteFile(base_ + "/list.txt", list).ok());
    EXPECT_TRUE(WritePack(**OpenDataset(folder_ + "/classes", Split::kWhole), folder_ + "/a.tecpack").ok());
  }

  static std::unique_ptr<Loader> Open(const std::string& path,
                                      const std::function<void(LoaderOptions*)>& change = nullptr) {
    absl::StatusOr<std::unique_ptr<Dataset>> dataset = OpenDataset(path, Split::kWhole);
    EXPECT_TRUE(dataset.ok()) << dataset.status();
    LoaderOptions options;
    options.batch_size = 2;
    options.threads = 2;
    options.max_bad_fraction = 0.5;
    if (change) change(&options);
    TrainTransform::Options small;
    small.size = 16;
    absl::StatusOr<std::unique_ptr<Loader>> loader =
        Loader::Create(*std::move(dataset), std::make_shared<TrainTransform>(small), options);
    EXPECT_TRUE(loader.ok()) << loader.status();
    return *std::move(loader);
  }

  // Of an epoch, up to the first error.
  static absl::StatusOr<Batches> Epoch(Loader* loader) {
    Batches batches;
    loader->StartEpoch(0);
    while (true) {
      const absl::StatusOr<const Batch*> batch = loader->Next();
      if (!batch.ok()) return batch.status();
      if (*batch == nullptr) return batches;
      batches.emplace_back((*batch)->pixels.begin(), (*batch)->pixels.end());
    }
  }

  std::string base_, folder_;
};

TEST_F(LoaderFaultsTest, AFolderThatIsAwayForTwoSecondsIsWaitedFor) {
  for (const char* path : {"/data/classes", "/list.txt", "/data/a.tar", "/data/a.zip"}) {
    SCOPED_TRACE(path);
    const auto loader = Open(base_ + path);
    const absl::StatusOr<Batches> expected = Epoch(loader.get());
    ASSERT_TRUE(expected.ok()) << expected.status();
    for (const bool mount_point_stays : {false, true}) {
      std::filesystem::rename(folder_, base_ + "/away");
      if (mount_point_stays) {
        std::filesystem::create_directories(folder_ + "/classes/a");
        std::filesystem::create_directories(folder_ + "/classes/b");
      }
      std::thread restorer([this] {
        std::this_thread::sleep_for(std::chrono::seconds(2));
        std::filesystem::remove_all(folder_);
        std::filesystem::rename(base_ + "/away", folder_);
      });
      const absl::StatusOr<Batches> got = Epoch(loader.get());
      restorer.join();
      ASSERT_TRUE(got.ok()) << got.status();
      EXPECT_TRUE(*got == *expected);
      EXPECT_EQ(loader->bad_count(), 0);
    }
  }
}

TEST_F(LoaderFaultsTest, AFolderThatStaysAwayIsNamedAndNoPictureIsBlamed) {
  for (const char* path : {"/data/classes", "/list.txt", "/data/a.tar"}) {
    SCOPED_TRACE(path);
    const auto loader = Open(base_ + path);
    ASSERT_TRUE(Epoch(loader.get()).ok());
    std::filesystem::rename(folder_, base_ + "/away");
    const absl::Status status = Epoch(loader.get()).status();
    std::filesystem::rename(base_ + "/away", folder_);
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("is not there any more: cannot open " + folder_));
    EXPECT_EQ(loader->bad_count(), 0);
  }
}

// The system's count of what this process has read, in bytes.
int64_t BytesRead() {
  std::ifstream counters("/proc/self/io");
  std::string name;
  int64_t count = -1;
  EXPECT_TRUE(counters >> name >> count && name == "rchar:");
  return count;
}

// Each picture looked up in a list that is read anew would be 22 seconds for 70,000 of them.
TEST_F(LoaderFaultsTest, ManyBadPicturesAreListedWithoutReadingTheListAgain) {
  constexpr int64_t kBad = 1000;
  const std::string folder = base_ + "/many/a";
  ASSERT_TRUE(MakeDirectories(folder).ok());
  for (int64_t i = 0; i < kBad; ++i) {  // After each comes one that takes its place.
    std::ofstream(absl::StrCat(folder, "/", i, ".jpg")) << "junk";
    std::filesystem::copy_file(folder_ + "/classes/a/10.png", absl::StrCat(folder, "/", i, ".png"));
  }
  const std::string list = base_ + "/bad_images.txt";
  const auto loader = Open(base_ + "/many", [&list](LoaderOptions* options) {
    options->max_bad_fraction = 1;
    options->bad_images_path = list;
  });
  const int64_t start = BytesRead();
  ASSERT_TRUE(Epoch(loader.get()).ok());
  const int64_t listed = BytesRead();
  EXPECT_EQ(loader->bad_count(), kBad);
  ASSERT_TRUE(Epoch(loader.get()).ok());  // The same files, of which none is new to the list.
  const int64_t read = (listed - start) - (BytesRead() - listed);
  const std::string lines = *ReadFile(list);
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), kBad);
  EXPECT_LT(read, 10 * static_cast<int64_t>(lines.size()));
}

// Read from a mapping, they would end the program by SIGBUS.
TEST_F(LoaderFaultsTest, AnArchiveThatBecomesShorterEndsTheEpochAndNoPictureIsBlamed) {
  for (const char* name : {"/data/a.tecpack", "/data/a.tar", "/data/a.zip"}) {
    SCOPED_TRACE(name);
    const auto loader = Open(base_ + name);
    ASSERT_TRUE(Epoch(loader.get()).ok());
    ASSERT_EQ(truncate((base_ + name).c_str(), 3000), 0);
    const absl::Status status = Epoch(loader.get()).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("has become shorter"));
    EXPECT_EQ(loader->bad_count(), 0);
  }
}

// Where a thread notes down what it has made, memory may be missing, too.
TEST_F(LoaderFaultsTest, AnExceptionOfAThreadIsAStatus) {
  class Throwing : public Dataset {
   public:
    int64_t size() const override { return 8; }
    int32_t label(int64_t index) const override {
      if (index == 5) throw std::bad_alloc();
      return -1;
    }
    std::string name(int64_t index) const override { return absl::StrCat(index); }
    const std::vector<std::string>& classes() const override { return classes_; }
    using Dataset::Read;
    absl::Status Read(int64_t index, std::string* bytes) const override {
      *bytes = Picture(index);
      return absl::OkStatus();
    }

   private:
    const std::vector<std::string> classes_;
  };
  LoaderOptions options;
  options.batch_size = 2;
  options.threads = 2;
  TrainTransform::Options small;
  small.size = 16;
  const auto loader = Loader::Create(std::make_shared<Throwing>(), std::make_shared<TrainTransform>(small), options);
  ASSERT_TRUE(loader.ok()) << loader.status();
  EXPECT_EQ(Epoch(loader->get()).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(Epoch(loader->get()).status().code(), absl::StatusCode::kResourceExhausted);
}

TEST_F(LoaderFaultsTest, AFileThatIsGoneFromItsFolderIsABadOne) {
  const auto loader = Open(folder_ + "/classes");
  std::filesystem::remove(folder_ + "/classes/a/10.png");
  ASSERT_TRUE(Epoch(loader.get()).ok());
  ASSERT_EQ(loader->bad_count(), 1);
  EXPECT_EQ(loader->bad_images()[0].name, "a/10.png");
}

// The prefix of its paths is wrong, say: nothing is waited for.
TEST_F(LoaderFaultsTest, AListOfFoldersThatNeverWereIsToldAtOnce) {
  ASSERT_TRUE(WriteFile(base_ + "/wrong.txt",
                        absl::StrCat("none/1.png\nnone/2.png\nnone/3.png\n", folder_, "/classes/a/10.png\n"))
                  .ok());
  const auto loader = Open(base_ + "/wrong.txt");
  const double start = SteadySeconds();
  const absl::Status status = Epoch(loader.get()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("none/1.png: "));
  EXPECT_LT(SteadySeconds() - start, 2);
}

}  // namespace
}  // namespace tec
