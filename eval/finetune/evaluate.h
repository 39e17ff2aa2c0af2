// A classifier on held-out images: loss, top-1, top-5, and what it takes for what. (recipe.md section 13.5)

#ifndef TEC_EVAL_FINETUNE_EVALUATE_H_
#define TEC_EVAL_FINETUNE_EVALUATE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "data/dataset/dataset.h"
#include "data/loader/loader.h"
#include "eval/metrics/report.h"
#include "tec/models/encoder.h"
#include "tec/nn/normalize.h"

namespace tec {

struct EvaluateOptions {
  int64_t batch_size = 64;
  int threads = 1;      // That decode.
  bool pin_mem = true;  // Copy to a CUDA device from page-locked memory.
  // One for each of the model's channels.
  std::vector<float> mean{kImageNetMean.begin(), kImageNetMean.end()}, std{kImageNetStd.begin(), kImageNetStd.end()};
  at::ScalarType precision = at::kFloat;
  double max_bad_fraction = 0.001;
  std::string bad_images_path;                     // As LoaderOptions.
  int64_t world_size = 1, rank = 0;                // The share of this rank: images rank, rank + world_size, ...
  std::function<bool()> stop;                      // Asked before each batch; true ends with Cancelled.
  std::function<void(int64_t, int64_t)> progress;  // Images done, images in all.
};

// What one rank has seen; the counters' Sums() of all ranks add up.
struct ClassifierCounts {
  ReportCounter counter;
  int64_t unreadable = 0;  // Images left out.
};

// Given each batch with its logits, float32 [N, classes] on the CPU. An image with sources[i] != indices[i] could not
// be read (its neighbour is in its place); loader.bad_images() has the reason.
using LogitsSink = std::function<absl::Status(const Batch& batch, const at::Tensor& logits, const Loader& loader)>;

// Runs every image of this rank's share of `dataset` once through `model`, without stochastic depth and without
// gradient. Errors are the loader's and the sink's.
absl::Status ClassifyImages(FinetuneModel& model, std::shared_ptr<const Dataset> dataset,
                            const EvaluateOptions& options, const LogitsSink& sink);

// The same, counted. labels_of_dataset: for each label of `dataset` the class of the model (MapClasses).
//
// The reference averages the means of batches and, over several ranks, counts some images twice; here every image has
// the same weight.
absl::StatusOr<ClassifierCounts> EvaluateClassifier(FinetuneModel& model, std::shared_ptr<const Dataset> dataset,
                                                    const std::vector<int64_t>& labels_of_dataset,
                                                    const EvaluateOptions& options);

// "* Acc@1 83.664 Acc@5 96.530 loss 0.731", the reference's line.
std::string FormatAccuracy(const ClassificationReport& report);

}  // namespace tec

#endif  // TEC_EVAL_FINETUNE_EVALUATE_H_
