// Features of patches and the masks' numbers on them, batch by batch.

#ifndef TEC_EVAL_DENSE_PATCHES_H_
#define TEC_EVAL_DENSE_PATCHES_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "data/image/image.h"
#include "data/loader/transform.h"
#include "eval/dense/segmentation_data.h"
#include "eval/features/features.h"
#include "tec/models/encoder.h"

namespace tec {

// The whole picture at size x size, whatever its shape: bicubic, as torchvision's Resize((size, size)) of a PIL image.
class SquashTransform : public Transform {
 public:
  SquashTransform(int size, int channels) : size_(size), channels_(channels) {}

  int size() const override { return size_; }
  int channels() const override { return channels_; }
  absl::Status Apply(absl::string_view encoded, const SampleKey& key, TransformScratch* scratch,
                     uint8_t* out) const override;

 private:
  int size_, channels_;
};

struct PatchBatch {
  at::Tensor features;           // float32 [N, L, C]: patch tokens after the final norm, on the CPU.
  at::Tensor labels;             // uint8 [N, L, P * P]: the mask's numbers on each patch, its pixels row by row.
  at::Tensor pixels;             // uint8 [N, S, S, c], as the encoder sees the pictures before normalisation.
  std::vector<int64_t> indices;  // [N] in the data set.
};

// Runs every picture of `pictures`, squashed to the encoder's size, with its mask (nearest), through `encoder`, in
// order. Of `options` batch_size, threads, mean, std, precision, stop, progress and what is said of bad images count.
// A picture that cannot be read is left out and counted in *unreadable; a mask that cannot ends it, as do errors of
// `sink`.
absl::Status ForEachPatchBatch(Encoder& encoder, const std::shared_ptr<const MaskedPictures>& pictures,
                               const FeatureOptions& options,
                               const std::function<absl::Status(const PatchBatch&)>& sink, int64_t* unreadable);

// uint8 [N, S, S] -> [N, L, P * P], and back.
at::Tensor PatchesOf(const at::Tensor& masks, int64_t patch_size);
at::Tensor MasksOf(const at::Tensor& patches, int64_t patch_size);

// The most frequent number of each row, of equally frequent ones the smallest: uint8 [n, k] -> uint8 [n]. On the CPU.
at::Tensor MostFrequent(const at::Tensor& numbers);

}  // namespace tec

#endif  // TEC_EVAL_DENSE_PATCHES_H_
