// Frozen features in a folder, written in parts while they are computed. An extraction that is stopped, or dies, goes
// on after the last part; what reads the features needs no more memory than one part of them.
//
//   TEC_ASSIGN_OR_RETURN(FeatureStore store, FeatureStore::Open(folder, dataset->size(), width, options.batch_size));
//   TEC_ASSIGN_OR_RETURN(Features features, ExtractStored(*encoder, dataset, options, &store));

#ifndef TEC_EVAL_FEATURES_FEATURE_STORE_H_
#define TEC_EVAL_FEATURES_FEATURE_STORE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "eval/features/features.h"

namespace tec {

class FeatureStore {
 public:
  // `folder` must be used for one encoder, data set, spec and precision alone; it is made. images: of the data set;
  // width: numbers an image. Of what is there, parts are taken in order up to the last one that ends with a batch of
  // batch_size images or with the data set; one that is no whole part of such a set is to be computed again, and
  // logged.
  static absl::StatusOr<FeatureStore> Open(const std::string& folder, int64_t images, int64_t width,
                                           int64_t batch_size);

  // Looked at so far, from the first image on, what is only buffered included; unreadable ones of them.
  int64_t images() const { return images_; }
  int64_t unreadable() const { return unreadable_; }
  bool complete() const { return images_ == all_images_; }

  // The next `images` images: those that were readable have values float32 [n, width] and labels int64 [n]. Writes a
  // part when there is enough for one, or when the last one was written a minute ago.
  absl::Status Append(const at::Tensor& values, const at::Tensor& labels, int64_t images);
  // Writes what is buffered.
  absl::Status Flush();

  // Gives out the written parts in order; the tensors are good during the call. DataLoss for a part that has gone bad
  // since it was opened.
  absl::Status Read(const std::function<absl::Status(const at::Tensor& values, const at::Tensor& labels)>& sink) const;

 private:
  struct Part {
    int64_t begin = 0, images = 0;
    at::Tensor values, labels;
  };
  FeatureStore(std::string folder, int64_t images, int64_t width)
      : folder_(std::move(folder)), all_images_(images), width_(width) {}
  std::string PathOf(int64_t begin) const;
  absl::StatusOr<Part> ReadPart(int64_t begin) const;

  std::string folder_;
  int64_t all_images_, width_;
  int64_t images_ = 0, unreadable_ = 0;
  std::vector<int64_t> begins_;  // Of the written parts.
  std::vector<at::Tensor> buffered_values_, buffered_labels_;
  int64_t buffered_ = 0;  // Images.
  double written_ = 0;    // When the last part was.
};

// As ExtractFeatures, by way of `store`, which was opened with that data set's size, options.spec's width and
// options.batch_size: what is not there is computed and written. Stopped, it writes what it has and returns Cancelled;
// with the store opened anew, the next call computes the rest alone, and the features are the same to the bit.
// options.sink is given one part after the other once all are there, options.stop asked before each. Further errors are
// those of writing. Of several ranks (options.group) the first one alone has a store and gets the features; the others
// give null.
absl::StatusOr<Features> ExtractStored(Encoder& encoder, std::shared_ptr<const Dataset> dataset,
                                       const FeatureOptions& options, FeatureStore* store);

}  // namespace tec

#endif  // TEC_EVAL_FEATURES_FEATURE_STORE_H_
