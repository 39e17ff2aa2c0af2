// Directories that are not as they should be: with other files, without some, with damaged ones.

#include "tools/goldens/directory.h"

#include <cstdlib>
#include <filesystem>
#include <limits>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tec/base/file.h"
#include "tec/checkpoint/safetensors.h"

namespace tec {
namespace {

// Noise 0.3 0.1 0.2 0.4 keeps patches 1 and 2 at a ratio of 1/2.
constexpr float kNoise[] = {0.3f, 0.1f, 0.2f, 0.4f}, kMask[] = {1, 0, 0, 1};
constexpr int64_t kShuffle[] = {1, 2, 0, 3}, kRestore[] = {2, 0, 1, 3};

template <typename T>
TensorView View(DType type, const T* values, int64_t n) {
  return TensorView::Copy(type, {1, n}, absl::string_view(reinterpret_cast<const char*>(values), n * sizeof(T)));
}

class DirectoryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    directory_ = absl::StrCat(testing::TempDir(), "/", testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::remove_all(directory_);
    ASSERT_TRUE(MakeDirectories(directory_).ok());
    tensors_["L4_r0.5.noise"] = View(DType::kFloat32, kNoise, 4);
    tensors_["L4_r0.5.ids_shuffle"] = View(DType::kInt64, kShuffle, 4);
    tensors_["L4_r0.5.ids_keep"] = View(DType::kInt64, kShuffle, 2);
    tensors_["L4_r0.5.ids_restore"] = View(DType::kInt64, kRestore, 4);
    tensors_["L4_r0.5.mask"] = View(DType::kFloat32, kMask, 4);
  }

  void Write(const std::string& file, const std::string& content) {
    ASSERT_TRUE(MakeDirectories(std::filesystem::path(directory_ + "/" + file).parent_path().string()).ok());
    ASSERT_TRUE(WriteFile(absl::StrCat(directory_, "/", file), content).ok());
  }

  GoldenDirectory List() {
    const absl::StatusOr<GoldenDirectory> listed = ListGoldens(directory_);
    EXPECT_TRUE(listed.ok()) << listed.status();
    return *listed;
  }

  // "quantity: where" of what fails in masking.safetensors with tensors_; every comparison counts in `passed`.
  std::vector<std::string> Failures(int* passed = nullptr) {
    StateDict tensors;
    for (const auto& [name, tensor] : tensors_) EXPECT_TRUE(tensors.Add(name, tensor).ok());
    EXPECT_TRUE(WriteSafetensors(directory_ + "/masking.safetensors", tensors).ok());
    const GoldenDirectory listed = List();
    EXPECT_EQ(listed.jobs.size(), 1);
    std::vector<std::string> failures;
    for (const GoldenRow& row : RunGoldenJob(directory_, listed.jobs[0], {}).rows) {
      EXPECT_EQ(row.item, "masking");
      if (!row.pass) failures.push_back(absl::StrCat(row.quantity, ": ", row.where));
      if (row.pass && passed != nullptr) ++*passed;
    }
    return failures;
  }

