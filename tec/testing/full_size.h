// ViT-B and ViT-L at their real sizes, as full_base.json and full_large.json describe them: every parameter from an
// integer hash, so that no weights are stored.
//
//   FullSize real = MakeFullSize("full_base");   // data = ["//tec/testing/goldens:full_base.json"]

#ifndef TEC_TESTING_FULL_SIZE_H_
#define TEC_TESTING_FULL_SIZE_H_

#include <memory>
#include <string>

#include "ATen/core/Tensor.h"
#include "nlohmann/json.hpp"
#include "tec/models/base_model.h"
#include "tec/models/tec_model.h"

namespace tec::testing {

struct FullSize {
  nlohmann::json json;  // The whole file.
  std::unique_ptr<BaseModel> base_model;
  std::unique_ptr<TecModel> model;
  at::Tensor images;  // [N, 3, S, S]
  at::Tensor noise;   // [N, L], of the masking.
  double mask_ratio = 0, att_tau = 0;
};

// Ends the test if the file's parameters are not those of our models.
FullSize MakeFullSize(const std::string& stem);

}  // namespace tec::testing

#endif  // TEC_TESTING_FULL_SIZE_H_
