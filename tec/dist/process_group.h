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
#include "tec/dist/lifeline.h"

namespace tec {

struct ProcessGroupOptions {
  // CPU: Gloo. CUDA: NCCL (only in a build with --config=cuda), of the current device.
  bool cuda = false;
};

// All ranks must make the same calls in the same order. An operation that fails returns why: Unavailable for a rank
// that is gone, DeadlineExceeded for one that does not come, another rank's own error under its code; the message names
// the rank and its host. The group is of no use afterwards. This holds for both back ends: no wait is without a limit
// and none ends in a signal.
class ProcessGroup {
 public:
  // Rank 0 listens at master_address:master_port, of its addresses only at those that other ranks need. The rendezvous
  // has no authentication: whoever reaches the port can take part, so keep it inside a trusted network. `own` and
  // errors: as Lifeline::Meet; NotFound, too, for an interface (GLOO_SOCKET_IFNAME) that is not there.
  static absl::StatusOr<std::unique_ptr<ProcessGroup>> Create(const LaunchEnvironment& environment,
                                                              const ProcessGroupOptions& options = {},
                                                              const absl::Status& own = absl::OkStatus());
  // Leaves the others; rank 0 last.
  ~ProcessGroup();
  ProcessGroup(const ProcessGroup&) = delete;
  ProcessGroup& operator=(const ProcessGroup&) = delete;

  int rank() const { return rank_; }
  int world_size() const { return world_size_; }

  // Sum over ranks, in place. A tensor of the group's device. `what`: for messages.
  absl::Status AllReduceSum(at::Tensor tensor, const std::string& what = "sum");
  // The same in two parts, for what can be done meanwhile; the tensor is of no use in between. Returns at once,
  // whatever happens, a number for FinishSums, which waits for all those sums and has the errors. Other operations may
  // come in between.
  int64_t StartSum(at::Tensor tensor);
  absl::Status FinishSums(const std::vector<int64_t>& sums, const std::string& what);
  // What travels at once of many tensors, at most.
  static constexpr int64_t kBucketBytes = int64_t{25} << 20;
  // Rank 0's bytes, in place, in contiguous tensors of the group's device.
  absl::Status Broadcast(const std::vector<at::Tensor>& tensors, const std::string& what);

  // Mean over ranks of each number.
  absl::StatusOr<std::vector<double>> Mean(const std::vector<double>& values);
  // The numbers that any rank has in `numbers`, rising and each once; all of them from 0 to below `limit`, which is the
  // same on every rank and costs 4 bytes each.
  absl::StatusOr<std::vector<int64_t>> Union(const std::vector<int64_t>& numbers, int64_t limit);
  // The ranks on which `flag` is set; whether it is on any.
  absl::StatusOr<std::vector<int>> Which(bool flag);
  absl::StatusOr<bool> Any(bool flag);
  // Rank 0's text, on every rank.
  absl::StatusOr<std::string> BroadcastText(const std::string& text);
  // Every rank's text, by rank.
  absl::StatusOr<std::vector<std::string>> Gather(const std::string& text, const std::string& what);
  // Waits for all ranks. OK only if `status` was OK on every one of them: otherwise each rank gets its own error, or
  // one saying which other ranks failed and how.
  absl::Status Agree(const absl::Status& status, const std::string& what = "agreeing on errors");

  // Tells the others why this rank cannot go on, at whatever operation they wait; not what they know from Agree.
  void Fail(const absl::Status& why);
  // While it lives, the others wait for this rank beyond the time limit.
  class Work : public Lifeline::Work {
   public:
    Work(const ProcessGroup& group, const std::string& what);
  };
  // "rank 1 (host)".
  std::string NameOf(int rank) const;

 private:
  struct Implementation;
  ProcessGroup(int rank, int world_size, std::unique_ptr<Implementation> implementation);

  int rank_, world_size_;
  std::unique_ptr<Implementation> implementation_;  // Null for one rank.
};

}  // namespace tec

#endif  // TEC_DIST_PROCESS_GROUP_H_
