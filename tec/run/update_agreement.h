// What the ranks of a run tell one another once an update, in one operation: the losses of its micro-steps, and what
// concerns all if it concerns one. It is sent, and read when it is wanted: meanwhile the device and the ranks go on.

#ifndef TEC_RUN_UPDATE_AGREEMENT_H_
#define TEC_RUN_UPDATE_AGREEMENT_H_

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/status/statusor.h"
#include "tec/run/run_context.h"
#include "tec/run/shared_bad_images.h"

namespace tec {

class UpdateAgreement {
 public:
  // Outlived by `context`.
  explicit UpdateAgreement(RunContext& context) : context_(context) {}

  // Images that this loader cannot read, from here on. It outlives this.
  void ShareBadImagesOf(Loader& loader) { bad_images_.emplace(loader, context_.group()); }

  // The losses of one more micro-step: [number of losses], of one floating-point type and on the device.
  void Add(at::Tensor losses) { added_.push_back(std::move(losses)); }
  // Whether none was added since the newest Send.
  bool empty() const { return added_.empty(); }
  // Forgets those.
  void Clear() { added_.clear(); }

  struct Flags {
    bool stop = false;        // Asked to end.
    bool bad_images = false;  // Has met some that the others do not know.
    bool save = false;        // Asked to save and go on.
    bool error = false;       // Cannot go on; the ranks then ask one another why.
  };
  struct Agreed {
    Flags mine, any;                          // Set on this rank; on any.
    std::vector<std::vector<double>> losses;  // [micro-step][loss], means over the ranks.
  };
  // Sends off the losses that were added, and what this rank wants: `save_due` and `error` as in Flags, the rest it
  // knows. Returns at once. If nothing was added, there is nothing to agree on. What was sent before has been received.
  void Send(bool save_due, bool error);
  // Waits for the device and for the other ranks. Nothing if nothing was sent.
  absl::StatusOr<Agreed> Receive();
  bool sent() const { return sent_.has_value(); }

  // Asks all ranks whether one of them is to stop, as this one is, and says which.
  absl::StatusOr<bool> AnyStops(bool this_rank);
  // Where `any.bad_images`: each rank's loader learns what the others met.
  absl::Status ShareBadImages() { return bad_images_->Share(); }
  // Whether a save has been agreed on since this was last asked.
  bool TakeSave() { return std::exchange(save_, false); }

 private:
  struct Sent {
    at::Tensor numbers;  // F64: the losses, and with other ranks the flags.
    int64_t steps = 0;
    int64_t sum = 0;  // Of the group.
    Flags mine;
  };

  RunContext& context_;
  std::optional<SharedBadImages> bad_images_;
  std::vector<at::Tensor> added_;
  std::optional<Sent> sent_;
  int save_requests_ = 0;  // Of this process, that have been sent.
  bool save_ = false;      // The same on every rank.
};

}  // namespace tec

#endif  // TEC_RUN_UPDATE_AGREEMENT_H_
