// Counts what LibTorch does while it lives: operations, the bytes they read and write, multiply-adds. It needs no GPU
// to say what a step would cost there: on the CPU the same operations get the same tensors, but for those named below.
//
//   OperationCounter counter;
//   step();
//   for (const CountedOperation& operation : counter.Take()) ...
//
// An operation that calls others (linear, matmul, to, stack) is those others; one with a kernel of its own is one, and
// what its CPU kernel calls does not count. A fused function of this project says itself what it reads and writes
// (tec/nn/work_record.h). Views and allocations cost nothing and are left out.

#ifndef TEC_BENCHMARKS_TRAIN_OPERATION_COUNTER_H_
#define TEC_BENCHMARKS_TRAIN_OPERATION_COUNTER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "c10/core/ScalarType.h"

namespace tec {

// What a tensor that an operation got was like.
struct CountedTensor {
  std::vector<int64_t> sizes, strides;
  at::ScalarType type = at::kFloat;
};

struct CountedOperation {
  std::string name;  // "add", "mm", "tec::residual_norm", ...
  std::string kind;  // The class it is summed in: "residual and other sums of two types", "products", ...
  // Kernels that LibTorch's CUDA half launches for it: 1 for most; several for sorting, for the norm's backward (input,
  // then partial and final sums of weight and bias), for attention's backward and for lists of tensors (by its limits
  // on tensors and chunks a launch).
  int64_t kernels = 0;
  // Elements touched, times their size: an expanded dimension counts once; a gather reads what it takes; the norm's
  // backward reads its two inputs twice; adding into a place reads and writes it.
  int64_t bytes_read = 0, bytes_written = 0;
  double flops = 0;  // Two a multiply-add; of products and attention (backward 2.5 times the forward) alone.
  std::vector<CountedTensor> inputs;  // Those that are defined, lists one after another.
};

// The classes that are no elementwise traffic.
extern const char kProducts[], kAttention[], kOptimizer[];
// A number handed to the host, which waits for the device; no kernel.
extern const char kHostWaits[];

class OperationCounter {
 public:
  // One at a time. Operations of all threads count.
  OperationCounter();
  ~OperationCounter();
  OperationCounter(const OperationCounter&) = delete;
  OperationCounter& operator=(const OperationCounter&) = delete;

  // What was done since the start or the last call, in order.
  std::vector<CountedOperation> Take();

 private:
  uint64_t handle_;
};

}  // namespace tec

#endif  // TEC_BENCHMARKS_TRAIN_OPERATION_COUNTER_H_
