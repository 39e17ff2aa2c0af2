// What follows from a formula alone: schedules, position tables, masking, parameter groups.

#include <cmath>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tec/base/status.h"
#include "tec/models/encoder.h"
#include "tec/nn/drop_path.h"
#include "tec/nn/masking.h"
#include "tec/nn/positions.h"
#include "tec/optim/parameter_groups.h"
#include "tec/optim/schedule.h"
#include "tools/goldens/checks.h"
#include "tools/goldens/torch_item.h"

namespace tec {
namespace {

// Of the stored numbers' README.
constexpr double kScheduleTolerance = 1e-12;
constexpr double kGroupTolerance = 1e-12;
constexpr double kPositionTolerance = 1e-6;
constexpr double kDoublePositionTolerance = 1e-12;
constexpr double kInterpolationTolerance = 1e-5;

}  // namespace

absl::Status CheckSchedules(GoldenItem& item) {
  TEC_ASSIGN_OR_RETURN(GoldenJson * file, item.Json(absl::StrCat(item.name(), ".json")));
  // "values: [fractional epoch, lr, lr of a group with lr_scale 0.65**3]"
  double scale = std::pow(0.65, 3);
  std::smatch match;
  const std::string columns = file->content().value("columns", "");
  if (std::regex_search(columns, match, std::regex(R"(lr_scale ([0-9.]+)\*\*([0-9]+))"))) {
    scale = std::pow(std::stod(match[1]), std::stod(match[2]));
  }
  const GoldenTolerance tolerance = GoldenTolerance::Relative(kScheduleTolerance);
  const nlohmann::json& schedules = (*file)["schedules"];
  for (size_t i = 0; i < schedules.size(); ++i) {
    const nlohmann::json& row = schedules[i];
    const std::string pointer = absl::StrCat("/schedules/", i);
    item.Group(absl::StrCat("schedules/", i, " ", row.value("row", ""), " ", row.value("phase", "")));
    const double lr = EffectiveLearningRate(row.at("blr"), row.at("batch"), row.at("accum"), row.at("gpus"));
    item.CompareNumber(*file, pointer + "/lr", lr, tolerance);
    const ScheduleOptions options = {lr, row.at("min_lr"), row.at("warmup"), row.at("epochs")};
    for (size_t j = 0; j < row.at("values").size(); ++j) {
      const double rate = LearningRate(options, row["values"][j].at(0));
      item.CompareNumber(*file, absl::StrCat(pointer, "/values/", j, "/1"), rate, tolerance);
      if (row["values"][j].size() > 2) {
        item.CompareNumber(*file, absl::StrCat(pointer, "/values/", j, "/2"), rate * scale, tolerance);
      }
    }
  }
  // drop_path_rates_0p1: {"12": [...], ...}
  constexpr absl::string_view kRates = "drop_path_rates_";
  for (const std::string& key : file->Keys()) {
    double drop_path;
    if (!absl::StartsWith(key, kRates) ||
        !absl::SimpleAtod(absl::StrReplaceAll(key.substr(kRates.size()), {{"p", "."}}), &drop_path)) {
      continue;
    }
    for (const auto& [depth, stored] : (*file)[key].items()) {
      const std::string pointer = absl::StrCat("/", key, "/", depth);
      item.Group(pointer.substr(1));
      const std::vector<double> rates = DropPathRates(drop_path, std::stoll(depth));
      item.Expect(pointer.substr(1), rates.size() == stored.size(), absl::StrCat(stored.size(), " rates are stored"));
      for (size_t i = 0; i < std::min(rates.size(), stored.size()); ++i) {
        item.CompareNumber(*file, absl::StrCat(pointer, "/", i), rates[i], tolerance);
      }
    }
  }
  item.Group("");
  return absl::OkStatus();
}

absl::Status CheckPositions(GoldenItem& item) {
  TEC_ASSIGN_OR_RETURN(GoldenTensors * file, item.Tensors(absl::StrCat(item.name(), ".safetensors")));
  const std::regex table(R"(d([0-9]+)_g([0-9]+)\.(f32|f64))"),
      interpolated(R"(interp_d([0-9]+)_([0-9]+)to([0-9]+)\.out)");
  std::smatch match;
  for (const std::string& name : file->Names()) {
    if (std::regex_match(name, match, table)) {
      const int64_t width = std::stoll(match[1]), grid = std::stoll(match[2]);
      if (width % 4 != 0 || width == 0 || grid == 0) {
        item.Fail(name, "no such table: the width is a multiple of 4, the grid at least 1");
        continue;
      }
      const bool wide = match[3] == "f64";
      at::Tensor positions = wide ? SinCosPositionsDouble(width, grid) : SinCosPositions(width, grid)[0];
      const std::string rows_name = absl::StrCat("d", width, "_g", grid, ".rows");
      if (file->Has(rows_name)) {
        TEC_ASSIGN_OR_RETURN(const at::Tensor rows, InputTensor(*file, rows_name, DType::kInt64, {-1}));
        positions = positions.index_select(0, rows);
      }
      Compare(item, *file, name, positions,
              GoldenTolerance::Absolute(wide ? kDoublePositionTolerance : kPositionTolerance));
    } else if (std::regex_match(name, match, interpolated)) {
      const int64_t width = std::stoll(match[1]), from = std::stoll(match[2]), to = std::stoll(match[3]);
      TEC_ASSIGN_OR_RETURN(const at::Tensor in, InputTensor(*file, name.substr(0, name.size() - 3) + "in",
                                                            DType::kFloat32, {1, 1 + from * from, width}));
      Compare(item, *file, name, InterpolatePositions(in, to), GoldenTolerance::Absolute(kInterpolationTolerance));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckMasking(GoldenItem& item) {
  TEC_ASSIGN_OR_RETURN(GoldenTensors * file, item.Tensors(absl::StrCat(item.name(), ".safetensors")));
  const std::regex noise_name(R"((L([0-9]+)_r([0-9.]+))\.noise)");
  std::smatch match;
  for (const std::string& name : file->Names()) {
    if (!std::regex_match(name, match, noise_name)) continue;
    const std::string stem = match[1];
    const double ratio = std::stod(match[3]);
    TEC_ASSIGN_OR_RETURN(const at::Tensor noise, InputTensor(*file, name, DType::kFloat32, {-1, std::stoll(match[2])}));
    if (!(ratio >= 0 && ratio < 1)) {
      item.Fail(name, "the ratio is not in [0, 1)");
      continue;
    }
    const Masking masking = RandomMasking(noise, ratio);
    item.Group(stem + ".*");
    Compare(item, *file, stem + ".ids_shuffle", masking.ids_shuffle, GoldenTolerance::Bits());
    Compare(item, *file, stem + ".ids_keep", masking.ids_keep, GoldenTolerance::Bits());
    Compare(item, *file, stem + ".ids_restore", masking.ids_restore, GoldenTolerance::Bits());
    Compare(item, *file, stem + ".mask", masking.mask, GoldenTolerance::Bits());
    item.Group("");
  }
  return absl::OkStatus();
}

absl::Status CheckMaskingKept(GoldenItem& item) {
  TEC_ASSIGN_OR_RETURN(GoldenJson * file, item.Json(absl::StrCat(item.name(), ".json")));
  const nlohmann::json& rows = (*file)["rows"];
  item.Group("rows/*");
  for (size_t i = 0; i < rows.size(); ++i) {
    const double ratio = rows[i].at(1);
    if (!(ratio >= 0 && ratio < 1)) {
      item.Fail(absl::StrCat("rows/", i), "the ratio is not in [0, 1)");
      continue;
    }
    item.CompareJson(*file, absl::StrCat("/rows/", i, "/2"), VisiblePatches(rows[i].at(0), ratio));
  }
  item.Group("");
  return absl::OkStatus();
}

absl::Status CheckLayerDecay(GoldenItem& item) {
  TEC_ASSIGN_OR_RETURN(GoldenJson * file, item.Json(absl::StrCat(item.name(), ".json")));
  for (const std::string& key : file->Keys()) {
    if (key == "meta") continue;
    const nlohmann::json& stored = (*file)[key];
    const nlohmann::json& parameters = stored.at("parameters");
    // The names tell the kind of model and its depth; groups do not depend on widths.
    std::set<std::string> blocks;
    for (const auto& [name, value] : parameters.items()) {
      if (absl::StartsWith(name, "blocks.")) blocks.insert(name.substr(0, name.find('.', 7)));
    }
    FinetuneOptions options;
    options.encoder = {8, 4, 8, static_cast<int64_t>(blocks.size()), 2};
    options.classes = 2;
    options.global_pool = parameters.contains("fc_norm.weight");
    options.mlp_token = parameters.contains("cls_token_mlp.fc1.weight");
    TEC_RETURN_IF_ERROR(Annotate(Validate(options), key));
    const FinetuneModel model(options);
    const NamedTensors trainable = NamedTrainable(model);
    const std::vector<ParameterGroup> groups =
        FinetuningGroups(trainable, options.encoder.depth, stored.at("weight_decay"), stored.at("layer_decay"));
    const std::string pointer = absl::StrCat("/", key);
    item.CompareJson(*file, pointer + "/groups", groups.size());
    item.Group(absl::StrCat(key, "/parameters/*"));
    for (const ParameterGroup& group : groups) {
      for (const std::string& name : group.names) {
        const std::string parameter = absl::StrCat(pointer, "/parameters/", name);
        if (!parameters.contains(name)) {
          item.Fail(parameter.substr(1), "is not stored");
          continue;
        }
        item.CompareNumber(*file, parameter + "/0", group.lr_scale, GoldenTolerance::Relative(kGroupTolerance));
        item.CompareNumber(*file, parameter + "/1", group.weight_decay, GoldenTolerance::Relative(kGroupTolerance));
      }
    }
    item.Group("");
    item.Expect(key + "/parameters", parameters.size() == trainable.size(),
                absl::StrCat(parameters.size(), " are stored, the model has ", trainable.size()));
    nlohmann::json frozen = nlohmann::json::array();
    for (const auto& [name, tensor] : NamedState(model)) {
      if (!tensor.requires_grad()) frozen.push_back(name);
    }
    item.CompareJson(*file, pointer + "/frozen", frozen);
  }
  return absl::OkStatus();
}

}  // namespace tec