  using Lines = std::vector<std::string>;
  std::string directory_;
  std::map<std::string, TensorView> tensors_;
};

TEST_F(DirectoryTest, WhatIsRightPasses) {
  int passed = 0;
  EXPECT_EQ(Failures(&passed), Lines());
  EXPECT_EQ(passed, 4);
}

TEST_F(DirectoryTest, AWrongValueFails) {
  tensors_["L4_r0.5.mask"] = View(DType::kFloat32, kNoise, 4);
  EXPECT_EQ(Failures(), Lines{"L4_r0.5.mask: 4 of 4 wrong, worst at [0, 0]: 1, not 0.300000012"});
}

TEST_F(DirectoryTest, AMissingTensorFails) {
  tensors_.erase("L4_r0.5.ids_keep");
  EXPECT_EQ(Failures(), Lines{"L4_r0.5.ids_keep: masking.safetensors has no tensor L4_r0.5.ids_keep"});
}

TEST_F(DirectoryTest, AWrongShapeOrTypeFails) {
  tensors_["L4_r0.5.ids_keep"] = View(DType::kInt64, kShuffle, 3);
  tensors_["L4_r0.5.mask"] = View(DType::kInt64, kShuffle, 4);
  EXPECT_EQ(Failures(), (Lines{"L4_r0.5.ids_keep: computed I64[1,2], stored I64[1,3]",
                               "L4_r0.5.mask: computed F32[1,4], stored I64[1,4]"}));
}

TEST_F(DirectoryTest, ANanInAnInputFails) {
  const float noise[] = {0.3f, std::numeric_limits<float>::quiet_NaN(), 0.2f, 0.4f};
  tensors_["L4_r0.5.noise"] = View(DType::kFloat32, noise, 4);
  EXPECT_EQ(Failures(), Lines{"(not all compared): masking.safetensors: L4_r0.5.noise holds a NaN"});
}

TEST_F(DirectoryTest, ATensorThatNoCheckReadsFails) {
  tensors_["L4_r0.5.surprise"] = View(DType::kFloat32, kMask, 4);
  EXPECT_EQ(Failures(), Lines{"L4_r0.5.surprise: no check reads this tensor of masking.safetensors"});
}

TEST_F(DirectoryTest, AnEmptyFileFails) {
  tensors_.clear();
  EXPECT_EQ(Failures(), Lines{"(nothing): there was nothing to compare"});
}

TEST_F(DirectoryTest, ADamagedFileFailsByName) {
  Write("masking.safetensors", "not a file of tensors");
  Write("masking_kept.json", R"({"meta": {}, "rows": [[16, 0.75, 4], [16, "many", 4]]})");
  Write("schedules.json", "[]");
  const GoldenDirectory listed = List();
  ASSERT_EQ(listed.jobs.size(), 3);
  for (const GoldenJob& job : listed.jobs) {
    const GoldenRow last = RunGoldenJob(directory_, job, {}).rows.back();
    EXPECT_FALSE(last.pass) << job.name;
    EXPECT_EQ(last.quantity, "(not all compared)");
    EXPECT_FALSE(last.where.empty());
  }
}

TEST_F(DirectoryTest, AnEntryThatNoCheckReadsFails) {
  Write("masking_kept.json", R"({"meta": {}, "rows": [[16, 0.75, 4], [16, 0.75, 5]], "more": 1})");
  const std::vector<GoldenRow> rows = RunGoldenJob(directory_, List().jobs.at(0), {}).rows;
  ASSERT_EQ(rows.size(), 3);
  EXPECT_TRUE(rows[0].pass);
  EXPECT_EQ(rows[1].where, "4, not 5");
  EXPECT_EQ(rows[2].where, "no check reads this entry of masking_kept.json");
}

absl::Status Crash(GoldenItem& item) {
  item.Expect("before", true, "");
  std::abort();
}
absl::Status Throw(GoldenItem& item) {
  item.Expect("before", true, "");
  throw std::runtime_error("a foreign library's\nstack");
}

TEST_F(DirectoryTest, ACheckThatCrashesIsARowOfItsOwn) {
  GoldenJob job;
  job.name = "crash";
  job.check = Crash;
  job.files = {"its_file"};
  const GoldenOutcome crashed = RunGoldenJob(directory_, job, {});
  ASSERT_EQ(crashed.rows.size(), 1);
  EXPECT_TRUE(absl::StrContains(crashed.rows[0].where, "signal 6")) << crashed.rows[0].where;
  EXPECT_EQ(crashed.files, job.files);
  job.check = Throw;
  const GoldenOutcome thrown = RunGoldenJob(directory_, job, {});
  ASSERT_EQ(thrown.rows.size(), 2);
  EXPECT_TRUE(thrown.rows[0].pass);
  EXPECT_EQ(thrown.rows[1].where, "a foreign library's");
}

TEST_F(DirectoryTest, SaysWhatIsNotThere) {
  Write("resize.json", R"({"meta": {}, "cases": []})");
  Write("images/README.txt", "");
  Write("unheard_of.safetensors", "");
  const GoldenDirectory listed = List();
  ASSERT_EQ(listed.jobs.size(), 1);
  EXPECT_EQ(listed.jobs[0].name, "resize");
  EXPECT_EQ(listed.jobs[0].missing, Lines{"images/decoded.safetensors"});
  EXPECT_EQ(listed.explains, std::set<std::string>{"images/README.txt"});
  EXPECT_EQ(listed.files.count("unheard_of.safetensors"), 1);
  EXPECT_EQ(ListGoldens(directory_ + "/nowhere").status().code(), absl::StatusCode::kNotFound);
}

TEST_F(DirectoryTest, WhatIsRecordedIsWhatWasComputed) {
  tensors_["L4_r0.5.mask"] = View(DType::kFloat32, kNoise, 4);  // Wrong, and put right by the recording.
  Failures();
  const std::string recorded = directory_ + "/recorded";
  ASSERT_TRUE(MakeDirectories(recorded).ok());
  GoldenOptions options;
  options.record = true;
  const GoldenJob job = List().jobs.at(0);
  RunGoldenJob(directory_, job, options, recorded);
  for (const GoldenRow& row : RunGoldenJob(recorded, job, {}).rows) EXPECT_TRUE(row.pass) << row.quantity << row.where;
}

TEST_F(DirectoryTest, ThoseOfAGroupThatPassedAreOneLine) {
  GoldenRow row;
  row.item = "tec_tiny";
  row.group = "grad.*";
  row.quantity = "grad.a";
  row.tolerance = "3e-06";
  row.pass = true;
  std::vector<GoldenRow> rows = {row, row, row};
  rows[1].quantity = "grad.b";
  rows[1].severity = 0.5;
  rows[1].absolute = 1.5e-6;
  rows[1].where = "[3]: 1, not 2";
  rows.push_back(row);
  rows[3].pass = false;
  rows[3].quantity = "grad.c";
  rows[3].where = "no such tensor";
  const std::string text = FormatGoldenRows(rows, /*header=*/true);
  EXPECT_TRUE(absl::StrContains(text, "grad.* (3)")) << text;
  EXPECT_TRUE(absl::StrContains(text, "1.5e-06")) << text;
  EXPECT_TRUE(absl::StrContains(text, "pass  grad.b, [3]: 1, not 2\n")) << text;
  EXPECT_TRUE(absl::StrContains(text, "FAIL  no such tensor\n")) << text;
  EXPECT_FALSE(absl::StrContains(text, "grad.a")) << text;
}

}  // namespace
}  // namespace tec
