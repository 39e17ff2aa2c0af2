#include "tec/config/base_model_settings.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tec/base/logging.h"
#include "tec/config/checks.h"
#include "tec/config/text.h"

namespace tec {
namespace {

constexpr char kCustom[] = "custom";

struct NamedBaseModel {
  const char* name;
  const char* encoder;
};
// The reference's names, recipe.md section 17.
constexpr NamedBaseModel kBaseModels[] = {
    {"mae1kbase", "base_patch16"},
    {"mae1klarge", "large_patch16"},
    {"mae1k300ep", "base_patch16"},
    {"ibot1kbase", "base_patch16"},
};

const config_internal::NamedEncoder* EncoderOfBaseModel(absl::string_view name) {
  for (const NamedBaseModel& base : kBaseModels) {
    if (name == base.name) return config_internal::FindEncoder(base.encoder);
  }
  return nullptr;
}

// Where a message finds it: "base_model" or "further_base_models[1]"; flags are of the first alone.
std::string FieldName(size_t index) {
  return index == 0 ? "base_model" : absl::StrCat("further_base_models[", index - 1, "]");
}

std::string Flag(size_t index, absl::string_view name) { return index == 0 ? absl::StrCat(" (", name, ")") : ""; }

}  // namespace

std::vector<const config::BaseModel*> BaseModelsOf(const config::Experiment& experiment) {
  std::vector<const config::BaseModel*> all = {&experiment.base_model()};
  for (const config::BaseModel& further : experiment.further_base_models()) all.push_back(&further);
  return all;
}

config::Experiment AloneWithModel(const config::Experiment& experiment, int64_t model) {
  config::Experiment alone = experiment;
  if (model > 0) *alone.mutable_model() = experiment.further_models(static_cast<int>(model - 1));
  alone.mutable_model()->clear_label();
  alone.clear_further_models();
  return alone;
}

std::vector<std::string> BaseModelLabels(const config::Experiment& experiment) {
  std::vector<std::string> labels;
  for (const config::BaseModel* base : BaseModelsOf(experiment)) {
    std::string label = base->label();
    if (label.empty()) {
      label = base->path().substr(base->path().rfind('/') + 1);
      label = label.substr(0, label.find('.'));
    }
    for (char& c : label) {
      if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '-' && c != '_') c = '_';
    }
    if (label.empty()) label = "base";
    std::string unique = label;
    for (int i = 2; std::count(labels.begin(), labels.end(), unique) > 0; ++i) unique = absl::StrCat(label, "_", i);
    labels.push_back(unique);
  }
  return labels;
}

std::vector<double> BaseModelShares(const config::Experiment& resolved) {
  double sum = 0;
  std::vector<double> shares;
  for (const config::BaseModel* base : BaseModelsOf(resolved)) {
    shares.push_back(base->has_weight() ? base->weight() : 1);
    sum += shares.back();
  }
  TEC_CHECK(sum > 0) << "the weights of all base models are 0";
  for (double& share : shares) share /= sum;
  return shares;
}

double RelationTemperature(const config::Experiment& resolved, const config::BaseModel& base) {
  return base.att_tau() > 0 ? base.att_tau() : resolved.losses().att_tau();
}

