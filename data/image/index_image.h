// Pictures whose pixels are numbers, not colours: masks of segmentation, whose number is a class.

#ifndef TEC_DATA_IMAGE_INDEX_IMAGE_H_
#define TEC_DATA_IMAGE_INDEX_IMAGE_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "data/image/image.h"

namespace tec {

// uint8 [height, width, 1] of a PNG: of one with a palette the numbers of its entries, of a grey one of up to 8 bits
// the numbers as they are stored. That is numpy.asarray(Image.open(file)) with Pillow, which of grey of 2 and 4 bits
// alone makes other numbers.
//
//   InvalidArgument    no PNG, or one of colours, with alpha or of 16 bits: its pixels name no class
//   DataLoss           truncated or corrupt
//   ResourceExhausted  more than kMaxImagePixels (decode.h)
absl::Status DecodeIndexImage(absl::string_view bytes, Image* image);

}  // namespace tec

#endif  // TEC_DATA_IMAGE_INDEX_IMAGE_H_
