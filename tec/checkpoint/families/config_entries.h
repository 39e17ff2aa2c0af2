// Entries of a model's config.json, taken out with what is wrong with them in the status.

#ifndef TEC_CHECKPOINT_FAMILIES_CONFIG_ENTRIES_H_
#define TEC_CHECKPOINT_FAMILIES_CONFIG_ENTRIES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "tec/nn/activation.h"

namespace tec {

// The entry, which must be an object; an empty one where there is none.
nlohmann::json ObjectIn(const nlohmann::json& object, const char* key);
// "" where there is none.
std::string TextIn(const nlohmann::json& object, const char* key);

// These leave what they are to fill in as it is where there is no such entry, and but for the last two refuse one that
// is of another kind. A whole number from `least` on.
absl::Status TakeSize(const nlohmann::json& object, const char* key, int64_t* size, int64_t least = 1);
// One number for both, or the last two of a list.
absl::Status TakeSizes(const nlohmann::json& object, const char* key, int64_t* height, int64_t* width);
// The same, which must be equal.
absl::Status TakeSquare(const nlohmann::json& object, const char* key, int64_t* size);
absl::Status TakeActivation(const nlohmann::json& object, const char* key, std::optional<Activation>* activation);
absl::Status TakeFlag(const nlohmann::json& object, const char* key, std::optional<bool>* flag);
// The entry if it is a positive number.
void TakePositive(const nlohmann::json& object, const char* key, std::optional<double>* number);
// Those of a list that are numbers.
void TakeNumbers(const nlohmann::json& object, const char* key, std::vector<float>* numbers);

// int(width * ratio), as the packages compute it.
absl::StatusOr<int64_t> HiddenOf(int64_t width, double ratio);

}  // namespace tec

#endif  // TEC_CHECKPOINT_FAMILIES_CONFIG_ENTRIES_H_
