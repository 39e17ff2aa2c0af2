#include "tec/checkpoint/background_saver.h"

#include <exception>
#include <new>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"
#include "tec/base/while_away.h"
#include "tec/checkpoint/own_bytes.h"

namespace tec {
namespace {

TensorView Copied(const TensorView& tensor) {
  return OwnBytes::Has(tensor) ? tensor : TensorView::Copy(tensor.dtype, tensor.shape, tensor.bytes);
}

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
  copy.model_ema = Copied(state.model_ema);
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

absl::Status BackgroundSaver::Save(const std::vector<StateFiles>& files) {
  TEC_RETURN_IF_ERROR(Wait());
  try {
    std::vector<StateFiles> copies;
    for (const StateFiles& one : files) copies.push_back({CopyOf(one.state), one.names});
    thread_ = std::thread([this, copies = std::move(copies)] { Write(copies); });
    return absl::OkStatus();
  } catch (const std::system_error& error) {  // A limit on processes.
    TEC_LOG(WARNING) << "no thread for a save in the background (" << error.what() << "); training waits for it";
  } catch (const std::bad_alloc&) {
    TEC_LOG(WARNING) << "no memory for a copy of what is to be saved; training waits for it";
  }
  // The copies went with the thread that did not come about.
  Write(files);
  return absl::OkStatus();
}

absl::Status BackgroundSaver::SaveHere(const std::vector<StateFiles>& files) {
  const absl::Status before = Wait();
  if (!before.ok()) TEC_LOG(WARNING) << before.message();
  Write(files);
  return Wait();
}

// An exception of a thread would end the process.
void BackgroundSaver::Write(const std::vector<StateFiles>& files) {
  try {
    status_ = WriteAll(files);
  } catch (const std::exception& exception) {  // No memory.
    status_ = absl::ResourceExhaustedError(absl::StrCat("cannot save in ", folder_.PathOf(""), ": ", exception.what()));
  }
}

absl::Status BackgroundSaver::WriteAll(const std::vector<StateFiles>& files) {
  for (const StateFiles& one : files) {
    std::string twin;  // A file with all of the state.
    for (const std::string& name : one.names) {
      const bool numbered = CheckpointFolder::EpochOfName(name).has_value();
      const bool encoder_only = numbered && retention_.encoder_only;
      TEC_RETURN_IF_ERROR(SaveOne(one.state, name, encoder_only, twin));
      if (encoder_only) continue;
      twin = name;
      if (numbered || (name == CheckpointFolder::kThis && written_.empty())) written_ = folder_.PathOf(name);
    }
  }
  return folder_.KeepLast(retention_.keep_last);
}

absl::Status BackgroundSaver::SaveOne(const TrainingState& state, const std::string& name, bool encoder_only,
                                      const std::string& twin) {
  return RetryWhileAway(folder_.PathOf(""), [&] {
    return encoder_only ? folder_.Save(EncoderOf(state), name) : folder_.Save(state, name, twin);
  });
}

absl::Status BackgroundSaver::Wait() {
  if (thread_.joinable()) thread_.join();
  if (!written_.empty()) newest_ = std::exchange(written_, "");
  return std::exchange(status_, absl::OkStatus());
}

}  // namespace tec
