#include "data/loader/batch_upload.h"

#include <cstring>
#include <exception>
#include <utility>

#include "ATen/ops/empty.h"
#include "ATen/ops/from_blob.h"
#include "tec/base/logging.h"

namespace tec {
namespace {

// Any type's elements lie at whole multiples of their size, and rows of them as kernels like to read them.
int64_t Aligned(int64_t bytes) { return (bytes + 255) / 256 * 256; }

int64_t BytesOf(const at::Tensor& tensor) { return tensor.defined() ? static_cast<int64_t>(tensor.nbytes()) : 0; }

}  // namespace

BatchUpload::BatchUpload(c10::Device device, bool pin, std::unique_ptr<CopyStream> stream)
    : device_(device), pin_(pin && device.is_cuda()), stream_(std::move(stream)) {}

BatchUpload::~BatchUpload() {
  try {
    if (copied_) copied_->Wait();    // From staging_.
  } catch (const std::exception&) {  // The device is lost, and reads nothing any more.
  }
}

BatchUpload::OnDevice BatchUpload::Send(Loader& loader, const Batch& batch, std::vector<at::Tensor> rest) {
  const at::Tensor pixels =
      at::from_blob(batch.pixels.data(), {batch.count, batch.size, batch.size, batch.channels}, at::kByte);
  if (!stream_) return {pixels, std::move(rest)};
  std::vector<at::Tensor> sent = SendAll(pixels, std::move(rest));
  loader.HoldUntil([copied = copied_] { copied->Wait(); });
  const at::Tensor on_device = sent.front();
  sent.erase(sent.begin());
  return {on_device, std::move(sent)};
}

std::vector<at::Tensor> BatchUpload::Send(std::vector<at::Tensor> rest) {
  if (!stream_) return rest;
  std::vector<at::Tensor> sent = SendAll({}, std::move(rest));
  sent.erase(sent.begin());
  return sent;
}

const at::Tensor& BatchUpload::TakeBlock(int64_t bytes) {
  Block& block = blocks_[turn_];
  turn_ = 1 - turn_;
  const std::shared_ptr<const CopyStream::Mark> computed = stream_->Computed();
  // The other one's batch has been given to the device whole by now.
  blocks_[turn_].free = computed;
  if (!block.bytes.defined() || block.bytes.numel() < bytes) {
    block.bytes = at::empty({bytes}, at::TensorOptions(device_).dtype(at::kByte));
    block.free = computed;  // Its memory may have been something else's.
  }
  stream_->Follow(*block.free);
  return block.bytes;
}

std::vector<at::Tensor> BatchUpload::SendAll(const at::Tensor& pixels, std::vector<at::Tensor> rest) {
  const int64_t first = Aligned(BytesOf(pixels));
  int64_t bytes = 0;
  for (at::Tensor& tensor : rest) {
    if (tensor.defined()) tensor = tensor.contiguous();
    bytes += Aligned(BytesOf(tensor));
  }
  // Of the batch before; done long ago, as the loader has waited for it.
  if (copied_) copied_->Wait();
  if (!staging_.defined() || staging_.numel() < bytes) {
    staging_ = at::empty({bytes}, at::TensorOptions().dtype(at::kByte).pinned_memory(pin_));
  }
  const at::Tensor block = TakeBlock(first + bytes);
  std::vector<at::Tensor> sent;
  const auto view = [&](const at::Tensor& like, int64_t at) {
    return block.narrow(0, at, BytesOf(like)).view(like.scalar_type()).view(like.sizes());
  };
  sent.push_back(pixels.defined() ? view(pixels, 0) : at::Tensor());
  int64_t at = 0;
  for (const at::Tensor& tensor : rest) {
    if (!tensor.defined()) {
      sent.emplace_back();
      continue;
    }
    TEC_CHECK(tensor.is_cpu());
    std::memcpy(staging_.mutable_data_ptr<uint8_t>() + at, tensor.const_data_ptr(), tensor.nbytes());
    sent.push_back(view(tensor, first + at));
    at += Aligned(BytesOf(tensor));
  }
  if (pixels.defined()) stream_->Copy(pixels, sent[0]);
  if (bytes > 0) stream_->Copy(staging_.narrow(0, 0, bytes), block.narrow(0, first, bytes));
  copied_ = stream_->Copied();
  return sent;
}

}  // namespace tec
