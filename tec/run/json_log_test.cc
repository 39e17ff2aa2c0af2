#include "tec/run/json_log.h"

#include <cmath>
#include <limits>

#include "gtest/gtest.h"
#include "tec/base/file.h"

namespace tec {
namespace {

TEST(ToJsonTest, KeepsOrderAndValues) {
  EXPECT_EQ(ToJson({{"train_lr", 0.00015}, {"train_loss", 0.1}, {"epoch", int64_t{7}}}),
            R"({"train_lr": 0.00015, "train_loss": 0.1, "epoch": 7})");
  EXPECT_EQ(ToJson({{"a", 1.0 / 3}}), R"({"a": 0.3333333333333333})");
  EXPECT_EQ(ToJson({{"a", std::nan("")}, {"b", -std::numeric_limits<double>::infinity()}}),
            R"({"a": NaN, "b": -Infinity})");
  EXPECT_EQ(ToJson({}), "{}");
}

TEST(TrimLogTest, RemovesWhatWillBeLoggedAgain) {
  const std::string path = testing::TempDir() + "/log.txt";
  ASSERT_TRUE(WriteFile(path, "").ok());
  for (int64_t epoch = 0; epoch < 4; ++epoch) {
    ASSERT_TRUE(AppendLine(path, ToJson({{"train_loss", 0.5}, {"epoch", epoch}, {"epochs", int64_t{9}}})).ok());
  }
  ASSERT_TRUE(AppendLine(path, "a note").ok());
  auto content = ReadFile(path);
  // Killed in the middle of a line.
  ASSERT_TRUE(WriteFile(path, *content + "{\"train_loss\": 0.").ok());
  ASSERT_TRUE(TrimLog(path, "epoch", 2).ok());
  EXPECT_EQ(*ReadFile(path),
            "{\"train_loss\": 0.5, \"epoch\": 0, \"epochs\": 9}\n{\"train_loss\": 0.5, \"epoch\": 1, \"epochs\": 9}\n"
            "a note\n");
}

TEST(TrimLogTest, MissingFileIsFine) { EXPECT_TRUE(TrimLog(testing::TempDir() + "/no_such_log", "epoch", 0).ok()); }

TEST(AppendLineTest, FullDiskIsReported) {
  const absl::Status status = AppendLine("/dev/full", "line");
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
}

}  // namespace
}  // namespace tec
