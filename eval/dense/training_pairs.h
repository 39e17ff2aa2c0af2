// Training pictures of a dense head, cut together with their masks as Pixio's evaluation does (its
// semseg/data/transform.py): the longer side drawn from 0.5 to 2 times its length, a random square of it, a flip.

#ifndef TEC_EVAL_DENSE_TRAINING_PAIRS_H_
#define TEC_EVAL_DENSE_TRAINING_PAIRS_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data/image/image.h"
#include "data/loader/transform.h"
#include "eval/dense/segmentation_data.h"

namespace tec {

inline constexpr uint8_t kNoClass = 255;  // Of a pixel that does not count.

// Numbers in masks to places 0..K-1 of a head's classes.
class ClassPlaces {
 public:
  // The numbers 0 to highest - 1 without the ignored ones. InvalidArgument where none is left.
  static absl::StatusOr<ClassPlaces> Create(int highest, const std::vector<int>& ignored);

  int64_t count() const { return static_cast<int64_t>(numbers_.size()); }
  const std::vector<int>& numbers() const { return numbers_; }  // Of each place.
  // Turns the mask's numbers into places, in place; kNoClass for the ignored ones. InvalidArgument names a number that
  // is neither a class nor ignored.
  absl::Status Map(Image* mask) const;

 private:
  ClassPlaces() { places_.fill(-1); }
  std::vector<int> numbers_;
  std::array<int, 256> places_;
};

// 1 + the highest number in the masks that is not ignored. Errors are ReadMask's.
absl::StatusOr<int> HighestNumber(const MaskedPictures& pictures, const std::vector<int>& ignored);

// The same pictures, whose bytes have the mask's behind them: for PairTransform.
class PairedPictures : public Dataset {
 public:
  explicit PairedPictures(std::shared_ptr<const MaskedPictures> pictures) : pictures_(std::move(pictures)) {}

  int64_t size() const override { return pictures_->size(); }
  int32_t label(int64_t) const override { return -1; }
  std::string name(int64_t index) const override { return pictures_->name(index); }
  std::string file(int64_t index) const override { return pictures_->file(index); }
  const std::vector<std::string>& classes() const override { return pictures_->classes(); }
  using Dataset::Read;
  absl::Status Read(int64_t index, std::string* bytes) const override;

 private:
  std::shared_ptr<const MaskedPictures> pictures_;
};

// Of a pair, a square of size x size whose last channel is the mask's places. Bicubic, the mask nearest; beyond the
// picture black, and no class. Drawn from the stream RandomKey{seed, kCrop, epoch, sample}. Errors beside the
// decoders': a mask that is not as large as its picture, and ClassPlaces::Map's.
class PairTransform : public Transform {
 public:
  PairTransform(int size, int channels, ClassPlaces places)
      : size_(size), channels_(channels), places_(std::move(places)) {}

  int size() const override { return size_; }
  int channels() const override { return channels_ + 1; }
  absl::Status Apply(absl::string_view encoded, const SampleKey& key, TransformScratch* scratch,
                     uint8_t* out) const override;

 private:
  int size_, channels_;
  ClassPlaces places_;
};

// InvalidArgument unless the mask is as large as the picture.
absl::Status CheckSizes(const Image& picture, const Image& mask);

}  // namespace tec

#endif  // TEC_EVAL_DENSE_TRAINING_PAIRS_H_
