// A new model that begins with its base model's weights instead of random ones.

#ifndef TEC_MODELS_BEGIN_FROM_BASE_H_
#define TEC_MODELS_BEGIN_FROM_BASE_H_

#include "absl/status/status.h"
#include "tec/models/base_model.h"
#include "tec/models/tec_model.h"

namespace tec {

// Copies patch embedding, [CLS] token and as many first blocks as the new model has. What the base model's file has no
// place for here, the final norm, and the learnt positions, for which the new model has sin-cos ones, stay as they are;
// so does the input adaptor. InvalidArgument, the model unchanged: other widths, heads, patches or channels, fewer
// blocks, or blocks that compute otherwise (activation, norms, positions); lists all of it.
absl::Status BeginFromBase(const BaseModel& base, TecModel& model);

}  // namespace tec

#endif  // TEC_MODELS_BEGIN_FROM_BASE_H_
