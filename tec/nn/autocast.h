// Mixed precision for a scope.
//
//   { AutocastGuard autocast(at::kCPU, at::kBFloat16);
//     output = model.forward(...); loss = ...; }
//   loss.backward();   // Outside, as PyTorch asks.

#ifndef TEC_NN_AUTOCAST_H_
#define TEC_NN_AUTOCAST_H_

#include "ATen/core/Tensor.h"
#include "c10/core/DeviceType.h"
#include "c10/core/ScalarType.h"

namespace tec {

// While it lives, this thread's matrix products on `device` run in `dtype`: kBFloat16 on CPU and CUDA, kFloat16 on
// CUDA; kFloat turns autocast off for the scope. At the end the state before is restored and, at the outermost guard,
// the cache of cast weights is emptied: stale ones would survive the optimiser's step.
class AutocastGuard {
 public:
  AutocastGuard(c10::DeviceType device, c10::ScalarType dtype);
  ~AutocastGuard();
  AutocastGuard(const AutocastGuard&) = delete;
  AutocastGuard& operator=(const AutocastGuard&) = delete;

 private:
  c10::DeviceType device_;
  bool was_enabled_;
  c10::ScalarType previous_dtype_;
};

// The type that products of such tensors run in: that of autocast on their device, where it is on and takes them
// (float64 it leaves alone), or their own.
at::ScalarType ProductType(const at::Tensor& like);

}  // namespace tec

#endif  // TEC_NN_AUTOCAST_H_
