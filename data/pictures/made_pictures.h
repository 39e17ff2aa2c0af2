// Small labelled pictures, made on the spot: what the quickstart trains on and tests are fed with.
//
// The class of a picture is the outline of the shapes in it and nothing else. Colours, textures, sizes, places, small
// turns, clutter behind and before, and noise are drawn alike for every class, and every outline has the same area, so
// neither the colours nor the brightness of a picture say anything about its class. A picture shows its outline four
// times, each with a size, turn, stretch and place of its own: what is masked in one shape can then be told from the
// others, which is what makes masked pretraining learn outlines within minutes.
//
// A picture is a function of (seed, split, index) and the options.

#ifndef TEC_DATA_PICTURES_MADE_PICTURES_H_
#define TEC_DATA_PICTURES_MADE_PICTURES_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "data/image/image.h"

namespace tec {

struct PictureOptions {
  int64_t train_images = 0;
  int64_t test_images = 0;
  int size = 64;  // Pixels a side, at least 16. All lengths below scale with it.
  uint64_t seed = 0;
};

// Names of the classes, in the order of their labels (bytewise, as a folder of class folders is numbered).
const std::vector<std::string>& PictureClasses();

enum class PictureSplit { kTrain, kTest };

// The label of a picture: classes take turns, so every class has equally many.
inline int64_t PictureLabel(int64_t index) { return index % static_cast<int64_t>(PictureClasses().size()); }

// One picture, uint8 [size, size, 3].
Image DrawPicture(const PictureOptions& options, PictureSplit split, int64_t index);

// Which pixels of that picture show its shapes, uint8 [size, size, 1]: 0 elsewhere, also where something lies before a
// shape, and 1 + the picture's label on a shape, of which at least half of the pixel is there.
Image DrawMask(const PictureOptions& options, PictureSplit split, int64_t index);

// Writes all of them as JPEG files: folder/train/<class>/<index>.jpg and folder/test/<class>/<index>.jpg. A folder that
// already holds exactly these pictures (same options) is left as it is. `progress`, if set, is called now and then with
// the number of pictures done so far. FailedPrecondition if the folder holds something else.
absl::Status WritePictures(const PictureOptions& options, const std::string& folder,
                           const std::function<void(int64_t)>& progress = nullptr);

// Writes them for segmentation: folder/images/<part>/<index>.jpg and folder/masks/<part>/<index>.png, parts train and
// val, and folder/classes.txt, a name a line from "background" on.
absl::Status WriteMaskedPictures(const PictureOptions& options, const std::string& folder);

}  // namespace tec

#endif  // TEC_DATA_PICTURES_MADE_PICTURES_H_
