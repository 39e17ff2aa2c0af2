// Batches on their way to a device, while it computes with the one before.
//
//   BatchUpload upload(device);
//   TEC_ASSIGN_OR_RETURN(const Batch* batch, loader.Next());
//   BatchUpload::OnDevice sent = upload.Send(loader, *batch, {labels, noise});
//   images = NormalizePixels(sent.pixels, mean, std);
//
// Nobody waits: the host queues the copies and what is computed from them, and goes on to the next batch. Two things
// keep the bytes what they are. The loader gets a batch's memory back only when the device says that it has copied it
// (Loader::HoldUntil). And on the device there are two blocks, used in turn: a copy into one follows, there, all that
// was computed from the batch that had it before, so that it runs beside what is computed from the other one.

#ifndef TEC_DATA_LOADER_BATCH_UPLOAD_H_
#define TEC_DATA_LOADER_BATCH_UPLOAD_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "ATen/core/Tensor.h"
#include "c10/core/Device.h"
#include "data/loader/copy_stream.h"
#include "data/loader/loader.h"

namespace tec {

class BatchUpload {
 public:
  // pin: what goes with the pixels travels from page-locked memory, on a CUDA device, as the pixels do if the loader
  // was made so (BatchMemory).
  explicit BatchUpload(c10::Device device, bool pin = true) : BatchUpload(device, pin, MakeCopyStream(device)) {}
  // By another stream. Null: the host's memory is the device's, and nothing is copied.
  BatchUpload(c10::Device device, bool pin, std::unique_ptr<CopyStream> stream);
  ~BatchUpload();
  BatchUpload(const BatchUpload&) = delete;
  BatchUpload& operator=(const BatchUpload&) = delete;

  struct OnDevice {
    at::Tensor pixels;             // uint8 [N, size, size, channels]
    std::vector<at::Tensor> rest;  // As given.
  };
  // `batch` is what loader.Next() gave last; `rest` goes with it: tensors on the CPU of any type and size, or
  // undefined. What this returns is good until the call after the next one (without a stream until loader.Next(), as
  // the batch), for what this thread queues on the device's current stream.
  OnDevice Send(Loader& loader, const Batch& batch, std::vector<at::Tensor> rest);
  // The same without a batch.
  std::vector<at::Tensor> Send(std::vector<at::Tensor> rest);

 private:
  struct Block {
    at::Tensor bytes;
    std::shared_ptr<const CopyStream::Mark> free;  // All that was computed from it.
  };
  // Queues the copies of the pixels, if there are any, and of the rest -> views of a block.
  std::vector<at::Tensor> SendAll(const at::Tensor& pixels, std::vector<at::Tensor> rest);
  // The block whose turn it is, with room for so many bytes.
  const at::Tensor& TakeBlock(int64_t bytes);

  c10::Device device_;
  bool pin_;
  std::unique_ptr<CopyStream> stream_;
  std::array<Block, 2> blocks_;
  size_t turn_ = 0;
  at::Tensor staging_;                              // On the host: what goes with the pixels.
  std::shared_ptr<const CopyStream::Mark> copied_;  // The newest copies.
};

}  // namespace tec

#endif  // TEC_DATA_LOADER_BATCH_UPLOAD_H_
