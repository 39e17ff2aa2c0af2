#include "tec/run/device_moment.h"

#include "c10/core/impl/VirtualGuardImpl.h"

namespace tec {

DeviceMoment::DeviceMoment(c10::Device device) : device_(device) {
  if (device.is_cpu()) return;
  const auto event = std::make_shared<c10::Event>(device.type());
  event->record(c10::impl::VirtualGuardImpl(device.type()).getStream(device));
  event_ = event;
}

AfterMoment::AfterMoment(const DeviceMoment& moment) {
  if (moment.event_ == nullptr) return;
  // Always the same one, so that the allocator keeps memory for one more stream and no further.
  thread_local const c10::Stream reading =
      c10::impl::VirtualGuardImpl(moment.device_.type()).getStreamFromGlobalPool(moment.device_);
  moment.event_->block(reading);
  stream_.reset_stream(reading);
}

}  // namespace tec
