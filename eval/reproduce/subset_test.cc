#include "eval/reproduce/subset.h"

#include <filesystem>
#include <map>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "eval/testing/program.h"
#include "gtest/gtest.h"
#include "tec/base/file.h"

namespace tec {
namespace {

// Nothing decodes them here; the content tells them apart.
void WriteImages(const std::string& folder, int count) {
  ASSERT_TRUE(MakeDirectories(folder).ok());
  for (int i = 0; i < count; ++i) {
    ASSERT_TRUE(WriteFile(absl::StrCat(folder, "/", i, ".jpg"), absl::StrCat(folder, " ", i)).ok());
  }
}

// Contents by class.
std::map<std::string, std::multiset<std::string>> ContentOf(const std::string& folder) {
  std::map<std::string, std::multiset<std::string>> content;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) {
      content[entry.path().parent_path().filename().string()].insert(*ReadFile(entry.path().string()));
    }
  }
  return content;
}

class SubsetTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::FreshFolder("subset");
    WriteImages(folder_ + "/all/train/ant", 9);
    WriteImages(folder_ + "/all/train/bee", 9);
    WriteImages(folder_ + "/all/train/cat", 2);
    WriteImages(folder_ + "/all/test/ant", 5);
    WriteImages(folder_ + "/all/test/bee", 5);
  }
  std::string folder_;
};

TEST_F(SubsetTest, TakesTheSameNumberOfEachClass) {
  const absl::StatusOr<SubsetSizes> sizes = CopySubset(folder_ + "/all", folder_ + "/some", {13, 4});
  ASSERT_TRUE(sizes.ok()) << sizes.status();
  auto train = ContentOf(folder_ + "/some/train"), held_out = ContentOf(folder_ + "/some/val");
  EXPECT_EQ(train["ant"].size(), 5u);  // 13 are 5, 4 and 4; of the cats there are two.
  EXPECT_EQ(train["bee"].size(), 4u);
  EXPECT_EQ(train["cat"].size(), 2u);
  EXPECT_EQ(sizes->train_images, 11);
  EXPECT_EQ(held_out["ant"].size(), 2u);
  EXPECT_EQ(sizes->held_out_images, 4);
  // Copies of different pictures of the right class.
  const auto all = ContentOf(folder_ + "/all/train");
  for (const auto& [name, content] : train) {
    EXPECT_EQ(std::set<std::string>(content.begin(), content.end()).size(), content.size());
    for (const std::string& image : content) EXPECT_EQ(all.at(name).count(image), 1u) << image;
  }
}

TEST_F(SubsetTest, IsTheSameEveryTimeAndKeepsWhatIsThere) {
  ASSERT_TRUE(CopySubset(folder_ + "/all", folder_ + "/a", {6, 4}).ok());
  ASSERT_TRUE(CopySubset(folder_ + "/all", folder_ + "/b", {6, 4}).ok());
  EXPECT_EQ(ContentOf(folder_ + "/a/train"), ContentOf(folder_ + "/b/train"));
  std::filesystem::rename(folder_ + "/all/train", folder_ + "/all/elsewhere");
  const absl::StatusOr<SubsetSizes> again = CopySubset(folder_ + "/all", folder_ + "/a", {6, 4});
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->train_images, 6);
}

TEST_F(SubsetTest, RefusesAnotherSizeInTheSamePlace) {
  ASSERT_TRUE(CopySubset(folder_ + "/all", folder_ + "/a", {6, 4}).ok());
  EXPECT_TRUE(absl::IsInvalidArgument(CopySubset(folder_ + "/all", folder_ + "/a", {7, 4}).status()));
}

TEST_F(SubsetTest, RefusesImagesWithoutLabels) {
  WriteImages(folder_ + "/flat/train", 3);
  WriteImages(folder_ + "/flat/val", 3);
  const absl::Status status = CopySubset(folder_ + "/flat", folder_ + "/a", {6, 4}).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
}

}  // namespace
}  // namespace tec
