#include "tec/run/event_file.h"

#include <filesystem>
#include <optional>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tec/base/file.h"

namespace tec {
namespace {

// RFC 3720, appendix B.4.
TEST(Crc32cTest, PublishedVectors) {
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8A9136AAu);
  EXPECT_EQ(Crc32c(std::string(32, '\xff')), 0x62A8AB43u);
  std::string rising;
  for (int i = 0; i < 32; ++i) rising.push_back(static_cast<char>(i));
  EXPECT_EQ(Crc32c(rising), 0x46DD794Eu);
  EXPECT_EQ(Crc32c("123456789"), 0xE3069283u);
}

// Every TensorFlow event file starts 18 00 00 00 00 00 00 00 a3 7f 4b 22: its first record is the 24-byte file version.
TEST(Crc32cTest, MaskedLengthOfATensorFlowFile) {
  EXPECT_EQ(MaskedCrc32c(std::string("\x18\0\0\0\0\0\0\0", 8)), 0x224B7FA3u);
}

// The bytes of such a file's first record, by its published form.
TEST(FramedRecordTest, IsTheLengthAndTheRecordWithChecksums) {
  const std::string framed = FramedRecord(std::string(24, 'v'));
  ASSERT_EQ(framed.size(), 8u + 4 + 24 + 4);
  EXPECT_EQ(framed.substr(0, 12), std::string("\x18\0\0\0\0\0\0\0\xa3\x7f\x4b\x22", 12));
  EXPECT_EQ(framed.substr(12, 24), std::string(24, 'v'));
}

TEST(TakeRecordTest, TakesWhatWasFramedAndStopsAtWhatIsBroken) {
  const std::string first = FramedRecord("one"), second = FramedRecord("");
  const std::string whole = first + second;
  absl::string_view rest = whole;
  std::optional<EventRecord> taken = TakeRecord(&rest);
  ASSERT_TRUE(taken.has_value());
  EXPECT_EQ(taken->record, "one");
  EXPECT_EQ(taken->framed, first);
  taken = TakeRecord(&rest);
  ASSERT_TRUE(taken.has_value());
  EXPECT_EQ(taken->record, "");
  EXPECT_TRUE(rest.empty());
  EXPECT_FALSE(TakeRecord(&rest).has_value());

  for (size_t size = 0; size < first.size(); ++size) {
    rest = absl::string_view(first).substr(0, size);
    EXPECT_FALSE(TakeRecord(&rest).has_value()) << size;
    EXPECT_EQ(rest.size(), size);
  }
  for (size_t i = 0; i < first.size(); ++i) {
    std::string damaged = first;
    damaged[i] = static_cast<char>(damaged[i] ^ 1);
    rest = damaged;
    EXPECT_FALSE(TakeRecord(&rest).has_value()) << i;
  }
  const std::string zeros(64, '\0');
  rest = zeros;
  EXPECT_FALSE(TakeRecord(&rest).has_value());
}

TEST(EventFilesTest, AreInTheOrderOfTheirNames) {
  const std::string folder = testing::TempDir() + "/event_files";
  ASSERT_TRUE(MakeDirectories(folder).ok());
  for (const char* name : {"events.out.tfevents.20.b.1", "events.out.tfevents.10.a.2", "log.txt"}) {
    ASSERT_TRUE(WriteFile(folder + "/" + name, "x").ok());
  }
  EXPECT_THAT(EventFiles(folder),
              testing::ElementsAre(folder + "/events.out.tfevents.10.a.2", folder + "/events.out.tfevents.20.b.1"));
  EXPECT_TRUE(EventFiles(folder + "/nowhere").empty());
}

}  // namespace
}  // namespace tec
