// Event files for TensorBoard beside a run's scalars (event_writer.h): images and histograms; and reading scalars back.

#ifndef TEC_RUN_PICTURE_EVENTS_H_
#define TEC_RUN_PICTURE_EVENTS_H_

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace tec {

// How often numbers are how large: counts[i] of them are above limits[i - 1] and at most limits[i].
struct Histogram {
  double min = 0, max = 0, count = 0, sum = 0, sum_of_squares = 0;
  std::vector<double> limits, counts;
};

class PictureEvents {
 public:
  // Begins an event file in `directory` in the place of those that are there: they are removed, and a viewer that has
  // read them drops what it read.
  static absl::StatusOr<std::unique_ptr<PictureEvents>> Create(const std::string& directory);
  ~PictureEvents();
  PictureEvents(const PictureEvents&) = delete;
  PictureEvents& operator=(const PictureEvents&) = delete;

  // A PNG or JPEG file of so many pixels.
  absl::Status AddImage(int64_t step, const std::string& tag, const std::string& encoded, int height, int width);
  absl::Status AddHistogram(int64_t step, const std::string& tag, const Histogram& histogram);
  absl::Status Flush();
  const std::string& path() const { return path_; }

 private:
  PictureEvents(std::string path, std::FILE* file) : path_(std::move(path)), file_(file) {}
  absl::Status WriteRecord(const std::string& record);

  const std::string path_;
  std::FILE* const file_;
};

// One scalar's (epoch, value) of the event files of a folder, of records that tell of an epoch, in the order of the
// files' names; none where there is no such folder. A broken record ends its file.
std::vector<std::pair<int64_t, double>> ReadEpochScalars(const std::string& directory, const std::string& tag);

}  // namespace tec

#endif  // TEC_RUN_PICTURE_EVENTS_H_
