// Which tensors of a pretraining checkpoint belong to pretraining alone.

#ifndef TEC_CHECKPOINT_PRETRAINING_ONLY_H_
#define TEC_CHECKPOINT_PRETRAINING_ONLY_H_

#include "absl/strings/string_view.h"

namespace tec {

// Whether `name` belongs to what only pretraining needs: adaptor, decoders, mask tokens.
bool IsPretrainingOnly(absl::string_view name);

}  // namespace tec

#endif  // TEC_CHECKPOINT_PRETRAINING_ONLY_H_
