// What is taken from the folder, and what is fitted anew.

#include "eval/logistic/stored_fit.h"

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "ATen/ATen.h"
#include "eval/testing/program.h"
#include "gtest/gtest.h"
#include "tec/base/file.h"

namespace tec {
namespace {

class StoredFitTest : public ::testing::Test {
 protected:
  StoredFit Fit() {
    const uint64_t problem = FingerprintOfProblem(features_, labels_);
    const absl::StatusOr<StoredFit> fit = FitStored(folder_, problem, features_, labels_, classes_, options_);
    EXPECT_TRUE(fit.ok()) << fit.status();
    return *fit;
  }

  std::string folder_ = testing::FreshFolder("fits") + "/made";
  at::Tensor features_ = at::tensor(std::vector<float>{0, 1, 2, 1, 3, 5, 4, 2}).view({4, 2});
  at::Tensor labels_ = at::tensor(std::vector<int64_t>{0, 1, 1, 0}, at::kLong);
  int64_t classes_ = 2;
  LogisticOptions options_;
};

TEST_F(StoredFitTest, TheSameFitIsTakenToTheBit) {
  const StoredFit first = Fit(), second = Fit();
  EXPECT_FALSE(first.taken);
  EXPECT_TRUE(second.taken);
  EXPECT_TRUE(at::equal(first.probe.Logits(features_), second.probe.Logits(features_)));
  EXPECT_EQ(first.probe.loss, second.probe.loss);
  EXPECT_EQ(first.probe.iterations, second.probe.iterations);
  EXPECT_GT(first.probe.iterations, 0);
  EXPECT_TRUE(first.probe.converged);
  EXPECT_TRUE(second.probe.converged);
}

TEST_F(StoredFitTest, WhateverDiffersIsFitted) {
  EXPECT_FALSE(Fit().taken);
  const std::vector<std::function<void()>> changes = {
      [&] { features_ = features_ + 1; }, [&] { labels_ = 1 - labels_; },        [&] { classes_ = 3; },
      [&] { options_.l2 *= 2; },          [&] { options_.standardise = false; }, [&] { options_.tolerance *= 2; },
      [&] { options_.block = 2; },        [&] { options_.max_iterations = 2; },
  };
  for (size_t i = 0; i < changes.size(); ++i) {
    changes[i]();
    EXPECT_FALSE(Fit().taken) << i;
    EXPECT_TRUE(Fit().taken) << i;
  }
}

TEST_F(StoredFitTest, AStoppedFitLeavesNothingAndWithoutAFolderNoneIsKept) {
  options_.stop = [] { return true; };
  EXPECT_EQ(FitStored(folder_, 0, features_, labels_, classes_, options_).status().code(),
            absl::StatusCode::kCancelled);
  options_.stop = nullptr;
  EXPECT_FALSE(Fit().taken);
  folder_.clear();
  EXPECT_FALSE(Fit().taken);
  EXPECT_FALSE(Fit().taken);
}

TEST_F(StoredFitTest, ADamagedFileIsFittedAgain) {
  Fit();
  const std::string path = std::filesystem::directory_iterator(folder_)->path();
  ASSERT_TRUE(WriteFile(path, "no fit").ok());
  EXPECT_FALSE(Fit().taken);
  EXPECT_TRUE(Fit().taken);
}

}  // namespace
}  // namespace tec
