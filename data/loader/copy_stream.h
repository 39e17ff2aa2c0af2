// Copies from the host to a device, one after another, beside what the device computes.

#ifndef TEC_DATA_LOADER_COPY_STREAM_H_
#define TEC_DATA_LOADER_COPY_STREAM_H_

#include <memory>

#include "ATen/core/Tensor.h"
#include "c10/core/Device.h"

namespace tec {

class CopyStream {
 public:
  // A moment of the copying or of the computing: all that was queued there before.
  class Mark {
   public:
    virtual ~Mark() = default;
    // Till the device is past it. Throws what the device met.
    virtual void Wait() const = 0;
  };

  virtual ~CopyStream() = default;

  // Queues a copy between contiguous tensors of one size, and returns: `from`, on the host, is read until a Copied()
  // that comes later has passed.
  virtual void Copy(const at::Tensor& from, const at::Tensor& to) = 0;
  // Of the copies. What this thread queues for computing from here on follows them.
  virtual std::shared_ptr<const Mark> Copied() = 0;
  // Of what this thread has queued for computing.
  virtual std::shared_ptr<const Mark> Computed() = 0;
  // Copies queued from here on follow `mark`, one of this stream's.
  virtual void Follow(const Mark& mark) = 0;
};

// Null for the CPU, which has what the host has. The device's current stream is what computes.
std::unique_ptr<CopyStream> MakeCopyStream(c10::Device device);

}  // namespace tec

#endif  // TEC_DATA_LOADER_COPY_STREAM_H_
