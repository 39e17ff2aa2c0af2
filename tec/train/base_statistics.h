// How the base model's images are normalised: as its own file, the files beside it or its family say, whatever the
// run's statistics are, which the new model sees.

#ifndef TEC_TRAIN_BASE_STATISTICS_H_
#define TEC_TRAIN_BASE_STATISTICS_H_

#include "absl/status/status.h"
#include "tec/checkpoint/families/vit_file.h"
#include "tec/config/experiment.pb.h"
#include "tec/models/base_model.h"

namespace tec {

// Makes `model`, which is that of `file`, take images that were normalised by `data`'s statistics, and logs which the
// model sees then: those that a run of this project recorded in the file, else those of `file.statistics`, else the
// run's, as nothing tells. InvalidArgument: the record does not parse.
absl::Status UseOwnStatistics(const VitFile& file, const config::Data& data, BaseModel* model);

}  // namespace tec

#endif  // TEC_TRAIN_BASE_STATISTICS_H_
