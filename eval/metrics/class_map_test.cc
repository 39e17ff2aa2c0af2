#include "eval/metrics/class_map.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace tec {
namespace {

using Names = std::vector<std::string>;

TEST(ClassMapTest, MatchesByName) {
  auto map = MapClasses(Names{"cat", "dog", "emu", "fox"}, Names{"dog", "fox"});
  ASSERT_TRUE(map.ok()) << map.status();
  EXPECT_EQ(*map, (std::vector<int64_t>{1, 3}));
}

TEST(ClassMapTest, NamesWhatTheTrainingSetLacks) {
  auto one = MapClasses(Names{"cat", "dog"}, Names{"cat", "gnu"});
  EXPECT_EQ(one.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(one.status().message(), "1 of the 2 held-out classes is not among the 2 training classes: gnu");
  auto many = MapClasses(Names{"x"}, Names{"a", "b", "c", "d", "e", "f", "x"});
  EXPECT_EQ(many.status().message(),
            "6 of the 7 held-out classes are not among the 1 training classes: a, b, c, d, e, ...");
}

TEST(ClassMapTest, SaysWhatLooksAlike) {
  // The same word, composed and decomposed.
  const absl::Status status = MapClasses({"ant", "caf\xC3\xA9"}, {"ant", "cafe\xCC\x81"}).status();
  EXPECT_NE(status.message().find("; alike, but not the same, are caf\xC3\xA9 (caf\\xc3\\xa9) and"), std::string::npos)
      << status;
}

}  // namespace
}  // namespace tec
