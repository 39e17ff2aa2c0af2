#include "tec/config/rows.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"
#include "tec/config/checks.h"
#include "tec/config/config.h"
#include "tec/config/embedded.h"
#include "tec/config/finetune.h"
#include "tec/config/text.h"

namespace tec {
namespace {

// An embedded file that is there as long as this program was built right.
std::string Embedded(const std::string& name) {
  const char* text = FindEmbedded(name);
  TEC_CHECK(text != nullptr) << name;
  return text;
}

}  // namespace

std::vector<std::string> RowNames() {
  std::vector<std::string> names;
  for (const std::string& name : EmbeddedNames()) {
    if (config_internal::Declares(FindEmbedded(name), config::Row::descriptor()->full_name(), /*otherwise=*/false)) {
      names.push_back(name);
    }
  }
  return names;
}

absl::StatusOr<config::Row> LoadRow(const std::string& name) {
  const std::vector<std::string> names = RowNames();
  if (std::find(names.begin(), names.end(), name) == names.end()) {
    return absl::NotFoundError(absl::StrCat("no row is named \"", name, "\"", DidYouMean(name, names),
                                            "\n  rows: ", absl::StrJoin(names, ", ")));
  }
  config::Row row;
  TEC_RETURN_IF_ERROR(ParseText(FindEmbedded(name), name, &row));
  TEC_ASSIGN_OR_RETURN(*row.mutable_pretrain(), LoadExperiment(name));
  TEC_ASSIGN_OR_RETURN(*row.mutable_finetune(), LoadFinetune(name));
  return row;
}

MiniChain LoadMiniChain() {
  const absl::StatusOr<config::Experiment> mae = ParseExperiment(Embedded("mini/mae"), "mini/mae");
  const absl::StatusOr<config::Experiment> tec = ParseExperiment(Embedded("mini/tec"), "mini/tec");
  const absl::StatusOr<config::Finetune> finetune = ParseFinetune(Embedded("mini/finetune"), "mini/finetune");
  TEC_CHECK_OK(mae.status());
  TEC_CHECK_OK(tec.status());
  TEC_CHECK_OK(finetune.status());
  return {*mae, *tec, *finetune};
}

}  // namespace tec
