// The rows of the paper's table, and the chain of runs that shows the same on a small scale.

#ifndef TEC_CONFIG_ROWS_H_
#define TEC_CONFIG_ROWS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tec/config/experiment.pb.h"
#include "tec/config/finetune.pb.h"
#include "tec/config/row.pb.h"

namespace tec {

// Every field is set; `pretrain` and `finetune` are what LoadExperiment and LoadFinetune make of them. NotFound names
// the nearest row and lists all.
absl::StatusOr<config::Row> LoadRow(const std::string& name);
std::vector<std::string> RowNames();

// `--scale=mini`: a base model, a new model, and what each is judged by. Not resolved, no paths.
struct MiniChain {
  config::Experiment mae;
  config::Experiment tec;
  config::Finetune finetune;
};
MiniChain LoadMiniChain();

}  // namespace tec

#endif  // TEC_CONFIG_ROWS_H_
