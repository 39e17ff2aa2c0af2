// Pictures with index masks: VOC 2012, ADE20K, or any folder of pictures and masks.

#ifndef TEC_EVAL_DENSE_SEGMENTATION_DATA_H_
#define TEC_EVAL_DENSE_SEGMENTATION_DATA_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data/dataset/dataset.h"
#include "data/image/image.h"

namespace tec {

// The pictures of one part, without labels; a mask beside each.
class MaskedPictures : public Dataset {
 public:
  struct Entry {
    std::string name, picture, mask;  // In messages; paths.
  };
  explicit MaskedPictures(std::vector<Entry> entries);

  int64_t size() const override { return static_cast<int64_t>(entries_.size()); }
  int32_t label(int64_t) const override { return -1; }
  std::string name(int64_t index) const override { return entries_[index].name; }
  std::string file(int64_t index) const override { return entries_[index].picture; }
  const std::vector<std::string>& classes() const override { return no_classes_; }
  using Dataset::Read;
  absl::Status Read(int64_t index, std::string* bytes) const override;

  // uint8 [height, width, 1] (DecodeIndexImage), of which a number is a class. Errors name the file.
  absl::StatusOr<Image> ReadMask(int64_t index) const;
  // Its file, as Read.
  absl::Status ReadMaskBytes(int64_t index, std::string* bytes) const;

  // The pictures of these indices, in their order.
  std::shared_ptr<const MaskedPictures> Subset(const std::vector<int64_t>& indices) const;

 private:
  std::vector<Entry> entries_;
  std::vector<std::string> no_classes_;
};

struct SegmentationData {
  std::string layout;  // "voc", "ade20k" or "folders".
  std::shared_ptr<const MaskedPictures> train, held_out;
  std::vector<int> ignored;  // Numbers in masks that are no class.
  // By number in the masks; empty: the classes have no names.
  std::vector<std::string> class_names;
  int numbers = 0;  // Classes have numbers below this; 0: not known.

  // "7 sheep", or "7".
  std::string NameOf(int number) const;
};

// Opens what `path` holds. `layout`: "voc", "ade20k", "folders", or "auto" for the first of these that fits:
//   voc      JPEGImages/, SegmentationClass/ and ImageSets/Segmentation/<train_list>.txt and val.txt, in `path` or its
//            VOC2012 or VOCdevkit/VOC2012. Ignored: 255. A train_list of "trainaug" has its masks in
//            SegmentationClassAug/, where others keep them.
//   ade20k   images/training, images/validation, annotations/training, annotations/validation, in `path` or its
//            ADEChallengeData2016. Ignored: 0, which is every thing without a class there, and 255. Names from
//            objectInfo150.txt.
//   folders  images/<part> and masks/<part> (or annotations/<part>, labels/<part>), part train, and val or test; or
//            <part>/images and <part>/masks. A mask has its picture's path with .png for its ending. Ignored: 255.
//            Names from classes.txt, a line a number from 0.
// `ignored`, if not empty, takes the place of those numbers. NotFound or InvalidArgument say what was looked for; of
// pictures without masks the first are named.
absl::StatusOr<SegmentationData> OpenSegmentationData(const std::string& path, const std::string& layout,
                                                      const std::string& train_list, const std::vector<int>& ignored);

}  // namespace tec

#endif  // TEC_EVAL_DENSE_SEGMENTATION_DATA_H_
