#include "data/dataset/subset.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace tec {
namespace {

// Image i is called "i" and has label i modulo the number of classes.
class NumberedDataset : public Dataset {
 public:
  NumberedDataset(int64_t size, std::vector<std::string> classes) : size_(size), classes_(std::move(classes)) {}
  int64_t size() const override { return size_; }
  int32_t label(int64_t index) const override { return classes_.empty() ? -1 : index % classes_.size(); }
  std::string name(int64_t index) const override { return std::to_string(index); }
  const std::vector<std::string>& classes() const override { return classes_; }
  using Dataset::Read;
  absl::Status Read(int64_t index, std::string* bytes) const override {
    *bytes = "bytes of " + name(index);
    return absl::OkStatus();
  }
  absl::StatusOr<absl::string_view> View(int64_t index, std::string* buffer) const override {
    return index == 9 ? "mapped bytes of 9" : "mapped bytes of another";
  }
  std::vector<std::string> defects() const override { return {"a.tar: broken"}; }
  std::string left_out() const override { return "1 file"; }

 private:
  int64_t size_;
  std::vector<std::string> classes_;
};

TEST(KeepClassesTest, NumbersTheKeptOnesAnew) {
  const auto whole = std::make_shared<NumberedDataset>(10, std::vector<std::string>{"a", "b", "c"});
  const auto part = KeepClasses(whole, "c,a");
  ASSERT_TRUE(part.ok()) << part.status();
  EXPECT_EQ((*part)->classes(), (std::vector<std::string>{"a", "c"}));
  ASSERT_EQ((*part)->size(), 7);
  EXPECT_EQ((*part)->name(1), "2");
  EXPECT_EQ((*part)->label(0), 0);
  EXPECT_EQ((*part)->label(1), 1);
  EXPECT_EQ(*(*part)->Read(6), "bytes of 9");
  std::string buffer;
  EXPECT_EQ(*(*part)->View(6, &buffer), "mapped bytes of 9");
  EXPECT_EQ((*part)->defects(), (*whole).defects());
  EXPECT_EQ((*part)->left_out(), (*whole).left_out());
  EXPECT_EQ(KeepClasses(whole, "").value(), whole);
}

TEST(KeepClassesTest, UnknownNamesAreNamed) {
  const auto whole = std::make_shared<NumberedDataset>(10, std::vector<std::string>{"a", "b", "c"});
  EXPECT_EQ(KeepClasses(whole, "a,x,").status().message(), "not among the 3 classes (a to c): \"x\", \"\"");
  const auto unlabelled = std::make_shared<NumberedDataset>(10, std::vector<std::string>());
  EXPECT_EQ(KeepClasses(unlabelled, "a").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(SubsetTest, AFractionOfEveryClass) {
  const auto whole = std::make_shared<NumberedDataset>(300, std::vector<std::string>{"a", "b", "c"});
  SubsetOptions options;
  options.fraction = 0.1;
  const auto part = SubsetOf(whole, options);
  ASSERT_EQ(part->size(), 30);
  std::vector<int> counts(3);
  for (int64_t i = 0; i < part->size(); ++i) ++counts[part->label(i)];
  EXPECT_EQ(counts, (std::vector<int>{10, 10, 10}));
  options.seed = 1;
  const auto other = SubsetOf(whole, options);
  int64_t same = 0;
  for (int64_t i = 0; i < 30; ++i) same += part->name(i) == other->name(i);
  EXPECT_LT(same, 30);
}

TEST(SubsetTest, EvenlySpacedImages) {
  const auto whole = std::make_shared<NumberedDataset>(10, std::vector<std::string>{"a", "b"});
  const auto part = EvenlySpaced(whole, 4);
  ASSERT_EQ(part->size(), 4);
  const int64_t expected[] = {0, 2, 5, 7};
  for (int64_t i = 0; i < 4; ++i) {
    EXPECT_EQ(part->name(i), whole->name(expected[i]));
    EXPECT_EQ(part->label(i), whole->label(expected[i]));
  }
  EXPECT_EQ(part->classes(), whole->classes());
  EXPECT_EQ(EvenlySpaced(whole, 10), whole);
  EXPECT_EQ(EvenlySpaced(whole, 99), whole);
}

TEST(SubsetTest, SharesOfBatches) {
  const auto whole = std::make_shared<NumberedDataset>(10, std::vector<std::string>{"a", "b"});
  // Batches 012 345 678 9.
  const std::vector<std::vector<int64_t>> expected = {{0, 1, 2, 9}, {3, 4, 5}, {6, 7, 8}};
  for (int64_t rank = 0; rank < 3; ++rank) {
    const auto share = ShareOfBatches(whole, 3, rank, 3);
    ASSERT_EQ(share->size(), static_cast<int64_t>(expected[rank].size()));
    for (int64_t i = 0; i < share->size(); ++i) {
      EXPECT_EQ(share->name(i), whole->name(expected[rank][i]));
      EXPECT_EQ(share->label(i), whole->label(expected[rank][i]));
    }
  }
  EXPECT_EQ(ShareOfBatches(whole, 3, 4, 5)->size(), 0);
  EXPECT_EQ(ShareOfBatches(whole, 3, 0, 1), whole);
}

TEST(SubsetTest, AFractionWithoutLabels) {
  const auto whole = std::make_shared<NumberedDataset>(300, std::vector<std::string>());
  SubsetOptions options;
  options.fraction = 0.25;
  const auto part = SubsetOf(whole, options);
  EXPECT_EQ(part->size(), 75);
  EXPECT_EQ(part->label(0), -1);
}

}  // namespace
}  // namespace tec
