#include "eval/program/told_encoder.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tec/base/status.h"

namespace tec {
namespace {

// Written into results: never rename.
constexpr char kTold[] = "told", kFamily[] = "family", kEntry[] = "entry", kHeads[] = "heads", kGrid[] = "grid";

}  // namespace

void RecordTold(const VitRequest& request, nlohmann::ordered_json* results) {
  nlohmann::ordered_json told = nlohmann::ordered_json::object();
  if (!request.family.empty()) told[kFamily] = request.family;
  if (!request.entry.empty()) told[kEntry] = request.entry;
  if (request.heads > 0) told[kHeads] = request.heads;
  if (request.grid_rows > 0) told[kGrid] = absl::StrCat(request.grid_rows, "x", request.grid_columns);
  if (!told.empty()) (*results)[kTold] = std::move(told);
}

absl::StatusOr<VitRequest> ToldIn(const nlohmann::json& results) {
  VitRequest request;
  if (!results.is_object() || !results.contains(kTold)) return request;
  const nlohmann::json& told = results[kTold];
  if (!told.is_object()) return absl::InvalidArgumentError(absl::StrCat("results.json: ", kTold, " is no object"));
  std::string grid;
  const std::pair<const char*, std::string*> texts[] = {
      {kFamily, &request.family}, {kEntry, &request.entry}, {kGrid, &grid}};
  for (const auto& [key, value] : texts) {
    if (!told.contains(key)) continue;
    if (!told[key].is_string()) {
      return absl::InvalidArgumentError(absl::StrCat("results.json: ", kTold, ".", key, " is no text"));
    }
    *value = told[key].get<std::string>();
  }
  if (told.contains(kHeads)) {
    if (!told[kHeads].is_number_integer() || told[kHeads].get<int64_t>() < 1) {
      return absl::InvalidArgumentError(absl::StrCat("results.json: ", kTold, ".", kHeads, " is no number of heads"));
    }
    request.heads = told[kHeads].get<int64_t>();
  }
  TEC_RETURN_IF_ERROR(Annotate(ParseGrid(grid, &request), "results.json"));
  return request;
}

}  // namespace tec
