// kNN accuracy of a model while it trains: how good its features are, without training anything on them.
//
//   TEC_ASSIGN_OR_RETURN(KnnMonitor monitor, KnnMonitor::Create(options));
//   options.monitor = [&](int64_t epoch, const torch::nn::Module& model) { return monitor.Evaluate(model); };

#ifndef TEC_EVAL_KNN_KNN_MONITOR_H_
#define TEC_EVAL_KNN_KNN_MONITOR_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "data/dataset/dataset.h"
#include "eval/features/features.h"
#include "eval/knn/knn_classifier.h"
#include "tec/dist/process_group.h"

namespace tec {

struct KnnMonitorOptions {
  // Class folders. With val/ (or test/) beside train/ the held-out images are classified by the training images;
  // otherwise each image by the others (leave one out).
  std::string data_path;
  std::string index_folder;          // As in DatasetOptions.
  std::vector<std::string> exclude;  // As in DatasetOptions.
  int64_t max_images = 50000;        // Of the training images, about so many, equally many of each class; 0: all.
  int64_t k = 20;
  VitOptions encoder;       // Of the model.
  FeatureOptions features;  // How images are read and normalised; spec: the patches' mean says most of MAE and TEC,
                            // whose [CLS] token no loss trains.
};

class KnnMonitor {
 public:
  // Errors are OpenDataset's and OpenLabelledData's.
  static absl::StatusOr<KnnMonitor> Create(const KnnMonitorOptions& options);

  // `model` has an encoder (EncoderState). {"knn_top1", percent}, {"knn_top5", percent}. Changes nothing of the model.
  // group: ranks that all make the call with the same model and share the images; the first one gets the numbers, the
  // others none. The group is still good after an error.
  absl::StatusOr<std::vector<std::pair<std::string, double>>> Evaluate(const torch::nn::Module& model,
                                                                       ProcessGroup* group = nullptr) const;

  // "kNN (k 20) of 500 images by 10000", for the run's first lines.
  std::string Describe() const;

 private:
  explicit KnnMonitor(KnnMonitorOptions options) : options_(std::move(options)) {}

  KnnMonitorOptions options_;
  std::shared_ptr<const Dataset> train_, held_out_;  // held_out_ null: leave one out.
  std::vector<int64_t> class_of_held_out_;
  std::string fingerprint_;  // Of all images.
};

}  // namespace tec

#endif  // TEC_EVAL_KNN_KNN_MONITOR_H_
