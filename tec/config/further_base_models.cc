#include "tec/config/further_base_models.h"

#include <sys/stat.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/descriptor.h"
#include "tec/base/path.h"
#include "tec/base/status.h"
#include "tec/config/base_model_flags.h"
#include "tec/config/base_model_settings.h"
#include "tec/config/encoder_file.h"
#include "tec/config/own_images.h"
#include "tec/config/text.h"

namespace tec {
namespace {

const std::vector<std::string>& Settings() {
  static const auto* const names = new std::vector<std::string>{"family",  "entry",   "grid",  "weight", "last_layers",
                                                                "topkatt", "att_tau", "label", "device"};
  return *names;
}

bool IsThere(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0;
}

// "weight=0.5" into `base`.
absl::Status Set(const std::string& setting, config::BaseModel* base) {
  const std::pair<std::string, std::string> parts = absl::StrSplit(setting, absl::MaxSplits('=', 1));
  const auto* field = base->GetDescriptor()->FindFieldByName(parts.first);
  bool known = false;
  for (const std::string& name : Settings()) known |= name == parts.first;
  if (!known || field == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("--base_model: \"", setting, "\" is no setting of a base model",
                                                   DidYouMean(parts.first, Settings()),
                                                   " (known: ", absl::StrJoin(Settings(), ", "), ")"));
  }
  const bool text = field->cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_STRING;
  config::BaseModel value;
  const std::string quoted = text ? absl::StrCat("'", parts.second, "'") : parts.second;
  if (!ParseText(absl::StrCat(parts.first, ": ", quoted), "--base_model", &value).ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--base_model: ", parts.first, "=", parts.second, " is no ", text ? "text" : "number"));
  }
  MergeOver(value, base);
  return absl::OkStatus();
}

// "A.pth:weight=0.5" into `base`. A colon without "=" behind it is of the path.
absl::Status Take(const std::string& part, config::BaseModel* base) {
  std::vector<std::string> pieces = absl::StrSplit(part, ':');
  std::vector<std::string> settings;
  while (pieces.size() > 1 && pieces.back().find('=') != std::string::npos &&
         pieces.back().find('/') == std::string::npos) {
    settings.insert(settings.begin(), pieces.back());
    pieces.pop_back();
  }
  const std::string path = absl::StrJoin(pieces, ":");
  if (path.empty()) return absl::InvalidArgumentError("--base_model: a file's name is missing between two commas");
  base->set_path(AbsoluteUserPath(path));
  for (const std::string& setting : settings) TEC_RETURN_IF_ERROR(Set(setting, base));
  return absl::OkStatus();
}

}  // namespace

absl::Status SplitBaseModels(config::Experiment* experiment) {
  config::BaseModel* first = experiment->mutable_base_model();
  const std::string given = first->path();
  if (given.empty()) return absl::OkStatus();
  if (IsThere(AbsoluteUserPath(given))) {
    first->set_path(AbsoluteUserPath(given));
    return absl::OkStatus();
  }
  const std::vector<std::string> parts = absl::StrSplit(given, ',');
  TEC_RETURN_IF_ERROR(Take(parts[0], first));
  if (parts.size() > 1) experiment->clear_further_base_models();
  for (size_t i = 1; i < parts.size(); ++i) {
    TEC_RETURN_IF_ERROR(Take(parts[i], experiment->add_further_base_models()));
  }
  return absl::OkStatus();
}

absl::Status ShapeFurtherBaseModels(config::Experiment* experiment) {
  const int64_t grid = config_internal::Grid(experiment->model().encoder());
  for (config::BaseModel& base : *experiment->mutable_further_base_models()) {
    base.set_path(AbsoluteUserPath(base.path()));
    const config::Vit& said = base.encoder();
    if (base.path().empty() || (said.has_width() && said.has_depth() && said.has_heads() && said.has_patch_size())) {
      continue;
    }
    VitRequest request;
    request.family = base.family();
    request.entry = base.entry();
    request.heads = said.heads();
    const std::string what = absl::StrCat("base model ", base.path());
    TEC_RETURN_IF_ERROR(Annotate(NamingBaseModelFlags(ParseGrid(base.grid(), &request)), what));
    const absl::StatusOr<EncoderFile> file = ReadEncoderFile(base.path(), request);
    TEC_RETURN_IF_ERROR(Annotate(NamingBaseModelFlags(file.status()), "base model"));
    TEC_RETURN_IF_ERROR(Annotate(NamingBaseModelFlags(CheckHeadsKnown(file->vit)), "base model"));
    const VitTraits& traits = file->vit.plan.traits;
    config::Vit shape;
    shape.set_patch_size(traits.patch_size);
    shape.set_width(traits.width);
    shape.set_depth(traits.depth);
    shape.set_heads(traits.heads);
    if (grid > 0) shape.set_image_size(grid * traits.patch_size);
    MergeOver(said, &shape);
    *base.mutable_encoder() = shape;
    if (!base.has_interpolate_positions() && grid > 0 && traits.grid != grid) base.set_interpolate_positions(true);
    const RelationTargets targets = RelationTargetsFor(file->vit.plan.family, traits.depth, grid);
    if (!base.has_topkatt()) base.set_topkatt(targets.selected);
    if (!base.has_att_tau()) base.set_att_tau(targets.tau);
  }
  return absl::OkStatus();
}

}  // namespace tec
