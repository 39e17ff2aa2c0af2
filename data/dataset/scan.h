// The looking through of a data set: how far it is, what it depends on, and what was left out and why.

#ifndef TEC_DATA_DATASET_SCAN_H_
#define TEC_DATA_DATASET_SCAN_H_

#include <sys/stat.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "data/dataset/catalogue.h"

namespace tec {

class Scan {
 public:
  // `exclude`: as in DatasetOptions. Both are for messages and for LeavesOut().
  Scan(std::string root, std::vector<std::string> exclude) : root_(std::move(root)), exclude_(std::move(exclude)) {}

  // So many pictures more; every few seconds the log says how many there are.
  void Count(int64_t pictures);

  // Whether `path` under the data set, whose last part is `name`, is litter or excluded; counts it then.
  bool LeavesOut(const std::string& path, absl::string_view name, bool folder);
  // A file that is no picture by its name, which ends in `suffix`.
  void LeaveOut(absl::string_view suffix);
  // Something in an archive that is none of its files: "links to nothing".
  void PassOver(absl::string_view what) { ++passed_over_[std::string(what)]; }
  // A picture that is a part of a sample that has another one.
  void LeaveOutPart(absl::string_view suffix) { ++parts_[std::string(suffix)]; }

  // Into catalogue->left_out and warnings.
  void Report(Catalogue* catalogue) const;

  void Depend(const std::string& path, const struct stat& info) { stamps_.push_back(StampOf(path, info)); }
  static Stamp StampOf(const std::string& path, const struct stat& info);
  const std::vector<Stamp>& stamps() const { return stamps_; }

 private:
  const std::string root_;
  const std::vector<std::string> exclude_;
  int64_t pictures_ = 0;
  std::chrono::steady_clock::time_point said_ = std::chrono::steady_clock::now();
  std::vector<Stamp> stamps_;
  std::map<std::string, int64_t> suffixes_, litter_, excluded_, passed_over_, parts_;
};

}  // namespace tec

#endif  // TEC_DATA_DATASET_SCAN_H_
