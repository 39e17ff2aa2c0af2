// The pictures of a finetuning run: those it trains on, those it is evaluated on, and their classes.

#ifndef TEC_EVAL_FINETUNE_FINETUNE_DATA_H_
#define TEC_EVAL_FINETUNE_FINETUNE_DATA_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "data/dataset/dataset.h"
#include "tec/config/finetune.pb.h"
#include "tec/run/progress.h"

namespace tec {

struct FinetuneData {
  std::shared_ptr<const Dataset> train, held_out;
  std::vector<int64_t> class_of_held_out;  // For each label of held_out that of train (MapClasses).
  std::vector<std::string> class_names;    // Of the model, which may have more than the images: those have numbers.
};

// Fills in settings->class_names, and nb_classes where it is 0. InvalidArgument, with the flag or the path, for images
// without labels, held-out classes that the training images lack, and fewer nb_classes than there are.
absl::StatusOr<FinetuneData> OpenFinetuneData(config::Finetune* settings, Progress& progress);

}  // namespace tec

#endif  // TEC_EVAL_FINETUNE_FINETUNE_DATA_H_
