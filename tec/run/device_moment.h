// Reading what a device has computed without waiting for what it was given to do since.
//
//   const DeviceMoment moment(device);         // All that is to be read is queued.
//   ...                                        // More is queued.
//   {
//     const AfterMoment reading(moment);
//     value = tensor.item<double>();           // Waits for the work up to `moment` alone.
//   }
//
// On the CPU, which computes as it is told, both do nothing.

#ifndef TEC_RUN_DEVICE_MOMENT_H_
#define TEC_RUN_DEVICE_MOMENT_H_

#include <memory>

#include "c10/core/Device.h"
#include "c10/core/Event.h"
#include "c10/core/StreamGuard.h"

namespace tec {

class DeviceMoment {
 public:
  // Behind all that this thread has queued on `device`'s current stream.
  explicit DeviceMoment(c10::Device device);

 private:
  friend class AfterMoment;
  c10::Device device_;
  std::shared_ptr<const c10::Event> event_;  // Null on the CPU.
};

// While it lives, what this thread queues on the device, copies to the host among it, follows the moment, beside what
// was queued in between. Tensors that it reads must live until they are read.
class AfterMoment {
 public:
  explicit AfterMoment(const DeviceMoment& moment);

 private:
  c10::OptionalStreamGuard stream_;
};

}  // namespace tec

#endif  // TEC_RUN_DEVICE_MOMENT_H_
