// The batches of features that several ranks compute, brought together on the first rank in the data set's order.

#ifndef TEC_EVAL_FEATURES_FEATURE_EXCHANGE_H_
#define TEC_EVAL_FEATURES_FEATURE_EXCHANGE_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/status/statusor.h"
#include "c10/core/Device.h"
#include "tec/dist/process_group.h"

namespace tec {

struct BatchFeatures {
  int64_t images = 0;  // Looked at; 0: there was no batch.
  at::Tensor values;   // float32 [n, width], on the CPU, of those that could be read.
  at::Tensor labels;   // int64 [n], on the CPU.
};

class FeatureExchange {
 public:
  // device: the group's. Batches have at most batch_size images.
  FeatureExchange(ProcessGroup& group, c10::Device device, int64_t batch_size, int64_t width);

  // On every rank, in rounds: each gives its batch, or why it has none, and the number of unreadable images that it has
  // met so far. An error of one rank is returned on all, with its text, and Cancelled if one was asked to stop; the
  // group stays good for both. Returns the ranks' batches, by rank, on the first rank, and nothing on the others.
  absl::StatusOr<std::vector<BatchFeatures>> Gather(const absl::StatusOr<BatchFeatures>& own, int64_t bad_images);
  // Of all ranks, in the newest round: unreadable images met so far; images of the round, those that could be read.
  int64_t bad_images() const { return bad_images_; }
  int64_t images() const { return images_; }
  int64_t readable() const { return readable_; }

 private:
  absl::Status ShareError(const absl::Status& own);

  ProcessGroup& group_;
  const c10::Device device_;
  const int64_t batch_size_, width_;
  at::Tensor buffer_;  // int32 [ranks, header + batch_size * (1 + width)], on the CPU.
  int64_t bad_images_ = 0, images_ = 0, readable_ = 0;
};

}  // namespace tec

#endif  // TEC_EVAL_FEATURES_FEATURE_EXCHANGE_H_
