#include "tec/config/config.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"
#include "tec/config/base_model_settings.h"
#include "tec/config/checks.h"
#include "tec/config/defaults.h"
#include "tec/config/embedded.h"
#include "tec/config/text.h"

namespace tec {
namespace {

using config_internal::NamedEncoder;
using config_internal::Problems;

// Beside what all runs share. recipe.md sections 6, 7 and 9; what the reference does not know has the value that leaves
// its results alone.
constexpr char kReference[] = R"(
  method: TEC
  model {
    name: "mae_vit_large_patch16"
    encoder { image_size: 224 }
    mlp_token: false
    pred_att: false
    adaptor_groups: 0
    init_from_base: false
    label: ""
  }
  base_model {
    name: "mae1kbase"
    path: ""
    last_layers: 2
    topkatt: 15
    family: ""
    interpolate_positions: false
    entry: ""
    grid: ""
    weight: 1
    att_tau: 0
    label: ""
    device: ""
  }
  drop_base_models: 0
  masking { mask_ratio: 0.75 kind: "random" mask_ratio_end: -1 }
  losses { att_tau: 1.8 feature_weight: 1 relation_weight: 1 norm_pix_loss: false }
  data { crop_scale_min: 0.2 }
  optimizer { beta2: 0.95 }
  schedule { epochs: 400 warmup_epochs: 40 min_lr: 0 }
  checkpointing { save_period: 50 }
)";

const config_internal::Defaults<config::Experiment>& PretrainingDefaults() {
  static const auto* const defaults = new config_internal::Defaults<config::Experiment>(kReference, "pretraining");
  return *defaults;
}

constexpr char kModelPrefix[] = "mae_vit_";
constexpr char kCustom[] = "custom";
constexpr char kQuickstart[] = "quickstart";
// What an unset mlp_ratio means.
constexpr double kUsualMlpRatio = 4;

struct NamedDecoder {
  const char* encoder;  // The size of the encoder it belongs to.
  int64_t width, depth, heads;
};

// TEC: base and large are the reference's (recipe.md section 3.2). The others are ours: about two thirds of the
// encoder's width as there, and heads of 32 or more channels.
constexpr NamedDecoder kTecDecoders[] = {
    {"tiny_patch16", 128, 2, 4},   {"small_patch16", 256, 2, 8},  {"base_patch16", 512, 2, 16},
    {"large_patch16", 768, 2, 16}, {"huge_patch14", 1024, 2, 16},
};
// MAE: one for base, large and huge (section 15); narrower for ours, which 512 channels would outweigh.
constexpr NamedDecoder kMaeDecoders[] = {
    {"tiny_patch16", 128, 8, 4},   {"small_patch16", 256, 8, 8}, {"base_patch16", 512, 8, 16},
    {"large_patch16", 512, 8, 16}, {"huge_patch14", 512, 8, 16},
};

const NamedEncoder* EncoderOfModel(absl::string_view name) {
  return absl::ConsumePrefix(&name, kModelPrefix) ? config_internal::FindEncoder(name) : nullptr;
}

void FillDecoder(const NamedEncoder& encoder, config::Method method, config::Decoder* decoder) {
  for (const NamedDecoder& named : method == config::MAE ? kMaeDecoders : kTecDecoders) {
    if (absl::string_view(named.encoder) != encoder.name) continue;
    if (!decoder->has_width()) decoder->set_width(named.width);
    if (!decoder->has_depth()) decoder->set_depth(named.depth);
    if (!decoder->has_heads()) decoder->set_heads(named.heads);
  }
}

// The reference's depth // 3 wherever the reference runs, that is, where it divides the depth.
int64_t DefaultGroups(int64_t depth) {
  int64_t groups = std::max<int64_t>(depth / 3, 1);
  while (depth % groups != 0) --groups;
  return groups;
}

void FillModel(config::Method method, config::Model* model) {
  if (const NamedEncoder* named = EncoderOfModel(model->name())) {
    config_internal::FillEncoder(*named, model->mutable_encoder());
    FillDecoder(*named, method, model->mutable_decoder());
  }
  if (model->adaptor_groups() == 0 && model->encoder().depth() > 0) {
    model->set_adaptor_groups(DefaultGroups(model->encoder().depth()));
  }
}

void CheckModel(const config::Model& model, const std::string& field, Problems* problems) {
  if (model.name() != kCustom && EncoderOfModel(model.name()) == nullptr) {
    std::vector<std::string> known;
    for (const NamedEncoder& encoder : config_internal::NamedEncoders()) {
      known.push_back(absl::StrCat(kModelPrefix, encoder.name));
    }
    problems->Add(config_internal::UnknownName(
        absl::StrCat(field, ".name", field == "model" ? " (--model)" : " (--further_models)"), model.name(),
        std::move(known)));
    return;  // That its sizes are unset follows from it.
  }
  const config::Vit& encoder = model.encoder();
  config_internal::CheckEncoder(absl::StrCat(field, ".encoder"), encoder, /*sincos_positions=*/true, problems);

  const config::Decoder& decoder = model.decoder();
  for (const auto& [has, size] : {std::pair(decoder.has_width(), "width"), std::pair(decoder.has_depth(), "depth"),
                                  std::pair(decoder.has_heads(), "heads")}) {
    problems->AddIf(!has, absl::StrCat(field, ".decoder.", size, " is not set; a custom model needs it"));
  }
  if (decoder.has_width()) problems->Range(absl::StrCat(field, ".decoder.width"), decoder.width(), 1, 1 << 16);
  if (decoder.has_depth()) problems->Range(absl::StrCat(field, ".decoder.depth"), decoder.depth(), 1, 1 << 10);
  if (decoder.has_heads()) problems->Range(absl::StrCat(field, ".decoder.heads"), decoder.heads(), 1, 1 << 16);
  if (decoder.has_width() && decoder.has_heads() && decoder.heads() > 0 && decoder.width() % decoder.heads() != 0) {
    problems->Add(
        absl::StrCat(field, ".decoder.width ", decoder.width(), " is not a multiple of heads ", decoder.heads()));
  }
  if (model.has_mlp_ratio()) {
    const std::string ratio = absl::StrCat(field, ".mlp_ratio", field == "model" ? " (--mlp_ratio)" : "");
    problems->Range(ratio, model.mlp_ratio(), 1.0 / 64, 64.0);
    for (const int64_t width : {encoder.width(), decoder.width()}) {
      problems->AddIf(width > 0 && model.mlp_ratio() > 0 && HiddenWidth(model, width) < 1,
                      absl::StrCat(ratio, " ", model.mlp_ratio(), " leaves MLPs over ", width, " channels nothing"));
    }
  }
  problems->AddIf(decoder.width() % 4 != 0, absl::StrCat(field, ".decoder.width ", decoder.width(),
                                                         " is not a multiple of 4, as its sin-cos positions need"));
  if (encoder.depth() > 0) {
    problems->AddIf(model.adaptor_groups() < 1 || encoder.depth() % model.adaptor_groups() != 0,
                    absl::StrCat(field, ".adaptor_groups ", model.adaptor_groups(), " does not divide ", field,
                                 ".encoder.depth ", encoder.depth()));
  }
}

void CheckFurtherModels(const config::Experiment& experiment, Problems* problems) {
  const config::Model& first = experiment.model();
  std::vector<std::string> labels;
  for (int i = 0; i < experiment.further_models_size(); ++i) {
    const config::Model& model = experiment.further_models(i);
    const std::string field = absl::StrCat("further_models[", i, "]");
    CheckModel(model, field, problems);
    const int64_t grid = config_internal::Grid(model.encoder()), own = config_internal::Grid(first.encoder());
    problems->AddIf(grid > 0 && own > 0 && grid != own,
                    absl::StrCat(field, " sees ", grid, " x ", grid, " patches, model ", own, " x ", own,
                                 "; all new models must have the same patches of a crop: set encoder.image_size"));
    problems->AddIf(model.pred_att() != first.pred_att(),
                    absl::StrCat(field, ".pred_att must be what model.pred_att (--pred_att) is"));
    const std::string& label = model.label();
    problems->AddIf(label.empty() || label[0] == '.' || label.find('/') != std::string::npos,
                    absl::StrCat(field, ".label is \"", label, "\"; it is a folder's name"));
    problems->AddIf(std::find(labels.begin(), labels.end(), label) != labels.end(),
                    absl::StrCat(field, ".label \"", label, "\" is there twice; give each further model another"));
    labels.push_back(label);
  }
}

void CheckRatio(const std::string& field, double ratio, int64_t patches, Problems* problems) {
  if (std::isnan(ratio)) return;
  // V as the reference truncates it (recipe.md section 3.1).
  const double visible = static_cast<double>(patches) * (1 - ratio);
  if (ratio < 0 || ratio > 1) {
    problems->Range(field, ratio, 0.0, 1.0);
  } else if (patches > 0 && (visible < 1 || visible >= static_cast<double>(patches))) {
    problems->Add(absl::StrCat(field, " ", ratio, " leaves ", std::floor(visible), " of ", patches,
                               " patches visible; at least one must be, and not all"));
  }
}

void CheckMasking(const config::Experiment& experiment, Problems* problems) {
  const config::Masking& masking = experiment.masking();
  const int64_t grid = config_internal::Grid(experiment.model().encoder());
  CheckRatio("masking.mask_ratio (--mask_ratio)", masking.mask_ratio(), grid * grid, problems);
  if (masking.mask_ratio_end() >= 0) {
    CheckRatio("masking.mask_ratio_end (--mask_ratio_end)", masking.mask_ratio_end(), grid * grid, problems);
  }
  const std::string& kind = masking.kind();
  problems->AddIf(kind != "random" && kind != "block" && kind != "attention",
                  absl::StrCat("masking.kind (--mask) is \"", kind, "\"; it must be random, block or attention"));
  problems->AddIf(kind == "attention" && (experiment.method() == config::MAE || !experiment.model().pred_att()),
                  "masking.kind (--mask) is attention, which needs the relations of a base model: method TEC with "
                  "model.pred_att (--pred_att)");
}

Problems ProblemsOf(const config::Experiment& experiment, Paths paths) {
  Problems problems;
  problems.NotFinite(experiment);
  problems.Range("seed (--seed)", experiment.seed(), 0, int64_t{1} << 62);
  const bool tec = experiment.method() == config::TEC;
  problems.AddIf(!tec && experiment.method() != config::MAE, "method (--method) must be TEC or MAE");
  CheckModel(experiment.model(), "model", &problems);
  CheckFurtherModels(experiment, &problems);
  if (tec) config_internal::CheckBaseModels(experiment, paths, &problems);
  // A setting that would do nothing is told rather than ignored.
  if (experiment.method() == config::MAE) {
    problems.AddIf(experiment.model().mlp_token(),
                   "model.mlp_token (--mlp_token) belongs to method TEC; with MAE give --nomlp_token");
    problems.AddIf(experiment.model().pred_att(),
                   "model.pred_att (--pred_att) belongs to method TEC; with MAE give --nopred_att");
    problems.AddIf(experiment.model().init_from_base(),
                   "model.init_from_base (--init_from_base) belongs to method TEC; MAE has no base model");
    problems.AddIf(experiment.further_base_models_size() > 0, "further_base_models belong to method TEC");
    problems.AddIf(experiment.further_models_size() > 0,
                   "further_models (--further_models) belong to method TEC, whose base models they share");
  }
  problems.AddIf(tec && experiment.losses().norm_pix_loss(),
                 "losses.norm_pix_loss (--norm_pix_loss) belongs to method MAE; with TEC give --nonorm_pix_loss");

  CheckMasking(experiment, &problems);
  const config::Losses& losses = experiment.losses();
  problems.AddIf(losses.att_tau() <= 0,
                 absl::StrCat("losses.att_tau (--att_tau) is ", losses.att_tau(), "; it must be larger than 0"));
  problems.Range("losses.feature_weight", losses.feature_weight(), 0.0, INFINITY);
  problems.Range("losses.relation_weight", losses.relation_weight(), 0.0, INFINITY);
  config_internal::CheckData(experiment.data(), paths, &problems);
  config_internal::CheckOptimizer(experiment.optimizer(), &problems);
  config_internal::CheckSchedule(experiment.schedule(), &problems);
  config_internal::CheckCheckpointing(experiment.checkpointing(), &problems);
  config_internal::CheckLogging(experiment.logging(), &problems);
  config_internal::CheckRuntime(experiment.runtime(), &problems);
  return problems;
}

}  // namespace

