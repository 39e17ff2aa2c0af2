// From the loader's bytes to what a model sees. The loader hands over uint8 pixels so that a batch crosses to the
// device at a quarter of its float size; this runs there.

#ifndef TEC_NN_NORMALIZE_H_
#define TEC_NN_NORMALIZE_H_

#include <array>

#include "ATen/core/Tensor.h"
#include "absl/types/span.h"

namespace tec {

// Per RGB channel, in units of the range [0, 1]: ImageNet's statistics, which every released base model was trained
// with.
constexpr std::array<float, 3> kImageNetMean = {0.485f, 0.456f, 0.406f};
constexpr std::array<float, 3> kImageNetStd = {0.229f, 0.224f, 0.225f};

// Pixels as torchvision's ToTensor and Normalize give them, to the last bit: (x / 255 - mean) / std, each operation
// rounded to float32.
//
//   pixels      [N, H, W, c]  uint8, contiguous, on the CPU or a CUDA device; c channels, RGB or others, at most 64
//   mean, std   [c]           in units of the range [0, 1]; std is positive
//   result      [N, c, H, W]  float32, contiguous, on the device of `pixels`
//
// One pass over the pixels: on the CPU through a table of the 256 values of each channel. CPU and CUDA results have
// equal bits. TEC_CHECK-fails on any other shape, type or layout. No gradient.
at::Tensor NormalizePixels(const at::Tensor& pixels, absl::Span<const float> mean, absl::Span<const float> std);

}  // namespace tec

#endif  // TEC_NN_NORMALIZE_H_
