#include "tec/base/json_text.h"

#include "gtest/gtest.h"

namespace tec {
namespace {

TEST(JsonTextTest, StringsOfAnyBytes) {
  const nlohmann::ordered_json json = {{"z", {"caf\xE9", "caf\xE8", "\xC3\xBC\x1b"}}, {"a\xFF", {{"\xED\xA0\x80", 1}}}};
  const std::string text = DumpJson(json);
  EXPECT_EQ(text,
            "{\"z\":[\"caf\\\\xe9\",\"caf\\\\xe8\",\"\xC3\xBC\\u001b\"],\"a\\\\xff\":{\"\\\\xed\\\\xa0\\\\x80\":1}}");
  EXPECT_TRUE(nlohmann::json::accept(text));
  EXPECT_EQ(DumpJson({{"a", 1}}, 2), "{\n  \"a\": 1\n}");
}

}  // namespace
}  // namespace tec
