// Pillow's antialiased resize, bicubic or bilinear, bit for bit (version 13; before it, tall images can differ in the
// last bit), and the crops that go with it.

#ifndef TEC_DATA_AUGMENT_RESIZE_H_
#define TEC_DATA_AUGMENT_RESIZE_H_

#include <cstdint>
#include <vector>

#include "data/augment/resize_kernels.h"
#include "data/image/box.h"
#include "data/image/image.h"

namespace tec {

// Memory kept from one resize to the next.
struct ResizeScratch {
  ResizeAxis horizontal, vertical;
  std::vector<double> line;     // Weights of one output before rounding.
  std::vector<uint8_t> pixels;  // Result of the first pass.
};

// Cuts `box` out of `source` and resizes it to `height` x `width`, as PIL's crop() and resize(BICUBIC): pixels outside
// the box play no part. Writes uint8 [height, width, channels of `source`] to `out`; with `flip`, each row from right
// to left. `box` must lie inside `source`; all sizes >= 1.
void ResizeBicubic(const Image& source, const Box& box, int height, int width, bool flip, ResizeScratch* scratch,
                   uint8_t* out);
// The same with a box of the whole image, of which `source` must have all of the box.
void ResizeBicubic(const ImageRegion& source, const Box& box, int height, int width, bool flip, ResizeScratch* scratch,
                   uint8_t* out);

// The same by PIL's BICUBIC or BILINEAR.
enum class ResizeFilter { kBicubic, kBilinear };
void Resize(ResizeFilter filter, const ImageRegion& source, const Box& box, int height, int width, bool flip,
            ResizeScratch* scratch, uint8_t* out);

// The evaluation crop (recipe.md section 13.5): the image resized to height x width, its short side int(size / 0.875)
// up to size 224 and size above, of which the central size x size from (top, left) is shown.
struct EvalGeometry {
  int64_t height = 0, width = 0;
  int64_t top = 0, left = 0;
};
EvalGeometry EvalCropGeometry(int height, int width, int size);

// That crop of `source`: uint8 [size, size, channels] to `out`. Only what is shown is computed, so a strip of an image,
// whose resized long side would not fit into memory, is as good as any.
void EvalCrop(const Image& source, int size, ResizeScratch* scratch, uint8_t* out);

// The part of an image of height x width that EvalCrop looks at, and EvalCrop of a region that has it.
Box EvalCropSource(int height, int width, int size);
void EvalCrop(const ImageRegion& source, int size, ResizeScratch* scratch, uint8_t* out);

}  // namespace tec

#endif  // TEC_DATA_AUGMENT_RESIZE_H_
