// What a data set consists of: every picture read and decoded once.

#ifndef TEC_TOOLS_VERIFY_DATASET_SURVEY_H_
#define TEC_TOOLS_VERIFY_DATASET_SURVEY_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "data/dataset/dataset.h"

namespace tec {

struct SurveyOptions {
  int threads = 1;                                            // At least 1.
  int channels = 3;                                           // As DecodeImage's.
  std::function<void(int64_t done, int64_t total)> progress;  // Called from one thread at a time; may be empty.
};

struct BadPicture {
  int64_t index = 0;
  std::string reason;
};

struct Survey {
  int64_t pictures = 0;                    // All, the bad ones included.
  std::vector<int64_t> by_class;           // [classes]; empty without labels.
  std::map<std::string, int64_t> formats;  // By content, not by name.
  std::vector<BadPicture> bad;             // In order of their index.
  // Of the system, which lets no pictures be read: the rest was not looked at. None is bad for it.
  absl::Status fault;

  // Of the good ones. Pixels.
  int64_t good = 0;
  std::vector<int> heights, widths;  // Sorted; [good].
  // Mean and standard deviation of each channel over all pixels of all pictures, of values in [0, 1]: what data.mean
  // and data.std take. The sums are whole numbers, so threads change nothing.
  std::vector<double> mean, std;  // [channels]

  // 64-bit hash of the file -> the indices of the pictures with it, in order.
  std::map<uint64_t, std::vector<int64_t>> by_hash;
};

Survey SurveyDataset(const Dataset& dataset, const SurveyOptions& options);

// A picture of a data set: which data set (an index into the argument), and which picture.
struct PicturePlace {
  int dataset = 0;
  int64_t index = 0;
};

// Groups of pictures with the same bytes, within and across data sets; each in order of place. Files are compared, not
// only their hashes. An unreadable one counts as different from all; but Unavailable where the system lets no pictures
// be read.
absl::StatusOr<std::vector<std::vector<PicturePlace>>> FindDuplicates(const std::vector<const Dataset*>& datasets,
                                                                      const std::vector<Survey>& surveys);

}  // namespace tec

#endif  // TEC_TOOLS_VERIFY_DATASET_SURVEY_H_
