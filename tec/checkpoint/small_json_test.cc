#include "tec/checkpoint/small_json.h"

#include "absl/strings/match.h"
#include "gtest/gtest.h"

namespace tec {
namespace {

TEST(SmallJsonTest, TakesWhatIsSmallAndShallow) {
  const absl::StatusOr<nlohmann::json> json = ParseSmallJson(R"({"a": [1, {"b": "c"}]})");
  ASSERT_TRUE(json.ok()) << json.status();
  EXPECT_EQ((*json)["a"][1]["b"], "c");
  const auto refused = [](const std::string& text, const char* message) {
    const absl::Status status = ParseSmallJson(text).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << message;
    EXPECT_TRUE(absl::StrContains(status.message(), message)) << status;
  };
  refused("", "no JSON");
  refused("{\"a\": }", "from byte 7 on");
  refused("[1e999]", "no JSON");
  refused("\"\xff\"", "no JSON");
  refused(std::string(9, '[') + std::string(9, ']'), "deeper than 8");
  refused(std::string(100'000, '['), "deeper than 8");
  // Brackets in texts are none; a quote that a backslash stands before ends no text.
  EXPECT_TRUE(ParseSmallJson(R"({"a\"[[[[[[[[[[": "[[[[[[[[[["})").ok());
  refused("[" + std::string(kMaxSmallJson, ' ') + "]", "1 MiB");
  EXPECT_EQ(ReadSmallJson("/no/such/config.json").status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace tec
