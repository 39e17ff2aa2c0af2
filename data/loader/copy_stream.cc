#include "data/loader/copy_stream.h"

#include "c10/core/Event.h"
#include "c10/core/StreamGuard.h"
#include "c10/core/impl/VirtualGuardImpl.h"

namespace tec {
namespace {

// Of c10's streams and events, so that it needs no CUDA to be built.
class DeviceCopyStream : public CopyStream {
 public:
  explicit DeviceCopyStream(c10::Device device)
      : device_(device), driver_(device.type()), copying_(driver_.getStreamFromGlobalPool(device)) {}

  void Copy(const at::Tensor& from, const at::Tensor& to) override {
    const c10::StreamGuard guard(copying_);
    to.copy_(from, /*non_blocking=*/true);
  }

  std::shared_ptr<const Mark> Copied() override {
    auto mark = std::make_shared<EventMark>(device_, copying_);
    mark->event.block(driver_.getStream(device_));
    return mark;
  }

  std::shared_ptr<const Mark> Computed() override {
    return std::make_shared<EventMark>(device_, driver_.getStream(device_));
  }

  void Follow(const Mark& mark) override { static_cast<const EventMark&>(mark).event.block(copying_); }

 private:
  struct EventMark : Mark {
    EventMark(c10::Device device, const c10::Stream& stream) : event(device.type()) { event.record(stream); }
    void Wait() const override { event.synchronize(); }
    c10::Event event;
  };

  c10::Device device_;
  c10::impl::VirtualGuardImpl driver_;
  c10::Stream copying_;
};

}  // namespace

std::unique_ptr<CopyStream> MakeCopyStream(c10::Device device) {
  return device.is_cpu() ? nullptr : std::make_unique<DeviceCopyStream>(device);
}

}  // namespace tec
