// Gradients that travel while the backward pass runs: flat buckets, each summed over the ranks as soon as its last
// gradient is there, in an update's last micro-step only.
//
//   GradientReducer reducer(group, optimizer.parameters());
//   if (last_micro_step) reducer.Arm();
//   loss.backward();
//   if (last_micro_step) TEC_RETURN_IF_ERROR(reducer.Wait());   // The gradients are means now.

#ifndef TEC_DIST_GRADIENT_REDUCER_H_
#define TEC_DIST_GRADIENT_REDUCER_H_

#include <cstdint>
#include <functional>
#include <mutex>
#include <utility>
#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/status/status.h"
#include "tec/dist/process_group.h"

namespace tec {

// With one rank it does nothing. Several reducers of a group may be under way at once, if all ranks arm them and wait
// for them in the same order.
class GradientReducer {
 public:
  struct Options {
    int64_t bucket_bytes = ProcessGroup::kBucketBytes;  // At most, but for a single larger gradient.
    // Gradients in float32 travel in bfloat16, half the bytes, and are divided before the sum. Of a mean over n ranks
    // each number is then rounded n times: off by (1 + 2^-8)^n - 1, about n / 256, of the mean of its absolute values
    // at most. The same bits on all ranks still.
    bool bfloat16 = false;
    // In place of the group's StartSum and FinishSums, for tests and benchmarks.
    std::function<int64_t(const at::Tensor& flat)> start_sum;
    std::function<absl::Status(const std::vector<int64_t>& sums)> finish_sums;
  };
  // Parameters of one device, about in the order in which a forward pass uses them: the last ones' gradients come
  // first. One reducer a parameter at a time; it outlives every backward pass of theirs. Outlived by `group`.
  GradientReducer(ProcessGroup& group, const std::vector<at::Tensor>& parameters, Options options);
  GradientReducer(ProcessGroup& group, const std::vector<at::Tensor>& parameters)
      : GradientReducer(group, parameters, Options()) {}
  ~GradientReducer();
  GradientReducer(const GradientReducer&) = delete;
  GradientReducer& operator=(const GradientReducer&) = delete;

  // Before the backward pass whose gradients are complete, what earlier ones left in them included. Without it, Wait
  // sums all that there is, after the backward pass.
  void Arm();
  // After it: the gradients are means over the ranks, views of their buckets; parameters without one, the same on
  // every rank, still have none. Errors are the group's: the gradients are then of no use.
  absl::Status Wait();

  // Of indices into the parameters.
  std::vector<std::vector<int64_t>> buckets() const;

 private:
  class Hook;
  struct Bucket {
    std::vector<int64_t> parameters;
    int64_t elements = 0;
    int64_t missing = 0;  // Gradients that are waited for.
    at::Tensor flat;      // From the first gradient to Wait.
    at::Tensor sent;      // What is summed, from when it is full to Wait: flat, or in bfloat16.
  };
  void Begin();                   // With mutex_ held.
  void Ready(int64_t parameter);  // A hook's.
  void Take(int64_t parameter);   // With mutex_ held.
  int64_t Send(Bucket& bucket);   // With mutex_ held.
  void StartFullBuckets();        // With mutex_ held.
  absl::Status LearnOrder();

  ProcessGroup& group_;
  const Options options_;
  const std::vector<at::Tensor> parameters_;
  std::vector<Bucket> buckets_;
  std::vector<std::pair<size_t, int64_t>> places_;  // Of each parameter: bucket, offset in elements.

  std::mutex mutex_;  // The backward pass may have threads of its own.
  bool armed_ = false;
  std::vector<bool> taken_;
  std::vector<int64_t> sums_;  // Of the first buckets of order_.
  std::vector<size_t> full_;   // Buckets, as they have become full.
  // In which buckets are summed, the same on every rank. At first their own; from the second update on as they were
  // full in the first, on rank 0: a parameter that is registered late and used early, or has no gradient, then keeps
  // only its own bucket waiting. What is in a bucket, and with it every bit of a sum, stays.
  std::vector<size_t> order_;
  bool learned_ = false;
};

}  // namespace tec

#endif  // TEC_DIST_GRADIENT_REDUCER_H_
