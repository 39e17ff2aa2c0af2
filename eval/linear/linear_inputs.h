// What a linear-probe run and the evaluation of one of its heads share: the frozen encoder, the classes, and the
// features of the held-out images.

#ifndef TEC_EVAL_LINEAR_LINEAR_INPUTS_H_
#define TEC_EVAL_LINEAR_LINEAR_INPUTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "eval/features/feature_spec.h"
#include "eval/features/features.h"
#include "eval/linear/run_linear.h"
#include "eval/program/frozen_program.h"
#include "tec/run/run_context.h"

namespace tec {

struct LinearInputs {
  FrozenSettings settings;
  FrozenInputs frozen;
  FeatureSpec whole;  // All that any head reads.
  int64_t classes = 0;
  std::vector<std::string> class_names;  // Of `classes`, which may be more than the images have: those have numbers.
  // Values on the device, labels on the CPU. Empty before ReadHeldOut, and on ranks other than the first.
  Features held_out;

  int64_t width() const { return frozen.encoder->options().width; }
  std::string encoder_record() const;  // As the runs' records name the encoder.
  absl::Status CompareRanks() const;   // As tec::CompareRanks.
};

// Opens everything but the features; computing them ends with Cancelled if the run is asked to stop.
absl::StatusOr<LinearInputs> OpenLinearInputs(const LinearRunOptions& options, RunContext& context);
absl::Status ReadHeldOut(LinearInputs* inputs);

}  // namespace tec

#endif  // TEC_EVAL_LINEAR_LINEAR_INPUTS_H_
