// Pillow's antialiased bicubic resize, bit for bit, and the crops that go with it.

#ifndef TEC_DATA_AUGMENT_RESIZE_H_
#define TEC_DATA_AUGMENT_RESIZE_H_

#include <cstdint>
#include <vector>

#include "data/augment/random_resized_crop.h"
#include "data/image/image.h"

namespace tec {

// Weights of one axis: output i is the sum over k < taps of weights[i * taps + k] * input[first[i] + k].
struct ResizeAxis {
  int taps = 0;
  std::vector<int> first;
  std::vector<int> count;        // Taps that lie inside the input; the weights beyond are zero.
  std::vector<int32_t> weights;  // Times 2^22.
};

// Memory kept from one resize to the next.
struct ResizeScratch {
  ResizeAxis horizontal, vertical;
  std::vector<uint8_t> rows;  // Result of the horizontal pass.
  Image resized;
};

// Cuts `box` out of `source` and resizes it to `height` x `width`, as PIL's crop() and resize(BICUBIC): pixels outside
// the box play no part. Writes uint8 [height, width, 3] to `out`; with `flip`, each row from right to left. `box` must
// lie inside `source`; all sizes >= 1.
void ResizeBicubic(const Image& source, const Box& box, int height, int width, bool flip, ResizeScratch* scratch,
                   uint8_t* out);

// The evaluation crop (recipe.md section 13.5) of `source`: uint8 [size, size, 3] to `out`.
void EvalCrop(const Image& source, int size, ResizeScratch* scratch, uint8_t* out);

}  // namespace tec

#endif  // TEC_DATA_AUGMENT_RESIZE_H_
