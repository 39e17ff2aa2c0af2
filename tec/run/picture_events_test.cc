#include "tec/run/picture_events.h"

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "gtest/gtest.h"
#include "tec/base/file.h"
#include "tec/run/event_file.h"
#include "tec/run/event_writer.h"
#include "tec/run/picture_event.pb.h"

namespace tec {
namespace {

// The records of a file after the first two, which EventWriter begins it with.
std::vector<run::PictureEvent> ReadPictures(const std::string& path) {
  const auto content = ReadFile(path);
  EXPECT_TRUE(content.ok()) << content.status();
  std::vector<run::PictureEvent> events;
  absl::string_view rest = *content;
  for (int record = 0; const std::optional<EventRecord> taken = TakeRecord(&rest); ++record) {
    if (record < 2) continue;  // The file's version, and where the run starts.
    events.emplace_back();
    EXPECT_TRUE(events.back().ParseFromArray(taken->record.data(), static_cast<int>(taken->record.size())));
  }
  EXPECT_TRUE(rest.empty());
  return events;
}

TEST(PictureEventsTest, ImagesAndHistogramsReadBack) {
  const std::string directory = testing::TempDir() + "/pictures";
  ASSERT_TRUE(PictureEvents::Create(directory).ok());  // Its file is replaced.
  auto writer = PictureEvents::Create(directory);
  ASSERT_TRUE(writer.ok()) << writer.status();
  const std::filesystem::directory_iterator files(directory);
  EXPECT_EQ(std::distance(begin(files), end(files)), 1);
  ASSERT_TRUE((*writer)->AddImage(7, "seen", "a PNG file", 3, 5).ok());
  ASSERT_TRUE((*writer)->AddHistogram(8, "weights", {-1, 2, 4, 3, 6, {0, 2}, {1, 3}}).ok());
  ASSERT_TRUE((*writer)->Flush().ok());
  const std::vector<run::PictureEvent> events = ReadPictures((*writer)->path());
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].step(), 7);
  EXPECT_GT(events[0].wall_time(), 1.6e9);
  const auto& image = events[0].summary().value(0);
  EXPECT_EQ(image.tag(), "seen");
  EXPECT_EQ(image.image().height(), 3);
  EXPECT_EQ(image.image().width(), 5);
  EXPECT_EQ(image.image().colorspace(), 3);
  EXPECT_EQ(image.image().encoded_image_string(), "a PNG file");
  const auto& histogram = events[1].summary().value(0).histo();
  EXPECT_EQ(histogram.min(), -1);
  EXPECT_EQ(histogram.max(), 2);
  EXPECT_EQ(histogram.num(), 4);
  EXPECT_EQ(histogram.sum(), 3);
  EXPECT_EQ(histogram.sum_squares(), 6);
  EXPECT_EQ(histogram.bucket_limit(1), 2);
  EXPECT_EQ(histogram.bucket(1), 3);
}

TEST(PictureEventsTest, ScalarsOfEpochsAreReadBack) {
  const std::string directory = testing::TempDir() + "/floors";
  EXPECT_TRUE(ReadEpochScalars(directory, "floor").empty());
  std::string last;
  for (int64_t epoch = 0; epoch < 2; ++epoch) {  // A file each, as of a run that was stopped between them.
    auto writer = EventWriter::Create(directory, 0);
    ASSERT_TRUE(writer.ok()) << writer.status();
    ASSERT_TRUE((*writer)->AddScalars(500, {{"floor", 9}}, {1, -1}).ok());
    ASSERT_TRUE((*writer)->AddScalars(1000, {{"other", 8}, {"floor", epoch + 0.5}}, {-1, epoch}).ok());
    ASSERT_TRUE((*writer)->Flush().ok());
    last = (*writer)->path();
  }
  ASSERT_TRUE(WriteFile(last, *ReadFile(last) + "cut off in a record").ok());
  EXPECT_EQ(ReadEpochScalars(directory, "floor"), (std::vector<std::pair<int64_t, double>>{{0, 0.5}, {1, 1.5}}));
}

}  // namespace
}  // namespace tec
