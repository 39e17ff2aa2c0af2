// Several base models from the command line: --base_model=A.pth,B.safetensors:weight=0.5:family=ibot.

#ifndef TEC_CONFIG_FURTHER_BASE_MODELS_H_
#define TEC_CONFIG_FURTHER_BASE_MODELS_H_

#include "absl/status/status.h"
#include "tec/config/experiment.pb.h"

namespace tec {

// Splits base_model.path at its commas, each part a path as by AbsoluteUserPath and, after colons, settings of that
// base model (fields of config::BaseModel: family, entry, grid, weight, last_layers, topkatt, att_tau, label, device).
// The first part stays base_model, the others become further_base_models, in place of any that were there. One that is
// a file's name as it stands is not split. InvalidArgument: an empty part, an unknown setting (with the nearest), a
// value that is none.
absl::Status SplitBaseModels(config::Experiment* experiment);

// Reads of the files of further base models what is not said of them: their shape; image_size, what gives the new
// model's patches, for which the position table is interpolated if the file's is for others; K and tau by their family
// (own_images.h). `experiment`: resolved, but for these. No tensor is read. Errors: ReadEncoderFile's.
absl::Status ShapeFurtherBaseModels(config::Experiment* experiment);

}  // namespace tec

#endif  // TEC_CONFIG_FURTHER_BASE_MODELS_H_
