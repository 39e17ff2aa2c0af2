// Segmentation by frozen patch features with nothing trained by gradient descent: kNN and logistic regression by the
// protocol of CAPI (arXiv 2502.08769; its eval_segmentation.py): pictures and masks squashed to the encoder's size, 10
// % of the training pictures put aside to choose by, patch features standardised by the others, then k and distance, or
// C, of the highest mean IoU there, and a fit to all training pictures.

#ifndef TEC_EVAL_DENSE_CAPI_H_
#define TEC_EVAL_DENSE_CAPI_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "eval/dense/segmentation_data.h"
#include "eval/program/frozen_program.h"
#include "nlohmann/json.hpp"

namespace tec {

struct CapiOptions {
  bool knn = true, logistic = true;
  std::vector<int64_t> k = {1, 3, 10, 30};
  std::vector<double> c;             // Not empty.
  double validation_fraction = 0.1;  // Of the training pictures, rounded down, but at least one.
  int64_t max_iterations = 1000;     // Of L-BFGS, for each C.
  double tolerance = 1e-12;          // As in LogisticOptions.
  int64_t pictures = 8;              // That are drawn.
};

// 10^linspace(-6, 5, 8).
std::vector<double> CapiGrid();

// Results as results.json has them, under "knn" and "logistic", and "pictures". settings.features says how features are
// computed; fits are kept in settings.output_dir. Prints the tables. InvalidArgument for fewer than two training
// pictures, and where no patch has a class.
absl::StatusOr<nlohmann::ordered_json> RunCapi(const FrozenEncoder& encoder, const FrozenSettings& settings,
                                               const SegmentationData& data, const CapiOptions& options);

}  // namespace tec

#endif  // TEC_EVAL_DENSE_CAPI_H_
