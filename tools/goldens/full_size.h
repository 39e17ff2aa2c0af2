// The models of full_base.json and full_large.json: every parameter from an integer hash, so that no weights are
// stored.

#ifndef TEC_TOOLS_GOLDENS_FULL_SIZE_H_
#define TEC_TOOLS_GOLDENS_FULL_SIZE_H_

#include <cstdint>
#include <memory>

#include "ATen/core/Tensor.h"
#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "tec/models/base_model.h"
#include "tec/models/tec_model.h"

namespace tec {

// What does not cost memory.
struct FullSizeSetting {
  uint64_t seed = 0;
  BaseModelOptions base_options;
  TecOptions options;
  at::Tensor images;  // [N, 3, S, S]
  at::Tensor noise;   // [N, L], of the masking.
  double mask_ratio = 0, att_tau = 0;
};

// `json`: the whole file. nlohmann::json throws for an entry that is missing; InvalidArgument if no such model can be
// built.
absl::StatusOr<FullSizeSetting> FullSizeSettingOf(const nlohmann::json& json);

// With the file's parameters; an error if they are not those of our models.
absl::StatusOr<std::unique_ptr<BaseModel>> MakeFullSizeBaseModel(const nlohmann::json& json);
absl::StatusOr<std::unique_ptr<TecModel>> MakeFullSizeModel(const nlohmann::json& json);

// Element i of stream j as a parameter: 24 random bits in [-1/32, 1/32), exact in float32.
double FullSizeParameter(uint64_t seed, uint64_t j, uint64_t i);

}  // namespace tec

#endif  // TEC_TOOLS_GOLDENS_FULL_SIZE_H_
