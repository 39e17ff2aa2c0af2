#include "tec/run/event_writer.h"

#include <optional>

#include "gtest/gtest.h"
#include "tec/base/file.h"
#include "tec/run/event.pb.h"
#include "tec/run/event_file.h"

namespace tec {
namespace {

std::vector<run::Event> ReadEvents(const std::string& path) {
  const auto content = ReadFile(path);
  EXPECT_TRUE(content.ok()) << content.status();
  std::vector<run::Event> events;
  absl::string_view rest = *content;
  while (const std::optional<EventRecord> taken = TakeRecord(&rest)) {
    events.emplace_back();
    EXPECT_TRUE(events.back().ParseFromArray(taken->record.data(), taken->record.size()));
  }
  EXPECT_TRUE(rest.empty());
  return events;
}

TEST(EventWriterTest, RecordsReadBack) {
  const std::string directory = testing::TempDir() + "/events/nested";
  auto writer = EventWriter::Create(directory, 250);
  ASSERT_TRUE(writer.ok()) << writer.status();
  ASSERT_TRUE((*writer)->AddScalars(1000, {{"train_loss", 0.75}, {"lr", 1e-3}, {"bad_images", 0}}).ok());
  ASSERT_TRUE((*writer)->Flush().ok());

  const std::vector<run::Event> events = ReadEvents((*writer)->path());
  ASSERT_EQ(events.size(), 3);
  EXPECT_EQ(events[0].file_version(), "brain.Event:2");
  EXPECT_EQ(events[1].session_log().status(), run::SessionLog::START);
  EXPECT_EQ(events[1].step(), 250);
  EXPECT_EQ(events[2].step(), 1000);
  ASSERT_EQ(events[2].summary().value_size(), 3);
  EXPECT_EQ(events[2].summary().value(0).tag(), "train_loss");
  EXPECT_EQ(events[2].summary().value(0).simple_value(), 0.75f);
  EXPECT_EQ(events[2].summary().value(1).tag(), "lr");
  // A value of 0 is one; without it TensorBoard shows no point.
  EXPECT_TRUE(events[2].summary().value(2).has_simple_value());
  EXPECT_EQ(events[2].summary().value(2).simple_value(), 0);
  EXPECT_GT(events[2].wall_time(), 1.6e9);
}

TEST(EventWriterTest, TrimsWhatWillBeWrittenAgainAndNothingElse) {
  const std::string directory = testing::TempDir() + "/trimmed";
  auto writer = EventWriter::Create(directory, 0);
  ASSERT_TRUE(writer.ok()) << writer.status();
  // Two axes: thousandths of an epoch, and epochs.
  for (int64_t update = 1; update <= 4; ++update) {
    ASSERT_TRUE((*writer)->AddScalars(update * 500, {{"loss", update}}, {update, -1}).ok());
    if (update % 2 == 1) continue;
    ASSERT_TRUE((*writer)->AddScalars(update / 2 - 1, {{"accuracy", 1}}, {-1, update / 2 - 1}).ok());
  }
  ASSERT_TRUE((*writer)->AddScalars(7, {{"somebody_else", 1}}).ok());
  ASSERT_TRUE((*writer)->Sync().ok());
  const std::string whole = *ReadFile((*writer)->path());
  ASSERT_TRUE(WriteFile((*writer)->path(), whole + whole.substr(0, 30)).ok());  // Killed in a record.
  ASSERT_TRUE(WriteFile(directory + "/events.out.tfevents.1.other", "not ours").ok());

  const absl::StatusOr<int64_t> largest = TrimEvents(directory, 3, 1);
  ASSERT_TRUE(largest.ok()) << largest.status();
  EXPECT_EQ(*largest, 1500);
  std::vector<std::pair<int64_t, std::string>> left;
  for (const run::Event& event : ReadEvents((*writer)->path())) {
    for (const auto& value : event.summary().value()) left.emplace_back(event.step(), value.tag());
  }
  EXPECT_EQ(left, (std::vector<std::pair<int64_t, std::string>>{
                      {500, "loss"}, {1000, "loss"}, {0, "accuracy"}, {1500, "loss"}, {7, "somebody_else"}}));
  EXPECT_EQ(*ReadFile(directory + "/events.out.tfevents.1.other"), "not ours");
  EXPECT_EQ(*TrimEvents(testing::TempDir() + "/not_there", 3, 1), -1);
}

// Zeros, as file systems leave them in the place of what had not reached the disk.
TEST(EventWriterTest, WhatAPowerFailureLeavesIsTakenAway) {
  const std::string directory = testing::TempDir() + "/power";
  auto writer = EventWriter::Create(directory, 0);
  ASSERT_TRUE(writer.ok()) << writer.status();
  for (int64_t update = 1; update <= 3; ++update) {
    ASSERT_TRUE((*writer)->AddScalars(update, {{"loss", update}}, {update, -1}).ok());
  }
  ASSERT_TRUE((*writer)->Flush().ok());
  const std::string whole = *ReadFile((*writer)->path());
  for (const size_t lost : {5, 40, 60}) {
    std::string damaged = whole;
    damaged.replace(whole.size() - lost, lost, std::string(lost, '\0'));
    ASSERT_TRUE(WriteFile((*writer)->path(), damaged + std::string(100, '\0')).ok());
    ASSERT_TRUE(TrimEvents(directory, 3, 1).ok());
    const std::string left = *ReadFile((*writer)->path());
    EXPECT_LT(left.size(), whole.size()) << lost;
    EXPECT_EQ(left, whole.substr(0, left.size())) << lost;
    EXPECT_GE(ReadEvents((*writer)->path()).size(), 2) << lost;  // What ReadEvents checks of each.
  }
}

// TensorBoard reads files in the order of their names.
TEST(EventWriterTest, AFileAfterTheClockWasSetBackComesLast) {
  const std::string directory = testing::TempDir() + "/clock";
  ASSERT_TRUE(MakeDirectories(directory).ok());
  ASSERT_TRUE(WriteFile(directory + "/events.out.tfevents.4000000000.host.1", "").ok());
  const auto writer = EventWriter::Create(directory, 0);
  ASSERT_TRUE(writer.ok()) << writer.status();
  EXPECT_GT((*writer)->path(), directory + "/events.out.tfevents.4000000000.host.1");
}

TEST(EventWriterTest, UnwritableFolderIsNamed) {
  const auto writer = EventWriter::Create("/proc/nowhere", 0);
  ASSERT_FALSE(writer.ok());
  EXPECT_NE(std::string(writer.status().message()).find("/proc/nowhere"), std::string::npos) << writer.status();
}

}  // namespace
}  // namespace tec
