// What a run's augmentation makes of a few pictures: how the first of its epochs cut, flip and change them.

#ifndef TEC_EVAL_REPORT_AUGMENTATION_SHEET_H_
#define TEC_EVAL_REPORT_AUGMENTATION_SHEET_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "data/dataset/dataset.h"
#include "eval/report/gallery.h"
#include "eval/report/run_models.h"
#include "eval/report/run_report.h"

namespace tec {

// A row of `epochs` crops for each of `images`, indices of `dataset`, the run's pictures: those that the run sees of
// them, but that a part of a data set numbers its pictures otherwise than the whole. A picture that cannot be read is
// left out. TensorBoard's step is the epoch. InvalidArgument where the run has no augmentation.
absl::StatusOr<ReportSection> AugmentationSheet(const RunSubject& subject, const Dataset& dataset,
                                                const std::vector<int64_t>& images, int64_t epochs, Gallery* gallery);

}  // namespace tec

#endif  // TEC_EVAL_REPORT_AUGMENTATION_SHEET_H_
