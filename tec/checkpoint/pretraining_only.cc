#include "tec/checkpoint/pretraining_only.h"

#include "absl/strings/match.h"

namespace tec {

bool IsPretrainingOnly(absl::string_view name) {
  for (const char* prefix : {"mask_token", "decoder_", "encoder_adaptor.", "forward_fea_decoder.",
                             "forward_att_decoder.", "further_bases."}) {
    if (absl::StartsWith(name, prefix)) return true;
  }
  return false;
}

}  // namespace tec
