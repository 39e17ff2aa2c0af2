// A run's encoders and some of its pictures, read: what the sections of its page (run_pictures.h) are drawn from.

#ifndef TEC_EVAL_REPORT_SEEN_RUN_H_
#define TEC_EVAL_REPORT_SEEN_RUN_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "c10/core/Device.h"
#include "data/dataset/dataset.h"
#include "eval/report/run_models.h"
#include "eval/report/run_pictures.h"

namespace tec {

// Letters: N pictures that are shown, S their side, the newest encoder's; C features; L patches.
class SeenRun {
 public:
  SeenRun(RunSubject subject, const RunPicturesOptions& options)
      : subject_(std::move(subject)), options_(options), device_(options.device) {}

  // Reads everything. Pictures that cannot be read are left out; errors are those of data set and weights.
  absl::Status Open();

  const RunSubject& subject() const { return subject_; }
  const RunPicturesOptions& options() const { return options_; }
  c10::Device device() const { return device_; }
  bool is_tec() const { return subject_.pretraining && subject_.pretraining->method() == config::TEC; }
  // The run's pictures, and those of them that are compared with.
  const Dataset& dataset() const { return *dataset_; }
  const Dataset& bank() const { return *bank_; }
  // uint8 [S, S, 3] of each of bank(), undefined where it cannot be read.
  const std::vector<at::Tensor>& thumbnails() const { return thumbnails_; }
  const std::vector<std::string>& left_out() const { return left_out_; }
  // What the run is compared with, if has_base(), then its own in the order of their epochs.
  const std::vector<LookedAt>& encoders() const { return encoders_; }
  bool has_base() const { return has_base_; }
  // Of each encoder: float32 [bank, C], the mean of the patch tokens, NaN where a picture cannot be read.
  const std::vector<at::Tensor>& pooled() const { return pooled_; }
  const std::vector<std::string>& names() const { return names_; }  // [N]
  const std::vector<int64_t>& indices() const { return indices_; }  // [N] in bank().
  const at::Tensor& pixels() const { return pixels_; }              // uint8 [N, S, S, 3]
  const at::Tensor& images() const { return images_; }              // float32 [N, 3, S, S], normalised, on the device.

 private:
  absl::Status OpenPictures();
  absl::Status ReadEncoders();
  absl::Status ReadPictures();
  absl::StatusOr<at::Tensor> PooledFeatures(const LookedAt& looked);

  RunSubject subject_;
  RunPicturesOptions options_;
  c10::Device device_;
  std::shared_ptr<const Dataset> dataset_, bank_;
  std::vector<at::Tensor> thumbnails_;
  std::vector<std::string> left_out_;
  std::vector<LookedAt> encoders_;
  bool has_base_ = false;
  std::vector<at::Tensor> pooled_;
  std::vector<std::string> names_;
  std::vector<int64_t> indices_;
  at::Tensor pixels_, images_;
};

}  // namespace tec

#endif  // TEC_EVAL_REPORT_SEEN_RUN_H_
