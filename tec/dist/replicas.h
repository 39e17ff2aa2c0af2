// That the ranks hold the same: the settings and data that decide a run, and, while it trains, weights and optimiser
// state. What differs is named with its ranks; unnoticed, it would train nonsense.

#ifndef TEC_DIST_REPLICAS_H_
#define TEC_DIST_REPLICAS_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/status/status.h"
#include "tec/dist/process_group.h"

namespace tec {

// Name and value of what must be the same on every rank, in one order.
using RankFacts = std::vector<std::pair<std::string, std::string>>;
// The name stands in messages. Tensors of the group's device.
using ReplicatedTensors = std::vector<std::pair<std::string, at::Tensor>>;

// InvalidArgument on every rank: "seed is 6 on rank 1, 5 on rank 0", all that differs.
absl::Status CompareFacts(ProcessGroup& group, const RankFacts& facts);

// Rank 0's values to all.
absl::Status SendReplicas(ProcessGroup& group, const ReplicatedTensors& tensors);
// DataLoss on every rank if a tensor is not bit for bit the same, naming the tensors and their ranks. `when`: "after
// update 7", for messages. Costs about a reading of all tensors.
absl::Status CompareReplicas(ProcessGroup& group, const ReplicatedTensors& tensors, const std::string& when);

// A number that changes with every bit of the tensor, whatever its type; not with its shape. I64, 0-dim, on its device.
at::Tensor TensorChecksum(const at::Tensor& tensor);

}  // namespace tec

#endif  // TEC_DIST_REPLICAS_H_
