// Members of an archive, one after another, to labelled pictures: WebDataset's samples, or pictures for themselves.

#ifndef TEC_DATA_DATASET_SAMPLES_H_
#define TEC_DATA_DATASET_SAMPLES_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "data/dataset/catalogue.h"
#include "data/dataset/scan.h"

namespace tec {

// More classes than this are a mistake, such as an index taken for a label.
inline constexpr int32_t kMaxClasses = 10000000;
// So is a label far above what so many pictures can have, before memory is asked for: InvalidArgument.
absl::Status CheckLargestLabel(int32_t largest, int64_t pictures);

// Of a data set whose labels are numbers: that some have no picture, as where they count from 1, in words; empty: all
// have one.
std::string EmptyClasses(const Catalogue& catalogue);

struct ArchiveMember {
  std::string name;
  uint64_t begin = 0, size = 0;
  uint64_t packed = Catalogue::kPlain;  // As Catalogue::packed.
  uint32_t checksum = 0;                // As Catalogue::checksums.
};

// Members that follow one another and share their name up to the first dot of its last part are a sample: a picture and
// what is said of it. Of its pictures KEY.jpg is taken rather than KEY.depth.jpg, else the first. But in an archive
// where nothing is said of any picture, names alike mean nothing: "cat.0.jpg, cat.1.jpg" are two pictures.
class SampleGrouper {
 public:
  // `labels`: whether labels are looked for, in a .cls (a whole number) or a .json ("label" or "cls"). `read`: a
  // member's content. `add`: takes a picture and its label, -1 for none. All outlive the grouper.
  SampleGrouper(bool labels, Scan* scan, std::function<absl::Status(const ArchiveMember&, std::string*)> read,
                std::function<void(const ArchiveMember&, int32_t label)> add)
      : labels_(labels), scan_(scan), read_(std::move(read)), add_(std::move(add)) {}

  // An error is one of `read`; but DataLoss of the bytes of a label alone costs its picture, which is left out.
  absl::Status Add(const ArchiveMember& member);
  // After the last member. `labels_only`: a sample without a label is dropped, as a defect may have cut off its label.
  void Finish(bool labels_only);

  // Labels in samples without a picture.
  int64_t lonely_labels() const { return lonely_labels_; }
  // The first .cls that is no whole number from 0, or .json whose label is none, with its content; empty: none.
  const std::string& odd_label() const { return odd_label_; }
  // Of pictures that are left out because their label's bytes are damaged or too many: the first such label, what is
  // wrong with it, and how many pictures; empty: none.
  std::string DamagedLabels() const;

 private:
  void FinishSample();
  // Adds picture `taken` of a sample, and counts the others.
  void AddOne(const std::vector<ArchiveMember>& pictures, size_t taken, int32_t label);

  const bool labels_;
  Scan* const scan_;
  const std::function<absl::Status(const ArchiveMember&, std::string*)> read_;
  const std::function<void(const ArchiveMember&, int32_t)> add_;
  std::string key_;
  std::vector<ArchiveMember> pictures_;
  bool parts_ = false;  // Whether the sample has anything beside pictures.
  int32_t label_ = -1;
  std::string damaged_;  // What may be the sample's label and cannot be read, and why.
  int64_t lonely_labels_ = 0, damaged_labels_ = 0;
  std::string odd_label_, first_damaged_;
  bool any_sample_ = false;                            // Whether anything is said of a picture of this archive.
  std::vector<std::vector<ArchiveMember>> undecided_;  // Pictures with one key that may be a sample or not.
};

}  // namespace tec

#endif  // TEC_DATA_DATASET_SAMPLES_H_
