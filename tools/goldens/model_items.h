// What the checks of models share: sizes from a file's metadata, gradients, and the biases that no loss depends on.

#ifndef TEC_TOOLS_GOLDENS_MODEL_ITEMS_H_
#define TEC_TOOLS_GOLDENS_MODEL_ITEMS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "tec/models/options.h"
#include "tec/nn/module_state.h"
#include "tools/goldens/golden_item.h"

namespace tec {

// From "config": img_size, patch_size, embed_dim, depth, num_heads and so on. nlohmann::json throws for one that is
// missing; InvalidArgument if no such model can be built.
absl::StatusOr<BaseModelOptions> BaseModelOptionsOf(const nlohmann::json& config, const std::string& depth_key,
                                                    int64_t last_layers, int64_t top_patches);
absl::StatusOr<TecOptions> TecOptionsOf(const nlohmann::json& config);
absl::StatusOr<FinetuneOptions> FinetuneOptionsOf(const nlohmann::json& config);

// Compares the gradients of the model with the tensors <prefix><name> of the file, as one group. `all`: every trainable
// parameter must be there.
void CompareGradients(GoldenItem& item, GoldenTensors& file, const std::string& prefix, const torch::nn::Module& model,
                      bool all);

// The slice [begin, end) of a bias that is added to every key alike, which softmax ignores: its exact gradient is zero,
// and an optimiser moves it by rounding noise. Empty (0, 0) for every other parameter.
std::pair<int64_t, int64_t> KeyBias(const std::string& name, int64_t size);
GoldenSkip SkipKeyBias(const std::string& name, int64_t size);

// Compares what every trainable parameter has become with <prefix><name>, as one group: to `tolerance`, but for key
// biases, which must not have moved from `initial` by more than `sum_of_lr`.
void CompareFinalValues(GoldenItem& item, GoldenTensors& file, const std::string& prefix, const NamedTensors& trainable,
                        const TensorMap& initial, double tolerance, double sum_of_lr);

// In bfloat16 the ranking of patches may differ where scores nearly tie: of relations [N, 1, 1+K, H, L], the rows of
// those patches. Null where idx is the same.
GoldenSkip SkipOtherRanks(const at::Tensor& idx, const at::Tensor& expected_idx, int64_t heads, int64_t patches);

}  // namespace tec

#endif  // TEC_TOOLS_GOLDENS_MODEL_ITEMS_H_
