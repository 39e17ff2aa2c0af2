// TEC's input adaptor as a constant: the [CLS] token goes through an MLP that does not depend on the image, so a
// trained model needs only its result.

#ifndef TEC_CHECKPOINT_TOKEN_MLP_H_
#define TEC_CHECKPOINT_TOKEN_MLP_H_

#include "absl/status/statusor.h"
#include "tec/checkpoint/tensor_view.h"

namespace tec {

// cls_token [1, 1, C]; fc1 [F, C] and [F]; fc2 [C, F] and [C]. Any floating-point type.
struct TokenMlp {
  TensorView cls_token, fc1_weight, fc1_bias, fc2_weight, fc2_bias;
};

// fc2(gelu(fc1(cls_token))), float32 [1, 1, C], computed in double (recipe.md section 14). Exact (erf) GELU.
// InvalidArgument if the shapes do not fit.
absl::StatusOr<TensorView> FoldTokenMlp(const TokenMlp& mlp);

}  // namespace tec

#endif  // TEC_CHECKPOINT_TOKEN_MLP_H_
