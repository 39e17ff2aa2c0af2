#include "data/loader/loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <limits>
#include <map>
#include <new>
#include <thread>
#include <vector>

#include "data/image/encode.h"
#include "tec/base/file.h"
#include "tec/base/random.h"

namespace tec {
namespace {

// Encoded pictures in memory, some of them broken, as if read from files of different speed.
class MemoryDataset : public Dataset {
 public:
  explicit MemoryDataset(int64_t size, std::vector<int64_t> bad = {}) : classes_{"even", "odd"} {
    for (int64_t i = 0; i < size; ++i) {
      RandomStream stream(RandomKey{1, RandomPurpose::kPictures, 0, static_cast<uint64_t>(i)});
      Image image(20 + stream.UniformInt(20), 20 + stream.UniformInt(20));
      for (size_t b = 0; b < image.size_bytes(); ++b) image.data()[b] = stream.NextUint32() >> 24;
      images_.push_back(*EncodePng(image));
    }
    for (const int64_t index : bad) images_[index] = "no image";
  }

  int64_t size() const override { return images_.size(); }
  int32_t label(int64_t index) const override { return index % 2; }
  std::string name(int64_t index) const override { return name_ + std::to_string(index); }
  const std::vector<std::string>& classes() const override { return classes_; }
  using Dataset::Read;
  absl::Status Read(int64_t index, std::string* bytes) const override {
    if (slow_) std::this_thread::sleep_for(std::chrono::microseconds(index * 7919 % 13 * 100));
    *bytes = images_[index];
    return absl::OkStatus();
  }
  void set_slow() { slow_ = true; }
  void set_name(const std::string& name) { name_ = name; }

