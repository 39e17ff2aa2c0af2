// The copy of a weight that products of low precision take (working_weights.h), kept with the weight itself, so that
// who changes the weight can write the copy in the same pass (tec/optim/adamw.h).
//
// Whether a copy still has its weight's values is told by the weight's version, which LibTorch counts up in operations
// in place, but for at::_fused_adamw_ and writes through data_ptr: who changes weights by these says so with
// CountChange.

#ifndef TEC_NN_WORKING_COPY_H_
#define TEC_NN_WORKING_COPY_H_

#include "ATen/core/Tensor.h"

namespace tec {

// `low`, of the weight's shape and device, has its values now, rounded. In the place of one before.
void AttachWorkingCopy(const at::Tensor& weight, at::Tensor low);

// What is attached; undefined if that is nothing, or the weight has been changed since or is elsewhere.
at::Tensor CurrentWorkingCopy(const at::Tensor& weight);

// One who has written new values into the weight has written them, rounded, into its current copy too. Counts as a
// change of both, so that a graph that still needs the old ones fails instead of taking these.
void WroteWorkingCopy(const at::Tensor& weight);

// Whether WroteWorkingCopy was the weight's last change, and `low` that copy.
bool IsWrittenCopy(const at::Tensor& weight, const at::Tensor& low);

// Says that the values of a tensor, or of a view of it, are others.
void CountChange(const at::Tensor& tensor);

}  // namespace tec

#endif  // TEC_NN_WORKING_COPY_H_
