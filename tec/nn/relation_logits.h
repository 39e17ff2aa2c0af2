// How much each query looks at each patch: the logits of attention without their softmax, which relations are learnt
// from.

#ifndef TEC_NN_RELATION_LOGITS_H_
#define TEC_NN_RELATION_LOGITS_H_

#include <cstdint>

#include "ATen/core/Tensor.h"
#include "tec/nn/modules.h"

namespace tec {

// Of [CLS] and K selected patches, by all L patches: scale * q k^T, [N, 1, 1+K, H, L], of the type that qk gives.
//
//   qk      Linear W -> 2C: the first C rows give q, the others k; H divides C
//   tokens  [N, 1+L, W], [CLS] first; idx I64 [N, 1, K], different patches
//
// Queries are made for the selected tokens alone. Backward makes one gradient of tokens, into which that of the queries
// is added where it belongs, and one of both halves of qk: autograd would fill and add whole ones for each.
at::Tensor RelationLogits(Linear& qk, const at::Tensor& tokens, const at::Tensor& idx, int64_t heads, double scale);

}  // namespace tec

#endif  // TEC_NN_RELATION_LOGITS_H_