namespace config_internal {
namespace {

void CheckBaseModel(const config::Experiment& experiment, const config::BaseModel& base, size_t index, Paths paths,
                    Problems* problems) {
  const std::string field = FieldName(index);
  if (paths == Paths::kRequired && base.path().empty()) {
    problems->Add(absl::StrCat(field, ".path is empty; method TEC needs the base model's checkpoint: give ",
                               "--base_model=FILE"));
  }
  if (base.name() != kCustom && EncoderOfBaseModel(base.name()) == nullptr) {
    std::vector<std::string> known;
    for (const NamedBaseModel& named : kBaseModels) known.push_back(named.name);
    problems->Add(UnknownName(absl::StrCat(field, ".name", Flag(index, "--basemodel")), base.name(), std::move(known)));
    return;
  }
  const config::Vit& encoder = base.encoder();
  // Its positions come with its weights.
  CheckEncoder(absl::StrCat(field, ".encoder"), encoder, /*sincos_positions=*/false, problems);
  if (encoder.depth() > 0) {
    problems->AddIf(base.last_layers() < 1 || base.last_layers() > encoder.depth(),
                    absl::StrCat(field, ".last_layers", Flag(index, "--last_layers"), " is ", base.last_layers(),
                                 "; it must be from 1 to the base model's depth ", encoder.depth()));
  }
  const int64_t grid = Grid(encoder), model_grid = Grid(experiment.model().encoder());
  if (grid > 0 && model_grid > 0 && grid != model_grid) {
    problems->Add(absl::StrCat("the base model", index == 0 ? "" : absl::StrCat(" ", base.path()), " sees ", grid,
                               " x ", grid, " patches of ", encoder.patch_size(), " pixels, the new model ", model_grid,
                               " x ", model_grid, " of ", experiment.model().encoder().patch_size(),
                               "; both must have the same patches of a crop"));
  }
  if (experiment.model().pred_att() && grid > 0) {
    problems->AddIf(base.topkatt() < 1 || base.topkatt() > grid * grid,
                    absl::StrCat(field, ".topkatt", Flag(index, "--topkatt"), " is ", base.topkatt(),
                                 "; it must be from 1 to the number of patches ", grid * grid));
  }
  problems->Range(absl::StrCat(field, ".weight"), base.weight(), 0.0, INFINITY);
  problems->Range(absl::StrCat(field, ".att_tau"), base.att_tau(), 0.0, INFINITY);
  const std::string& device = base.device();
  problems->AddIf(
      !device.empty() && device != "cpu" && !absl::StartsWith(device, "cuda:"),
      absl::StrCat(field, ".device is \"", device, "\"; it must be cpu, cuda:N, or empty for that of the new model"));
}

}  // namespace

int64_t Grid(const config::Vit& vit) {
  return vit.image_size() > 0 && vit.patch_size() > 0 && vit.image_size() % vit.patch_size() == 0
             ? vit.image_size() / vit.patch_size()
             : 0;
}

std::string UnknownName(absl::string_view field, const std::string& name, std::vector<std::string> known) {
  known.push_back(kCustom);
  return absl::StrCat(field, " is \"", name, "\", which is not known", DidYouMean(name, known),
                      " (known: ", absl::StrJoin(known, ", "), ")");
}

void FillBaseModels(config::Experiment* experiment) {
  const config::Vit& own = experiment->model().encoder();
  config::BaseModel* first = experiment->mutable_base_model();
  if (const NamedEncoder* named = EncoderOfBaseModel(first->name())) FillEncoder(*named, first->mutable_encoder());
  if (!first->encoder().has_image_size() && own.has_image_size()) {
    first->mutable_encoder()->set_image_size(own.image_size());
  }
  for (config::BaseModel& further : *experiment->mutable_further_base_models()) {
    config::BaseModel whole = *first;
    // What belongs to the first one's file, or to it alone.
    whole.set_name(kCustom);
    whole.clear_encoder();
    for (std::string* text : {whole.mutable_path(), whole.mutable_family(), whole.mutable_entry(), whole.mutable_grid(),
                              whole.mutable_label(), whole.mutable_device()}) {
      text->clear();
    }
    whole.set_weight(1);
    whole.set_att_tau(0);
    MergeOver(further, &whole);
    further = whole;
    config::Vit* encoder = further.mutable_encoder();
    if (const NamedEncoder* named = EncoderOfBaseModel(further.name())) FillEncoder(*named, encoder);
    // The crop at the size that gives the new model's patches.
    if (!encoder->has_image_size() && encoder->has_patch_size() && Grid(own) > 0) {
      encoder->set_image_size(Grid(own) * encoder->patch_size());
    }
  }
}

void CheckBaseModels(const config::Experiment& experiment, Paths paths, Problems* problems) {
  const std::vector<const config::BaseModel*> all = BaseModelsOf(experiment);
  double weights = 0;
  for (size_t i = 0; i < all.size(); ++i) {
    CheckBaseModel(experiment, *all[i], i, paths, problems);
    weights += all[i]->weight();
    for (size_t j = 0; j < i; ++j) {
      problems->AddIf(!all[i]->path().empty() && all[i]->path() == all[j]->path() && all[i]->entry() == all[j]->entry(),
                      absl::StrCat(all[i]->path(),
                                   " is there twice as a base model; leave one of them out, or give it "
                                   "another weight instead"));
    }
  }
  problems->AddIf(weights == 0, "the weights of all base models are 0: there is nothing to learn from");
  const double drop = experiment.drop_base_models();
  problems->Range("drop_base_models (--drop_base_models)", drop, 0.0, 1.0);
  problems->AddIf(drop > 0 && all.size() == 1,
                  "drop_base_models (--drop_base_models) needs several base models: --base_model=A,B");
  problems->AddIf(drop == 1, "drop_base_models (--drop_base_models) is 1; it must be below 1");
}

}  // namespace config_internal
}  // namespace tec