Machine ThisMachine() {
  Machine machine;
  __builtin_cpu_init();
  machine.cpu_bfloat16 = __builtin_cpu_supports("avx512bf16") != 0;
  return machine;
}

config::Experiment ReferenceExperiment() { return PretrainingDefaults().settings(); }

absl::StatusOr<config::Experiment> ParseExperiment(const std::string& text, const std::string& file) {
  return PretrainingDefaults().Parse(text, file);
}

absl::StatusOr<config::Experiment> LoadExperiment(const std::string& name_or_file) {
  return PretrainingDefaults().Load(name_or_file);
}

std::vector<std::string> ExperimentNames() {
  std::vector<std::string> names = EmbeddedNames();
  names.erase(std::remove(names.begin(), names.end(), kQuickstart), names.end());
  return names;
}

config::Experiment Resolve(config::Experiment experiment, const Machine& machine) {
  FillModel(experiment.method(), experiment.mutable_model());
  if (experiment.model().mlp_ratio() == kUsualMlpRatio) experiment.mutable_model()->clear_mlp_ratio();
  for (config::Model& further : *experiment.mutable_further_models()) {
    config::Model whole = experiment.model();
    // Sizes are its own.
    whole.clear_encoder();
    whole.clear_decoder();
    whole.set_adaptor_groups(0);
    whole.set_label(further.name());
    MergeOver(further, &whole);
    further = whole;
    FillModel(experiment.method(), &further);
    config::Vit* encoder = further.mutable_encoder();
    const int64_t grid = config_internal::Grid(experiment.model().encoder());
    if (!encoder->has_image_size() && encoder->has_patch_size() && grid > 0) {
      encoder->set_image_size(grid * encoder->patch_size());
    }
  }
  config_internal::FillBaseModels(&experiment);
  config_internal::FillRun(machine, experiment.mutable_logging(), experiment.mutable_runtime());
  return experiment;
}

