#include "tec/run/picture_events.h"

#include <errno.h>

#include <filesystem>
#include <optional>
#include <system_error>

#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "tec/base/file.h"
#include "tec/base/status.h"
#include "tec/run/event.pb.h"
#include "tec/run/event_file.h"
#include "tec/run/event_writer.h"
#include "tec/run/picture_event.pb.h"

namespace tec {
namespace {

run::PictureEvent EventAt(int64_t step) {
  run::PictureEvent event;
  event.set_wall_time(absl::ToDoubleSeconds(absl::Now() - absl::UnixEpoch()));
  event.set_step(step);
  return event;
}

}  // namespace

absl::StatusOr<std::unique_ptr<PictureEvents>> PictureEvents::Create(const std::string& directory) {
  const std::vector<std::string> before = EventFiles(directory);
  std::string path;
  {
    // It sees to the file's name, which is to come after those that are there, and begins the file.
    TEC_ASSIGN_OR_RETURN(const std::unique_ptr<EventWriter> begun, EventWriter::Create(directory, /*first_step=*/0));
    path = begun->path();
  }
  for (const std::string& old : before) {
    std::error_code error;
    std::filesystem::remove(old, error);
  }
  std::FILE* file = std::fopen(path.c_str(), "abe");
  if (file == nullptr) return ErrnoToStatus(errno, "cannot open", path);
  return std::unique_ptr<PictureEvents>(new PictureEvents(path, file));
}

PictureEvents::~PictureEvents() { std::fclose(file_); }

absl::Status PictureEvents::AddImage(int64_t step, const std::string& tag, const std::string& encoded, int height,
                                     int width) {
  run::PictureEvent event = EventAt(step);
  auto* value = event.mutable_summary()->add_value();
  value->set_tag(tag);
  value->mutable_image()->set_height(height);
  value->mutable_image()->set_width(width);
  value->mutable_image()->set_colorspace(3);
  value->mutable_image()->set_encoded_image_string(encoded);
  return WriteRecord(event.SerializeAsString());
}

absl::Status PictureEvents::AddHistogram(int64_t step, const std::string& tag, const Histogram& histogram) {
  run::PictureEvent event = EventAt(step);
  auto* value = event.mutable_summary()->add_value();
  value->set_tag(tag);
  run::HistogramProto* histo = value->mutable_histo();
  histo->set_min(histogram.min);
  histo->set_max(histogram.max);
  histo->set_num(histogram.count);
  histo->set_sum(histogram.sum);
  histo->set_sum_squares(histogram.sum_of_squares);
  for (const double limit : histogram.limits) histo->add_bucket_limit(limit);
  for (const double count : histogram.counts) histo->add_bucket(count);
  return WriteRecord(event.SerializeAsString());
}

absl::Status PictureEvents::Flush() {
  if (std::fflush(file_) != 0) return ErrnoToStatus(errno, "cannot write", path_);
  return absl::OkStatus();
}

absl::Status PictureEvents::WriteRecord(const std::string& record) {
  const std::string framed = FramedRecord(record);
  if (std::fwrite(framed.data(), 1, framed.size(), file_) != framed.size()) {
    return ErrnoToStatus(errno, "cannot write", path_);
  }
  return absl::OkStatus();
}

std::vector<std::pair<int64_t, double>> ReadEpochScalars(const std::string& directory, const std::string& tag) {
  std::vector<std::pair<int64_t, double>> scalars;
  for (const std::string& path : EventFiles(directory)) {
    const absl::StatusOr<std::string> content = ReadFile(path);
    absl::string_view rest = content.ok() ? absl::string_view(*content) : absl::string_view();
    while (const std::optional<EventRecord> taken = TakeRecord(&rest)) {
      run::Event event;
      if (!event.ParseFromArray(taken->record.data(), static_cast<int>(taken->record.size()))) break;
      if (!event.has_of_epoch()) continue;
      for (const auto& value : event.summary().value()) {
        if (value.tag() == tag && value.has_simple_value()) {
          scalars.emplace_back(event.of_epoch(), value.simple_value());
        }
      }
    }
  }
  return scalars;
}

}  // namespace tec
