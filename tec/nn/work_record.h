// What a fused function of this project tells an observer of operations (a profiler, or the counter of
// //benchmarks/train:traffic): its name, what it reads and writes, and how many kernels it is on a GPU. Without an
// observer it costs a look at a thread's variable.
//
//   WorkRecord work("tec::residual_norm", {x, branch}, /*kernels=*/1);
//   ...
//   work.Wrote({sum, norm});

#ifndef TEC_NN_WORK_RECORD_H_
#define TEC_NN_WORK_RECORD_H_

#include <cstdint>
#include <vector>

#include "ATen/core/Tensor.h"
#include "ATen/core/ivalue.h"
#include "ATen/record_function.h"

namespace tec {

class WorkRecord {
 public:
  // Undefined tensors are passed over. What the function calls in between is not counted beside it.
  WorkRecord(const char* name, at::ArrayRef<at::Tensor> reads, int64_t kernels = 1)
      : guard_(at::RecordScope::USER_SCOPE) {
    if (!guard_.isActive()) return;
    inputs_.emplace_back(kernels);
    for (const at::Tensor& tensor : reads) {
      if (tensor.defined()) inputs_.emplace_back(tensor);
    }
    guard_.before(name, &inputs_);
  }

  void Wrote(at::ArrayRef<at::Tensor> outputs) {
    if (!guard_.isActive()) return;
    std::vector<c10::IValue> values;
    for (const at::Tensor& tensor : outputs) {
      if (tensor.defined()) values.emplace_back(tensor);
    }
    guard_.setOutputs(std::move(values));
  }

 private:
  std::vector<c10::IValue> inputs_;
  at::RecordFunction guard_;
};

}  // namespace tec

#endif  // TEC_NN_WORK_RECORD_H_