absl::Status Validate(const config::Experiment& resolved, Paths paths) {
  return ProblemsOf(resolved, paths).ToStatus("experiment");
}

int64_t HiddenWidth(const config::Model& model, int64_t width) {
  const double ratio = model.has_mlp_ratio() ? model.mlp_ratio() : kUsualMlpRatio;
  return static_cast<int64_t>(static_cast<double>(width) * ratio);
}

double LearningRate(const config::Optimizer& optimizer, int64_t world_size) {
  if (optimizer.lr() != 0) return optimizer.lr();
  return optimizer.blr() * static_cast<double>(optimizer.batch_size() * optimizer.accum_iter() * world_size) / 256;
}

absl::StatusOr<bool> IsQuickstart(const std::string& name_or_file) {
  TEC_ASSIGN_OR_RETURN(const config_internal::Source source, config_internal::FindSource(name_or_file));
  return config_internal::Declares(source.text, config::Quickstart::descriptor()->full_name(), /*otherwise=*/false);
}

absl::StatusOr<config::Quickstart> LoadQuickstart(const std::string& name_or_file) {
  TEC_ASSIGN_OR_RETURN(const config_internal::Source source, config_internal::FindSource(name_or_file));
  config::Quickstart quickstart;
  TEC_RETURN_IF_ERROR(ParseText(source.text, source.file, &quickstart));
  *quickstart.mutable_mae() = PretrainingDefaults().Under(quickstart.mae());
  *quickstart.mutable_tec() = PretrainingDefaults().Under(quickstart.tec());
  return quickstart;
}

