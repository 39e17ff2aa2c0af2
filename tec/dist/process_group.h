// The ranks of a run talking to each other: sums, means, agreement. One rank needs no process group and has none: every
// operation is then the identity and costs nothing.

#ifndef TEC_DIST_PROCESS_GROUP_H_
#define TEC_DIST_PROCESS_GROUP_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tec/dist/environment.h"

namespace tec {

struct ProcessGroupOptions {
  // CPU: Gloo. CUDA: NCCL (only in a build with --config=cuda), device local_rank.
  bool cuda = false;
  // How long one operation, or the meeting of all ranks at the start, may take.
  int64_t timeout_seconds = 600;
};

// All ranks must make the same calls in the same order. An operation that fails (a rank died, the time ran out) returns
// Unavailable or DeadlineExceeded naming this rank, the operation and its sequence number; the group is of no use
// afterwards.
class ProcessGroup {
 public:
  // Rank 0 listens at master_address:master_port, on the loopback device alone if the address is a loopback one. The
  // rendezvous has no authentication: whoever reaches the port can take part, so keep it inside a trusted network.
  static absl::StatusOr<std::unique_ptr<ProcessGroup>> Create(const LaunchEnvironment& environment,
                                                              const ProcessGroupOptions& options = {});
  ~ProcessGroup();
  ProcessGroup(const ProcessGroup&) = delete;
  ProcessGroup& operator=(const ProcessGroup&) = delete;

  int rank() const { return rank_; }
  int world_size() const { return world_size_; }

  // Sum over ranks, in place. A tensor of the group's device.
  absl::Status AllReduceSum(at::Tensor tensor);

  // Mean over ranks, in place, of gradients: averaged in flat buckets of at most kBucketBytes, each of one dtype, so
  // that there are few operations. Undefined gradients (of parameters that got none) are skipped; they must be
  // undefined on every rank.
  absl::Status AverageGradients(const std::vector<at::Tensor>& parameters);
  static constexpr int64_t kBucketBytes = int64_t{25} << 20;

  // Mean over ranks of each number.
  absl::StatusOr<std::vector<double>> Mean(const std::vector<double>& values);
  // The numbers that any rank has in `numbers`, rising and each once; all of them from 0 to below `limit`, which is the
  // same on every rank and costs 4 bytes each.
  absl::StatusOr<std::vector<int64_t>> Union(const std::vector<int64_t>& numbers, int64_t limit);
  // Whether `flag` is set on any rank.
  absl::StatusOr<bool> Any(bool flag);
  // Rank 0's text, on every rank.
  absl::StatusOr<std::string> BroadcastText(const std::string& text);
  // Waits for all ranks. OK only if `status` was OK on every one of them: otherwise each rank gets its own error, or
  // one saying which other rank failed and how.
  absl::Status Agree(const absl::Status& status);

 private:
  struct Implementation;
  ProcessGroup(int rank, int world_size, std::unique_ptr<Implementation> implementation);

  int rank_, world_size_;
  std::unique_ptr<Implementation> implementation_;  // Null for one rank.
};

}  // namespace tec

#endif  // TEC_DIST_PROCESS_GROUP_H_
