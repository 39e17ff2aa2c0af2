// An update that the device has been given, and whose numbers the host has not read yet: until it has, nobody knows
// whether its losses are finite, and nothing that depends on it may be saved, logged or obeyed.

#ifndef TEC_RUN_UNREAD_UPDATE_H_
#define TEC_RUN_UNREAD_UPDATE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tec/run/device_moment.h"
#include "tec/run/run_clock.h"
#include "tec/run/run_position.h"
#include "tec/run/update_agreement.h"
#include "tec/run/weight_update.h"

namespace tec {

struct UnreadUpdate {
  // Where it ends. Its meters lack the losses of the update's own micro-steps till TakeLosses.
  RunPosition position;
  std::optional<DeviceMoment> queued;  // After all that it computes.
  UpdateResult result;
  // Until it was given to the device; the micro-step queued before it is read is the next update's.
  RunClock::Span span;
  int64_t bad_images = 0;
  // Those that the ranks have agreed on, after TakeLosses: of each micro-step.
  std::optional<UpdateAgreement::Agreed> agreed;

  // Both return what is not finite, for a message, or nothing. `names`: of the losses; the first one decides.
  std::string TakeLosses(UpdateAgreement::Agreed agreed, const std::vector<std::string>& names, const EpochPlan& plan);
  // Reads `result`, waiting for the device.
  std::string TakeResult(const EpochPlan& plan);
};

}  // namespace tec

#endif  // TEC_RUN_UNREAD_UPDATE_H_