config::Quickstart Resolve(config::Quickstart quickstart, const Machine& machine) {
  const std::string& output_dir = quickstart.output_dir();
  config::Experiment* mae = quickstart.mutable_mae();
  config::Experiment* tec = quickstart.mutable_tec();
  mae->mutable_logging()->set_output_dir(output_dir + "/mae");
  tec->mutable_logging()->set_output_dir(output_dir + "/tec");
  for (config::Experiment* experiment : {mae, tec}) {
    experiment->mutable_data()->set_path(output_dir + "/pictures");
    experiment->mutable_logging()->set_log_dir(experiment->logging().output_dir());
  }
  *mae = Resolve(*mae, machine);
  config::BaseModel* base = tec->mutable_base_model();
  base->set_name(kCustom);
  *base->mutable_encoder() = mae->model().encoder();
  // The last epoch always has a numbered checkpoint (recipe.md section 10).
  base->set_path(absl::StrCat(mae->logging().output_dir(), "/checkpoint-", mae->schedule().epochs() - 1, ".pth"));
  *tec = Resolve(*tec, machine);
  return quickstart;
}

absl::Status Validate(const config::Quickstart& resolved) {
  Problems problems;
  problems.AddIf(resolved.output_dir().empty(), "output_dir is empty; give --output_dir=FOLDER");
  problems.Range("pictures.train_images", resolved.pictures().train_images(), 1, 1 << 24);
  problems.Range("pictures.test_images", resolved.pictures().test_images(), 1, 1 << 24);
  problems.Range("pictures.size", resolved.pictures().size(), 8, 1 << 12);
  problems.Range("pictures.seed", resolved.pictures().seed(), 0, int64_t{1} << 62);
  problems.Range("knn_k", resolved.knn_k(), 1, std::max<int64_t>(resolved.pictures().train_images(), 1));
  problems.AddIf(resolved.mae().method() != config::MAE, "mae.method must be MAE");
  problems.AddIf(resolved.tec().method() != config::TEC, "tec.method must be TEC");
  problems.Append("mae.", ProblemsOf(resolved.mae(), Paths::kRequired));
  problems.Append("tec.", ProblemsOf(resolved.tec(), Paths::kRequired));
  return problems.ToStatus("quickstart");
}

std::string ToText(const config::Experiment& experiment) { return MessageToText(experiment); }
std::string ToText(const config::Quickstart& quickstart) { return MessageToText(quickstart); }

}  // namespace tec
