// A data set whose labels are its images' own numbers, so that rows of features tell which image they are of, also
// where unreadable images were left out.

#ifndef TEC_EVAL_EMBED_NUMBERED_IMAGES_H_
#define TEC_EVAL_EMBED_NUMBERED_IMAGES_H_

#include <memory>

#include "data/dataset/dataset.h"

namespace tec {

// label(i) is i; everything else is that of `dataset`. At most 2^31 - 1 images.
std::shared_ptr<const Dataset> NumberedImages(std::shared_ptr<const Dataset> dataset);

}  // namespace tec

#endif  // TEC_EVAL_EMBED_NUMBERED_IMAGES_H_
