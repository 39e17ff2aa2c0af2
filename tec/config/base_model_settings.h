// What an experiment says of its base models: the first, `base_model`, and those beside it, `further_base_models`; and
// of its new models.

#ifndef TEC_CONFIG_BASE_MODEL_SETTINGS_H_
#define TEC_CONFIG_BASE_MODEL_SETTINGS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "tec/config/config.h"
#include "tec/config/experiment.pb.h"

namespace tec {

// All of them, the first one first. The pointers are into `experiment`.
std::vector<const config::BaseModel*> BaseModelsOf(const config::Experiment& experiment);

// The new models' number, the first one among them, and the experiment that trains one of them alone: 0 the first.
inline int64_t NewModels(const config::Experiment& experiment) { return 1 + experiment.further_models_size(); }
config::Experiment AloneWithModel(const config::Experiment& experiment, int64_t model);

// What logs call them: `label`, or else the name of the file without folders and ending, in letters, digits, "-" and
// "_"; each once (a second "mae" is "mae_2").
std::vector<std::string> BaseModelLabels(const config::Experiment& experiment);

// Shares of the loss, summing to 1: weight / sum of all weights.
std::vector<double> BaseModelShares(const config::Experiment& resolved);

// The temperature of a base model's relation target.
double RelationTemperature(const config::Experiment& resolved, const config::BaseModel& base);

namespace config_internal {

class Problems;

// Patches a side, or 0 where the shape is not sound; that is told elsewhere.
int64_t Grid(const config::Vit& vit);

std::string UnknownName(absl::string_view field, const std::string& name, std::vector<std::string> known);

// Fills in what follows from names, from the new model and, for further ones, from the first. Resolve's.
void FillBaseModels(config::Experiment* experiment);

// Validate's, of method TEC.
void CheckBaseModels(const config::Experiment& experiment, Paths paths, Problems* problems);

}  // namespace config_internal
}  // namespace tec

#endif  // TEC_CONFIG_BASE_MODEL_SETTINGS_H_
