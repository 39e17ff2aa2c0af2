#include "eval/features/labelled_data.h"

#include <utime.h>

#include <chrono>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "data/dataset/dataset.h"
#include "eval/testing/program.h"
#include "gtest/gtest.h"
#include "tec/base/file.h"

namespace tec {
namespace {

// `sizes[c]` images of each class, interleaved.
class MadeDataset : public Dataset {
 public:
  MadeDataset(std::vector<std::string> classes, const std::vector<int>& sizes) : classes_(std::move(classes)) {
    for (int i = 0, added = 1; added > 0; ++i) {
      added = 0;
      for (size_t c = 0; c < sizes.size(); ++c) {
        if (i < sizes[c]) {
          images_.emplace_back(c, i);
          ++added;
        }
      }
    }
  }
  int64_t size() const override { return static_cast<int64_t>(images_.size()); }
  int32_t label(int64_t index) const override { return images_[index].first; }
  std::string name(int64_t index) const override {
    return classes_[images_[index].first] + "/" + std::to_string(images_[index].second);
  }
  const std::vector<std::string>& classes() const override { return classes_; }
  absl::Status Read(int64_t index, std::string* bytes) const override {
    *bytes = name(index);
    return absl::OkStatus();
  }

 private:
  std::vector<std::string> classes_;
  std::vector<std::pair<int, int>> images_;
};

std::map<std::string, int> CountOf(const Dataset& dataset) {
  std::map<std::string, int> count;
  for (int64_t i = 0; i < dataset.size(); ++i) ++count[dataset.classes()[dataset.label(i)]];
  return count;
}

std::set<std::string> NamesOf(const Dataset& dataset, const std::string& of_class) {
  std::set<std::string> names;
  for (int64_t i = 0; i < dataset.size(); ++i) {
    if (dataset.classes()[dataset.label(i)] == of_class) names.insert(dataset.name(i));
  }
  return names;
}

TEST(LabelledDataTest, ChosenClassesOfBothSetsAndAnIndexOfEach) {
  const std::string folder = testing::FreshFolder("labelled_data");
  const std::filesystem::file_time_type before = std::filesystem::file_time_type::clock::now() - std::chrono::hours(1);
  for (const std::string part : {"train", "val"}) {
    for (const std::string name : {"ant", "bee", "cat"}) {
      // No "ant" is held out, and the sets number "bee" and "cat" differently.
      if (part == "val" && name == "ant") continue;
      const std::filesystem::path of_class = std::filesystem::path(folder) / part / name;
      std::filesystem::create_directories(of_class);
      for (int i = 0; i < 4; ++i) std::ofstream(of_class / (std::to_string(i) + ".jpg")).put('x');
      std::filesystem::last_write_time(of_class, before);
    }
    std::filesystem::last_write_time(std::filesystem::path(folder) / part, before);
  }
  LabelledDataOptions options;
  options.classes = "cat,bee";
  options.subset.per_class = 3;
  options.index_folder = folder + "/index";
  for (int start = 0; start < 2; ++start) {
    const absl::StatusOr<LabelledData> data = OpenLabelledData(folder, "a test", options);
    ASSERT_TRUE(data.ok()) << data.status();
    EXPECT_EQ(data->classes(), (std::vector<std::string>{"bee", "cat"}));
    EXPECT_EQ(CountOf(*data->train), (std::map<std::string, int>{{"bee", 3}, {"cat", 3}}));
    EXPECT_EQ(CountOf(*data->held_out), (std::map<std::string, int>{{"bee", 4}, {"cat", 4}}));
    EXPECT_EQ(data->class_of_held_out, (std::vector<int64_t>{0, 1}));
    int indices = 0;
    for (const auto& file : std::filesystem::directory_iterator(options.index_folder)) {
      indices += file.path().extension() == ".index";
    }
    EXPECT_EQ(indices, 2);
  }
  options.classes = "cat";
  absl::StatusOr<LabelledData> data = OpenLabelledData(folder, "a test", options);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(CountOf(*data->held_out), (std::map<std::string, int>{{"cat", 4}}));
  options.classes = "ant,bee";
  EXPECT_EQ(OpenLabelledData(folder, "a test", options).status().message(),
            folder + ": the held-out images: not among the 2 classes (bee to cat): \"ant\"");
}

TEST(SubsetTest, TakesAPartOfEachClass) {
  const auto whole =
      std::make_shared<MadeDataset>(std::vector<std::string>{"ant", "bee", "cat"}, std::vector<int>{100, 30, 2});
  SubsetOptions options;
  options.fraction = 0.1;
  const auto tenth = SubsetOf(whole, options);
  // A class of two images keeps one.
  EXPECT_EQ(CountOf(*tenth), (std::map<std::string, int>{{"ant", 10}, {"bee", 3}, {"cat", 1}}));
  EXPECT_EQ(*tenth->Read(0), tenth->name(0));
  EXPECT_EQ(NamesOf(*tenth, "ant").size(), 10u);  // No image twice.

  options = SubsetOptions();
  options.per_class = 5;
  const auto shots = SubsetOf(whole, options);
  EXPECT_EQ(CountOf(*shots), (std::map<std::string, int>{{"ant", 5}, {"bee", 5}, {"cat", 2}}));
  EXPECT_EQ(SubsetOf(whole, SubsetOptions()), whole);
}

TEST(SubsetTest, DependsOnTheSeedAndTheClassAlone) {
  const auto whole = std::make_shared<MadeDataset>(std::vector<std::string>{"ant", "bee"}, std::vector<int>{100, 100});
  const auto without = std::make_shared<MadeDataset>(std::vector<std::string>{"bee"}, std::vector<int>{100});
  SubsetOptions options;
  options.per_class = 10;
  const auto first = SubsetOf(whole, options), other_set = SubsetOf(without, options);
  EXPECT_EQ(NamesOf(*first, "bee"), NamesOf(*other_set, "bee"));
  options.seed = 1;
  EXPECT_NE(NamesOf(*first, "bee"), NamesOf(*SubsetOf(whole, options), "bee"));
  EXPECT_NE(FingerprintOf(*first), FingerprintOf(*SubsetOf(whole, options)));
}

TEST(FingerprintOfFilesTest, TellsApartWhatHasEqualNames) {
  const std::string folder = testing::FreshFolder("fingerprint");
  const auto write = [&](const std::string& path, const std::string& content, std::time_t second) {
    ASSERT_TRUE(MakeDirectories(path.substr(0, path.rfind('/'))).ok());
    ASSERT_TRUE(WriteFile(path, content).ok());
    const utimbuf times = {second, second};
    ASSERT_EQ(utime(path.c_str(), &times), 0);
  };
  const auto of = [](const std::string& path, Split split) {
    const absl::StatusOr<std::unique_ptr<Dataset>> dataset = OpenDataset(path, split);
    EXPECT_TRUE(dataset.ok()) << dataset.status();
    return FingerprintOfFiles(**dataset);
  };
  for (const std::string part : {"one/train", "one/val", "two/train"}) {
    for (const std::string name : {"/ant/1.png", "/bee/1.png"}) write(folder + "/" + part + name, "picture", 1000);
  }
  const uint64_t first = of(folder + "/one", Split::kTrain);
  EXPECT_EQ(of(folder + "/one/", Split::kTrain), first);
  EXPECT_EQ(of(folder + "/two/../one/train", Split::kWhole), first);
  EXPECT_NE(of(folder + "/one", Split::kHeldOut), first);
  EXPECT_NE(of(folder + "/two", Split::kTrain), first);

  write(folder + "/one/train/bee/1.png", "another", 1001);  // Of the same size.
  const uint64_t later = of(folder + "/one", Split::kTrain);
  EXPECT_NE(later, first);
  write(folder + "/one/train/bee/1.png", "more bytes", 1000);
  EXPECT_NE(of(folder + "/one", Split::kTrain), first);
  write(folder + "/one/train/bee/1.png", "picture", 1000);
  EXPECT_EQ(of(folder + "/one", Split::kTrain), first);

  // A subset passes on where its images lie.
  SubsetOptions options;
  options.per_class = 1;
  const auto subset = [&](const std::string& path) {
    return FingerprintOfFiles(*SubsetOf(*OpenDataset(path, Split::kTrain), options));
  };
  EXPECT_NE(subset(folder + "/one"), subset(folder + "/two"));
}

TEST(SubsetTest, RefusesWhatIsNoSubset) {
  SubsetOptions options;
  for (const double fraction : {0.0, -0.1, 1.5}) {
    options.fraction = fraction;
    EXPECT_FALSE(Validate(options).ok()) << fraction;
  }
  options.fraction = 0.5;
  EXPECT_TRUE(Validate(options).ok());
  options.per_class = 3;
  EXPECT_FALSE(Validate(options).ok());
}

// One line of a list asks for more classes than an evaluation has scores for; a label that is far from the number of
// pictures is refused before (data/dataset:lists_test).
TEST(OpenLabelledData, ALabelBeyondAllReasonIsRefused) {
  const std::string folder = testing::FreshFolder("large_label");
  for (const char* part : {"/train.txt", "/val.txt"}) {
    std::string list = "far.png 100000\n";
    for (int i = 0; i < 1002; ++i) absl::StrAppend(&list, i, ".png 0\n");
    ASSERT_TRUE(WriteFile(folder + part, list).ok());
  }
  EXPECT_EQ(OpenLabelledData(folder, "a test", {}).status().message(),
            folder +
                ": the training images have labels up to 100000; at most 100000 classes are evaluated. Number "
                "those that occur from 0 on");
}

}  // namespace
}  // namespace tec
