// What happens to gradients between backward and the update: norm, clipping, loss scaling.

#ifndef TEC_OPTIM_GRADIENTS_H_
#define TEC_OPTIM_GRADIENTS_H_

#include <cstdint>
#include <vector>

#include "ATen/core/Tensor.h"

namespace tec {

// Global L2 norm of the gradients, 0-dim on their device, float32 (float64 of float64 gradients); parameters without
// one count as zero. Not finite if any gradient is not, nor if its square is more than float32 can say. On the CPU
// gradients of low precision are float32, too, and the sum is made in double, by all threads, and rounded once: the
// same whatever the number of threads.
at::Tensor GradientNorm(const std::vector<at::Tensor>& parameters);

// F32, 0-dim, on the norm's device: 1 where it is not finite, else 0. For AdamW::Step.
at::Tensor NotFinite(const at::Tensor& norm);

// As torch.nn.utils.clip_grad_norm_: multiplies every gradient by min(1, max_norm / (norm + 1e-6)) and returns the norm
// before. max_norm > 0.
at::Tensor ClipGradientNorm(const std::vector<at::Tensor>& parameters, double max_norm);

// Dynamic loss scaling for float16, whose gradients would underflow: as torch.cuda.amp.GradScaler.
//
//   scaler.Scale(loss).backward();
//   if (scaler.Unscale(parameters)) optimizer.Step(lr);   // else: an overflow, the update is skipped
//   scaler.Update();
class LossScaler {
 public:
  // The state, under the names of GradScaler.state_dict().
  struct State {
    double scale = 65536;
    double growth_factor = 2;
    double backoff_factor = 0.5;
    int64_t growth_interval = 2000;
    int64_t growth_tracker = 0;  // "_growth_tracker": updates since the scale last changed.
  };

  LossScaler() = default;
  explicit LossScaler(const State& state) : state_(state) {}

  at::Tensor Scale(const at::Tensor& loss) const;
  // Divides the gradients by the scale. False if one of them is not finite: the update must then be skipped. Waits for
  // the device.
  bool Unscale(const std::vector<at::Tensor>& parameters);
  // Once an update, after Unscale: halves the scale after an overflow, doubles it after growth_interval updates
  // without.
  void Update();

  const State& state() const { return state_; }

 private:
  State state_;
  bool overflow_ = false;
};

}  // namespace tec

#endif  // TEC_OPTIM_GRADIENTS_H_
