// What the ranks of a run tell one another once an update, in one operation: the losses of its micro-steps, and what
// concerns all if it concerns one.

#ifndef TEC_RUN_UPDATE_AGREEMENT_H_
#define TEC_RUN_UPDATE_AGREEMENT_H_

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

  // Images that this loader cannot read, from here on: each rank's loader learns what the others met. It outlives this.
  void ShareBadImagesOf(Loader& loader) { bad_images_.emplace(loader, context_.group()); }

  // The losses of one more micro-step: [number of losses], of one floating-point type and on the device.
  void Add(at::Tensor losses) { pending_.push_back(std::move(losses)); }
  bool empty() const { return pending_.empty(); }
  // Forgets what was added since the newest agreement.
  void Clear() { pending_.clear(); }

  struct Flags {
    bool stop = false;   // Asked to end.
    bool save = false;   // Asked to save and go on.
    bool error = false;  // Cannot go on; the ranks then ask one another why.
  };
  struct Agreed {
    Flags any;                                // Set on any rank.
    std::vector<std::vector<double>> losses;  // [micro-step][loss], means over the ranks.
  };
  // Waits for the device and for the other ranks. Nothing is pending afterwards; if nothing is now, it does nothing.
  absl::StatusOr<Agreed> Agree(const Flags& mine);

 private:
  RunContext& context_;
  std::optional<SharedBadImages> bad_images_;
  std::vector<at::Tensor> pending_;
};

}  // namespace tec

#endif  // TEC_RUN_UPDATE_AGREEMENT_H_
