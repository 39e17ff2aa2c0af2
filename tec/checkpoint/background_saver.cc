#include "tec/checkpoint/background_saver.h"

#include <memory>
#include <utility>

#include "tec/base/logging.h"
#include "tec/base/status.h"

namespace tec {
namespace {

TensorView Copied(const TensorView& tensor) { return TensorView::Copy(tensor.dtype, tensor.shape, tensor.bytes); }

StateDict Copied(const StateDict& tensors) {
  StateDict copy;
  for (const auto& [name, tensor] : tensors) TEC_CHECK_OK(copy.Add(name, Copied(tensor)));
  return copy;
}

}  // namespace

TrainingState CopyOf(const TrainingState& state) {
  TrainingState copy = state;
  copy.model = Copied(state.model);
  copy.extra = Copied(state.extra);
  for (auto& [number, moment] : copy.optimizer.moments) {
    moment.exp_avg = Copied(moment.exp_avg);
    moment.exp_avg_sq = Copied(moment.exp_avg_sq);
  }
  return copy;
}

BackgroundSaver::~BackgroundSaver() {
  const absl::Status status = Wait();
  if (!status.ok()) TEC_LOG(ERROR) << status.message();
}

absl::Status BackgroundSaver::Save(const TrainingState& state, std::optional<int64_t> numbered) {
  TEC_RETURN_IF_ERROR(Wait());
  auto copy = std::make_shared<const TrainingState>(CopyOf(state));
  thread_ = std::thread([this, copy = std::move(copy), numbered] {
    absl::Status status;
    if (numbered.has_value()) {
      status = folder_.SaveNumbered(*copy, *numbered);
      if (status.ok()) written_ = folder_.NumberedPath(*numbered);
    }
    if (status.ok()) status = folder_.SaveThis(*copy);
    if (status.ok() && !numbered.has_value()) written_ = folder_.PathOf(CheckpointFolder::kThis);
    status_ = std::move(status);
  });
  return absl::OkStatus();
}

absl::Status BackgroundSaver::Wait() {
  if (thread_.joinable()) thread_.join();
  if (!written_.empty()) newest_ = std::exchange(written_, "");
  return std::exchange(status_, absl::OkStatus());
}

}  // namespace tec