 private:
  std::vector<std::string> classes_;
  std::vector<std::string> images_;
  bool slow_ = false;
  std::string name_ = "picture";
};

LoaderOptions Options(int64_t batch_size, int threads = 2) {
  LoaderOptions options;
  options.batch_size = batch_size;
  options.threads = threads;
  options.seed = 5;
  options.max_bad_fraction = 0.5;
  return options;
}

std::shared_ptr<const Transform> SmallTransform() {
  TrainTransform::Options options;
  options.size = 16;
  return std::make_shared<TrainTransform>(options);
}

std::unique_ptr<Loader> Make(std::shared_ptr<const Dataset> dataset, const LoaderOptions& options) {
  auto loader = Loader::Create(std::move(dataset), SmallTransform(), options);
  EXPECT_TRUE(loader.ok()) << loader.status();
  return *std::move(loader);
}

struct Copy {
  int64_t number, count;
  std::vector<uint8_t> pixels;
  std::vector<int64_t> indices, sources;
  std::vector<int32_t> labels;
  bool operator==(const Copy& o) const {
    return number == o.number && count == o.count && pixels == o.pixels && indices == o.indices &&
           sources == o.sources && labels == o.labels;
  }
};

std::vector<Copy> Rest(Loader* loader) {
  std::vector<Copy> all;
  while (true) {
    const absl::StatusOr<const Batch*> batch = loader->Next();
    EXPECT_TRUE(batch.ok()) << batch.status();
    if (!batch.ok() || *batch == nullptr) return all;
    const Batch& b = **batch;
    EXPECT_EQ(b.pixels.size(), static_cast<size_t>(b.count * b.size * b.size * b.channels));
    all.push_back({b.number, b.count, {b.pixels.begin(), b.pixels.end()}, b.indices, b.sources, b.labels});
  }
}

std::vector<Copy> Epoch(Loader* loader, int64_t epoch, int64_t first_batch = 0) {
  loader->StartEpoch(epoch, first_batch);
  return Rest(loader);
}

TEST(LoaderTest, OneAndFourThreadsGiveTheSameBatches) {
  auto dataset = std::make_shared<MemoryDataset>(37, std::vector<int64_t>{3, 4, 36});
  dataset->set_slow();
  const auto one = Make(dataset, Options(5, 1)), four = Make(dataset, Options(5, 4));
  for (int64_t epoch = 0; epoch < 2; ++epoch) {
    const std::vector<Copy> batches = Epoch(one.get(), epoch);
    EXPECT_EQ(batches.size(), 7u);
    EXPECT_TRUE(batches == Epoch(four.get(), epoch));
  }
  EXPECT_EQ(one->bad_images().size(), four->bad_images().size());
}

TEST(LoaderTest, BatchesAreWhatTheTransformMakes) {
  const auto dataset = std::make_shared<MemoryDataset>(12);
  const auto loader = Make(dataset, Options(4));
  const auto transform = SmallTransform();
  TransformScratch scratch;
  std::vector<uint8_t> expected(16 * 16 * 3);
  for (const Copy& batch : Epoch(loader.get(), 3)) {
    for (int64_t i = 0; i < batch.count; ++i) {
      const auto index = static_cast<uint64_t>(batch.indices[i]);
      ASSERT_TRUE(transform->Apply(*dataset->Read(index), SampleKey{5, 3, index}, &scratch, expected.data()).ok());
      EXPECT_EQ(std::memcmp(expected.data(), &batch.pixels[i * expected.size()], expected.size()), 0);
      EXPECT_EQ(batch.sources[i], batch.indices[i]);
      EXPECT_EQ(batch.labels[i], batch.indices[i] % 2);
    }
  }
}

TEST(LoaderTest, EpochsDifferAndRepeat) {
  const auto loader = Make(std::make_shared<MemoryDataset>(12), Options(4));
  const std::vector<Copy> first = Epoch(loader.get(), 0), second = Epoch(loader.get(), 1);
  EXPECT_FALSE(first == second);
  EXPECT_TRUE(first == Epoch(loader.get(), 0));
}

TEST(LoaderTest, StartsAnywhereInAnEpoch) {
  const auto dataset = std::make_shared<MemoryDataset>(30);
  const auto loader = Make(dataset, Options(4));
  const std::vector<Copy> whole = Epoch(loader.get(), 2);
  ASSERT_EQ(whole.size(), 7u);
  for (int64_t first = 0; first <= 7; ++first) {
    const std::vector<Copy> rest = Epoch(Make(dataset, Options(4)).get(), 2, first);
    EXPECT_TRUE(rest == std::vector<Copy>(whole.begin() + first, whole.end())) << first;
  }
  // Also after leaving another epoch in the middle.
  loader->StartEpoch(5);
  ASSERT_TRUE(loader->Next().ok());
  EXPECT_TRUE(Epoch(loader.get(), 2, 3) == std::vector<Copy>(whole.begin() + 3, whole.end()));
}

// Sample ids and crops of 1, 2 and 4 ranks are the same, in the same order.
TEST(LoaderTest, RanksShareOneEpoch) {
  const auto dataset = std::make_shared<MemoryDataset>(24, std::vector<int64_t>{7});
  const auto flatten = [](const std::vector<Copy>& batches) {
    std::vector<std::pair<int64_t, std::vector<uint8_t>>> images;
    for (const Copy& batch : batches) {
      const size_t bytes = batch.pixels.size() / batch.count;
      for (int64_t i = 0; i < batch.count; ++i) {
        images.emplace_back(batch.indices[i], std::vector<uint8_t>(batch.pixels.begin() + i * bytes,
                                                                   batch.pixels.begin() + (i + 1) * bytes));
      }
    }
    return images;
  };
  const auto one = flatten(Epoch(Make(dataset, Options(4)).get(), 1));
  ASSERT_EQ(one.size(), 24u);
  for (const int64_t world : {2, 4}) {
    std::vector<std::pair<int64_t, std::vector<uint8_t>>> merged(24);
    for (int64_t rank = 0; rank < world; ++rank) {
      LoaderOptions options = Options(3);
      options.world_size = world;
      options.rank = rank;
      const auto mine = flatten(Epoch(Make(dataset, options).get(), 1));
      ASSERT_EQ(mine.size(), 24 / world);
      for (size_t i = 0; i < mine.size(); ++i) merged[rank + i * world] = mine[i];
    }
    EXPECT_TRUE(merged == one) << world;
  }
}

TEST(LoaderTest, EvaluationShowsEveryImageOnceInOrder) {
  LoaderOptions options = Options(4);
  options.training = false;
  const auto loader =
      *Loader::Create(std::make_shared<MemoryDataset>(10), std::make_shared<EvalTransform>(16), options);
  EXPECT_EQ(loader->batches_per_epoch(), 3);
  std::vector<int64_t> indices;
  for (const Copy& batch : Epoch(loader.get(), 0)) {
    indices.insert(indices.end(), batch.indices.begin(), batch.indices.end());
  }
  EXPECT_EQ(indices, (std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
}

TEST(LoaderTest, UnreadableImagesAreReplacedByTheNext) {
  // 4 and 5 in a row, and the last one, whose next is the first.
  const auto dataset = std::make_shared<MemoryDataset>(10, std::vector<int64_t>{4, 5, 9});
  LoaderOptions options = Options(10);
  options.training = false;
  const auto loader = Make(dataset, options);
  const std::vector<Copy> batches = Epoch(loader.get(), 2);
  ASSERT_EQ(batches.size(), 1u);
  EXPECT_EQ(batches[0].indices, (std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
  EXPECT_EQ(batches[0].sources, (std::vector<int64_t>{0, 1, 2, 3, 6, 6, 6, 7, 8, 0}));
  EXPECT_EQ(batches[0].labels, (std::vector<int32_t>{0, 1, 0, 1, 0, 0, 0, 1, 0, 0}));
  const std::vector<BadImage> bad = loader->bad_images();
  ASSERT_EQ(bad.size(), 3u);
  EXPECT_EQ(bad[0].index, 4);
  EXPECT_EQ(bad[0].name, "picture4");
  EXPECT_EQ(bad[0].reason.message(), "not an image: no known format by its first bytes");
  EXPECT_EQ(bad[2].index, 9);

  // The crop is that of the replaced image's key.
  TransformScratch scratch;
  std::vector<uint8_t> expected(16 * 16 * 3);
  ASSERT_TRUE(SmallTransform()->Apply(*dataset->Read(6), SampleKey{5, 2, 4}, &scratch, expected.data()).ok());
  EXPECT_EQ(std::memcmp(expected.data(), &batches[0].pixels[4 * expected.size()], expected.size()), 0);
  // A second epoch meets the same images: they count once.
  Epoch(loader.get(), 3);
  EXPECT_EQ(loader->bad_images().size(), 3u);
}

TEST(LoaderTest, UnreadableImagesAreListedInAFileOnce) {
  const auto dataset = std::make_shared<MemoryDataset>(10, std::vector<int64_t>{4, 9});
  LoaderOptions options = Options(10);
  options.bad_images_path = ::testing::TempDir() + "/bad_images.txt";
  std::remove(options.bad_images_path.c_str());
  const std::string reason = "\tnot an image: no known format by its first bytes\n";
  for (int run = 0; run < 2; ++run) {
    const auto loader = Make(dataset, options);
    Epoch(loader.get(), 0);
    Epoch(loader.get(), 1);
    const auto list = ReadFile(options.bad_images_path);
    ASSERT_TRUE(list.ok()) << list.status();
    EXPECT_EQ(*list, "picture4" + reason + "picture9" + reason);
  }
}

TEST(LoaderTest, AListThatIsNoFileHoldsNothingUp) {
  LoaderOptions options = Options(10);
  options.bad_images_path = ::testing::TempDir() + "/fifo.txt";
  std::remove(options.bad_images_path.c_str());
  ASSERT_EQ(mkfifo(options.bad_images_path.c_str(), 0600), 0);
  const auto loader = Make(std::make_shared<MemoryDataset>(10, std::vector<int64_t>{4}), options);
  Epoch(loader.get(), 0);
  EXPECT_EQ(loader->bad_count(), 1);
}

TEST(LoaderTest, NamesOfAnyBytesAreListedOnceAndFoundAgain) {
  LoaderOptions options = Options(10);
  options.bad_images_path = ::testing::TempDir() + "/odd_names.txt";
  std::remove(options.bad_images_path.c_str());
  const std::string reason = "\tnot an image: no known format by its first bytes\n";
  std::string expected;
  for (const auto& [name, listed] :
       std::vector<std::pair<std::string, std::string>>{{"a\tb", "a\\x09b"},
                                                        {"a\nb\x1b[31m", "a\\x0ab\\x1b[31m"},
                                                        {"a\\x09b", "a\\\\x09b"},
                                                        {"caf\xE9", "caf\\xe9"}}) {
    const auto dataset = std::make_shared<MemoryDataset>(10, std::vector<int64_t>{4});
    dataset->set_name(name);
    for (int run = 0; run < 2; ++run) {
      const auto loader = Make(dataset, options);
      EXPECT_EQ(loader->bad_count(), run) << name;  // The second run knows it from the list.
      Epoch(loader.get(), 0);
    }
    expected += listed + "4" + reason;
  }
  EXPECT_EQ(*ReadFile(options.bad_images_path), expected);
}

// Of a folder on the disk, as it is read in the end.
TEST(LoaderTest, TooManyOpenFilesAreWaitedForAndNoDamage) {
  const std::string folder = ::testing::TempDir() + "/open_files";
  ASSERT_TRUE(MakeDirectories(folder).ok());
  const MemoryDataset pictures(12);
  for (int64_t i = 0; i < 12; ++i) {
    std::string bytes;
    ASSERT_TRUE(pictures.Read(i, &bytes).ok());
    ASSERT_TRUE(WriteFile(folder + "/" + std::string(1, static_cast<char>('a' + i)) + ".png", bytes).ok());
  }
  absl::StatusOr<std::unique_ptr<Dataset>> opened = OpenDataset(folder, Split::kTrain);
  ASSERT_TRUE(opened.ok()) << opened.status();
  const std::shared_ptr<const Dataset> dataset = *std::move(opened);
  const std::vector<Copy> expected = Epoch(Make(dataset, Options(4)).get(), 0);
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit none = before;
  none.rlim_cur = 0;
  const auto loader = Make(dataset, Options(4));
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  EXPECT_EQ(dataset->Read(0).status().code(), absl::StatusCode::kResourceExhausted);
  std::thread restorer([&before] {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    setrlimit(RLIMIT_NOFILE, &before);
  });
  const std::vector<Copy> got = Epoch(loader.get(), 0);
  restorer.join();
  EXPECT_EQ(got, expected);
  EXPECT_EQ(loader->bad_count(), 0);

  // Some do not pass: the run ends, and no picture is blamed or replaced.
  const auto stuck = Make(dataset, Options(4));
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  stuck->StartEpoch(0);
  const absl::Status status = stuck->Next().status();
  setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("Too many open files"));
  EXPECT_EQ(stuck->bad_count(), 0);
}

TEST(LoaderTest, OnlyWhatIsNewInTheListIsRead) {
  LoaderOptions options = Options(10);
  options.max_bad_fraction = 1;
  options.bad_images_path = ::testing::TempDir() + "/incremental.txt";
  std::remove(options.bad_images_path.c_str());
  const auto loader = Make(std::make_shared<MemoryDataset>(20, std::vector<int64_t>{3, 9, 13}), options);
  // Another rank has met one of them by now.
  ASSERT_TRUE(WriteFile(options.bad_images_path, "picture9\tfirst\n").ok());
  Epoch(loader.get(), 0);
  const std::string list = *ReadFile(options.bad_images_path);
  EXPECT_THAT(list, ::testing::StartsWith("picture9\tfirst\n"));
  EXPECT_EQ(list.find("picture9", 1), std::string::npos) << list;
  EXPECT_NE(list.find("picture3\t"), std::string::npos) << list;
  EXPECT_NE(list.find("picture13\t"), std::string::npos) << list;
}

TEST(LoaderTest, StopsAboveTheCeilingAtTheSameBatchWithAnyThreads) {
  const auto dataset = std::make_shared<MemoryDataset>(20, std::vector<int64_t>{9, 13, 14});
  for (const int threads : {1, 4}) {
    LoaderOptions options = Options(4, threads);
    options.training = false;
    options.max_bad_fraction = 0.1;  // Two of 20.
    const auto loader = Make(dataset, options);
    loader->StartEpoch(0);
    for (int batch = 0; batch < 3; ++batch) ASSERT_TRUE(loader->Next().ok());
    for (int call = 0; call < 2; ++call) {
      const absl::Status status = loader->Next().status();
      EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
      EXPECT_EQ(status.message(),
                "3 of 20 images cannot be read; at most 2 may be replaced by others (max_bad_fraction 0.1):\n"
                "  picture9: not an image: no known format by its first bytes\n"
                "  picture13: not an image: no known format by its first bytes\n"
                "  picture14: not an image: no known format by its first bytes");
    }
    options.max_bad_fraction = 0.15;  // Exactly three.
    EXPECT_EQ(Epoch(Make(dataset, options).get(), 0).size(), 5u);
  }
}

TEST(LoaderTest, OneUnreadableImageIsLetPassUnlessNoneIsAllowed) {
  LoaderOptions options = Options(4);
  options.max_bad_fraction = 0.001;  // Less than one of 20.
  EXPECT_EQ(Epoch(Make(std::make_shared<MemoryDataset>(20, std::vector<int64_t>{9}), options).get(), 0).size(), 5u);
  const auto fails = [&](const std::vector<int64_t>& bad) {
    const auto loader = Make(std::make_shared<MemoryDataset>(20, bad), options);
    loader->StartEpoch(0);
    for (int batch = 0; batch < 5; ++batch) {
      if (!loader->Next().ok()) return true;
    }
    return false;
  };
  EXPECT_TRUE(fails({9, 13}));
  options.max_bad_fraction = 0;
  EXPECT_TRUE(fails({9}));
}

TEST(LoaderTest, WhatAnEarlierRunListedCountsUnlessItIsMended) {
  const auto dataset = std::make_shared<MemoryDataset>(20, std::vector<int64_t>{9, 13});
  LoaderOptions options = Options(4);
  options.bad_images_path = ::testing::TempDir() + "/listed.txt";
  // 3 has been mended, "other" is no image of this data set.
  const std::string list = "picture9\tx\npicture3\tx\nother\tx\n";
  ASSERT_TRUE(WriteFile(options.bad_images_path, list).ok());
  const auto loader = Make(dataset, options);
  ASSERT_EQ(loader->bad_count(), 1);
  EXPECT_EQ(loader->bad_images()[0].name, "picture9");
  Epoch(loader.get(), 0);
  EXPECT_EQ(loader->bad_count(), 2);
  EXPECT_EQ(*ReadFile(options.bad_images_path), list + "picture13\tnot an image: no known format by its first bytes\n");
  // Two are more than the one allowed, and no batch is needed to say so.
  options.max_bad_fraction = 0.05;
  const auto again = Make(dataset, options);
  again->StartEpoch(0);
  EXPECT_EQ(again->Next().status().code(), absl::StatusCode::kDataLoss);
}

// As the training loops do it: each rank learns what the others have met.
TEST(LoaderTest, OneCeilingForAllRanks) {
  const auto dataset = std::make_shared<MemoryDataset>(24, std::vector<int64_t>{2, 7, 12, 17});
  LoaderOptions options = Options(6);
  options.training = false;  // Rank 0 has the even images, rank 1 the odd.
  options.world_size = 2;
  options.max_bad_fraction = 0.125;  // Three of 24.
  std::vector<std::unique_ptr<Loader>> ranks;
  for (options.rank = 0; options.rank < 2; ++options.rank) {
    ranks.push_back(Make(dataset, options));
    EXPECT_EQ(Epoch(ranks.back().get(), 0).size(), 2u);
    EXPECT_EQ(ranks.back()->bad_count(), 2);
  }
  ranks[0]->CountBadOfOthers({2, 7});
  EXPECT_EQ(ranks[0]->bad_count(), 3);
  EXPECT_EQ(Epoch(ranks[0].get(), 1).size(), 2u);
  for (auto& rank : ranks) {
    rank->CountBadOfOthers({2, 7, 12, 17});
    EXPECT_EQ(rank->bad_count(), 4);
    rank->StartEpoch(2);
    EXPECT_EQ(rank->Next().status().code(), absl::StatusCode::kDataLoss);
  }
}

TEST(LoaderTest, NothingReadableIsAnError) {
  for (const double fraction : {0.0, 0.001, 1.0}) {
    LoaderOptions options = Options(2);
    options.max_bad_fraction = fraction;
    const auto loader = Make(std::make_shared<MemoryDataset>(4, std::vector<int64_t>{0, 1, 2, 3}), options);
    loader->StartEpoch(0);
    EXPECT_EQ(loader->Next().status().code(), absl::StatusCode::kDataLoss) << fraction;
  }
}

TEST(LoaderTest, EndsAtAnyTime) {
  auto dataset = std::make_shared<MemoryDataset>(40);
  dataset->set_slow();
  Make(dataset, Options(4, 4));  // Before an epoch.
  for (int taken = 0; taken < 4; ++taken) {
    const auto loader = Make(dataset, Options(4, 4));
    loader->StartEpoch(0);
    for (int i = 0; i < taken; ++i) ASSERT_TRUE(loader->Next().ok());
    if (taken == 3) loader->StartEpoch(1);
  }
}

TEST(LoaderTest, TheBatchInUseIsNotOverwritten) {
  const auto loader = Make(std::make_shared<MemoryDataset>(40), Options(4, 4));
  loader->StartEpoch(0);
  const Batch* batch = *loader->Next();
  const std::vector<uint8_t> before(batch->pixels.begin(), batch->pixels.end());
  const std::vector<int64_t> indices = batch->indices;
  usleep(50000);  // Time for the threads to fill the ring, if they wrongly would.
  EXPECT_EQ(std::vector<uint8_t>(batch->pixels.begin(), batch->pixels.end()), before);
  EXPECT_EQ(batch->indices, indices);
}

// A batch that is copied by somebody else: it keeps its bytes till he is done, however it is given back.
TEST(LoaderTest, ABatchThatIsStillReadIsNotGivenBack) {
  const auto dataset = std::make_shared<MemoryDataset>(40);
  const std::vector<Copy> expected = Epoch(Make(dataset, Options(4)).get(), 0);
  std::vector<std::string> order;
  LoaderOptions options = Options(4);
  options.prefetch_batches = 1;
  options.released = [&order](absl::Span<uint8_t> pixels) {
    std::fill(pixels.begin(), pixels.end(), 0xFF);  // As floats, no numbers.
    order.push_back("given back");
  };
  auto loader = Make(dataset, options);
  const auto take = [&](size_t number) {
    const absl::StatusOr<const Batch*> batch = loader->Next();
    ASSERT_TRUE(batch.ok() && *batch != nullptr) << batch.status();
    loader->HoldUntil([&, pixels = (*batch)->pixels, number] {
      order.push_back("read");
      EXPECT_EQ(std::vector<uint8_t>(pixels.begin(), pixels.end()), expected[number].pixels) << number;
    });
  };
  loader->StartEpoch(0);
  for (size_t number = 0; number < expected.size(); ++number) take(number);
  ASSERT_EQ(*loader->Next(), nullptr);
  loader->StartEpoch(0);  // Nothing is in anybody's hands.
  take(0);
  loader->StartEpoch(0);
  take(0);
  loader.reset();
  ASSERT_EQ(order.size(), 2 * (expected.size() + 2));
  for (size_t i = 0; i < order.size(); ++i) EXPECT_EQ(order[i], i % 2 == 0 ? "read" : "given back") << i;
}

TEST(LoaderTest, BatchesAreWrittenIntoTheMemoryGivenAgainAndAgain) {
  std::vector<std::pair<uint8_t*, size_t>> given;
  int alive = 0;
  LoaderOptions options = Options(4, 2);
  options.allocate = [&](size_t bytes) {
    ++alive;
    std::shared_ptr<uint8_t> memory(new uint8_t[bytes], [&alive](uint8_t* p) {
      --alive;
      delete[] p;
    });
    given.emplace_back(memory.get(), bytes);
    return memory;
  };
  const auto dataset = std::make_shared<MemoryDataset>(40);
  auto loader = Make(dataset, options);
  const std::vector<Copy> expected = Epoch(Make(dataset, Options(4, 2)).get(), 0);
  loader->StartEpoch(0);
  std::map<const uint8_t*, int> used;
  for (const Copy& copy : expected) {
    const Batch* batch = *loader->Next();
    ++used[batch->pixels.data()];
    EXPECT_EQ(std::vector<uint8_t>(batch->pixels.begin(), batch->pixels.end()), copy.pixels);
  }
  ASSERT_EQ(static_cast<int>(given.size()), options.prefetch_batches + 1);
  EXPECT_EQ(used.size(), given.size());
  for (const auto& [memory, bytes] : given) {
    EXPECT_EQ(bytes, 4u * 16 * 16 * 3);
    EXPECT_GE(used[memory], 3);  // Ten batches.
  }
  loader.reset();
  EXPECT_EQ(alive, 0);
}

TEST(LoaderTest, MemoryThatIsRefusedIsAStatus) {
  LoaderOptions options = Options(4);
  options.allocate = [](size_t) -> std::shared_ptr<uint8_t> { throw std::bad_alloc(); };
  const auto loader = Loader::Create(std::make_shared<MemoryDataset>(40), SmallTransform(), options);
  EXPECT_EQ(loader.status().code(), absl::StatusCode::kResourceExhausted);
}

// From the file to the batch in other channels than RGB.
TEST(LoaderTest, OtherChannels) {
  const auto dataset = std::make_shared<MemoryDataset>(8);
  for (const int channels : {1, 2}) {
    TrainTransform::Options transform;
    transform.size = 16;
    transform.channels = channels;
    LoaderOptions options = Options(8);
    auto loader = Loader::Create(dataset, std::make_shared<TrainTransform>(transform), options);
    ASSERT_TRUE(loader.ok()) << loader.status();
    (*loader)->StartEpoch(0);
    const absl::StatusOr<const Batch*> batch = (*loader)->Next();
    if (channels == 2) {  // The data set's files have no two channels.
      EXPECT_THAT(std::string(batch.status().message()),
                  ::testing::HasSubstr("the PNG has 3 channels, not the 2 asked for"));
      continue;
    }
    ASSERT_TRUE(batch.ok()) << batch.status();
    EXPECT_EQ((*batch)->channels, 1);
    ASSERT_EQ((*batch)->pixels.size(), 8u * 16 * 16);
    TransformScratch scratch;
    for (int i = 0; i < 8; ++i) {
      std::string encoded;
      ASSERT_TRUE(dataset->Read((*batch)->indices[i], &encoded).ok());
      std::vector<uint8_t> expected(16 * 16);
      const SampleKey key{options.seed, 0, static_cast<uint64_t>((*batch)->indices[i])};
      ASSERT_TRUE(TrainTransform(transform).Apply(encoded, key, &scratch, expected.data()).ok());
      EXPECT_EQ(std::memcmp(expected.data(), &(*batch)->pixels[i * expected.size()], expected.size()), 0);
    }
  }
}

#if !defined(__SANITIZE_ADDRESS__)  // It keeps freed memory.
// Resident memory of this process, bytes.
int64_t ResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  int64_t total = 0, resident = 0;
  statm >> total >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

// A file of 80 MB that decodes to 75 MB, between small ones.
class HugeImageDataset : public MemoryDataset {
 public:
  HugeImageDataset() : MemoryDataset(4) {
    Image image(5000, 5000);
    std::memset(image.data(), 0, image.size_bytes());
    huge_ = *EncodePng(image);
  }
  using MemoryDataset::Read;
  absl::Status Read(int64_t index, std::string* bytes) const override {
    if (index != 1) return MemoryDataset::Read(index, bytes);
    bytes->assign(80 << 20, '\0');
    bytes->replace(0, huge_.size(), huge_);
    return absl::OkStatus();
  }

 private:
  std::string huge_;
};

TEST(LoaderTest, TheMemoryOfAHugeImageIsGivenBack) {
  const auto dataset = std::make_shared<HugeImageDataset>();
  LoaderOptions options = Options(4, 2);
  options.training = false;
  const auto loader = Make(dataset, options);
  const int64_t before = ResidentBytes();
  for (int epoch = 0; epoch < 2; ++epoch) {
    EXPECT_EQ(Epoch(loader.get(), epoch)[0].sources, (std::vector<int64_t>{0, 1, 2, 3}));
    EXPECT_LT(ResidentBytes() - before, 32 << 20);
  }
}
#endif

TEST(LoaderTest, WaitingIsMeasured) {
  auto dataset = std::make_shared<MemoryDataset>(8);
  dataset->set_slow();
  const auto loader = Make(dataset, Options(8, 1));
  EXPECT_EQ(loader->wait_seconds(), 0);
  Epoch(loader.get(), 0);
  EXPECT_GT(loader->wait_seconds(), 0);
}

TEST(LoaderTest, BadOptions) {
  const auto dataset = std::make_shared<MemoryDataset>(4);
  const auto message = [&](const LoaderOptions& options) {
    const absl::Status status = Loader::Create(dataset, SmallTransform(), options).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    return std::string(status.message());
  };
  EXPECT_EQ(message(Options(5)), "the batch is larger than the data set: 5 of 4 images");
  EXPECT_EQ(message(Options(1, 0)), "number of loader threads 0 is not in 1 to 1024");
  LoaderOptions options = Options(1);
  options.max_bad_fraction = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(message(options), "max_bad_fraction nan is not in 0 to 1");
  options = Options(1);
  options.prefetch_batches = 0;
  EXPECT_EQ(message(options), "number of prefetched batches 0 is not in 1 to 1024");
}

}  // namespace
}  // namespace tec
