// --config=own_images of //tec:pretrain: looks at the base model's file, the pictures and the device, and settles an
// experiment by them (tec/config/own_images.h).

#ifndef TEC_OWN_IMAGES_OWN_IMAGES_H_
#define TEC_OWN_IMAGES_OWN_IMAGES_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "c10/core/Device.h"
#include "tec/config/experiment.pb.h"
#include "tec/config/flags.h"
#include "tec/config/own_images.h"
#include "tec/dist/environment.h"

namespace tec {

// `given`: what the command line sets, paths as by UserPath. Opens the data set and the base model's file; no tensor is
// read. The errors of either, each with what would be right.
absl::StatusOr<OwnImagesFacts> FindOwnImagesFacts(const config::Experiment& given,
                                                  const LaunchEnvironment& environment);

// FLOP/s that training is expected to reach on the device: of a matrix product as the encoder's blocks have them
// (ProductRate, a fifth of a second), the part that a whole step reached where it was measured (docs/results.md).
double ExpectedTrainingRate(const config::Experiment& resolved, c10::Device device);

// For ParseCommandLine.
SettleExperiment SettleOwnImages();

}  // namespace tec

#endif  // TEC_OWN_IMAGES_OWN_IMAGES_H_
