// A folder for TensorBoard beside a run's scalars: the page's pictures by epoch, and vectors of pictures for its
// projector. A folder of its own, since TensorBoard reads one file of a folder after the other and does not come back.

#ifndef TEC_EVAL_REPORT_TENSORBOARD_FOLDER_H_
#define TEC_EVAL_REPORT_TENSORBOARD_FOLDER_H_

#include <vector>

#include "absl/status/status.h"
#include "eval/report/gallery.h"
#include "eval/report/seen_run.h"

namespace tec {

// Writes into run.options().tensorboard_folder, in the place of what was written there before: `pictures`; with
// options().histograms those of every tensor of the run's own encoders, and of the features; and for the projector
// vectors-NAME.tsv of each encoder, metadata.tsv, sprite.png and projector_config.pbtxt. Errors are the system's.
absl::Status WriteTensorBoardFolder(const SeenRun& run, const std::vector<KeptPicture>& pictures);

}  // namespace tec

#endif  // TEC_EVAL_REPORT_TENSORBOARD_FOLDER_H_
