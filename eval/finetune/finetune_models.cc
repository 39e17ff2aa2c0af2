#include "eval/finetune/finetune_models.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "eval/features/pretrained.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"
#include "tec/checkpoint/families/image_statistics.h"
#include "tec/checkpoint/families/own_encoder.h"
#include "tec/checkpoint/torch_tensors.h"
#include "tec/config/run_record.h"
#include "tec/models/factory.h"
#include "tec/models/vit.h"
#include "tec/nn/initialise.h"
#include "tec/nn/modules.h"

namespace tec {
namespace {

constexpr char kFromCheckpoint[] = "from_checkpoint";

std::vector<float> Floats(const google::protobuf::RepeatedField<double>& values) {
  return {values.begin(), values.end()};
}

// The encoder of `path`; of --finetune's file as the flags of what it does not tell say. heads 0: as the file has them.
absl::StatusOr<Pretrained> ReadStart(const std::string& path, const config::Finetune& settings, int64_t heads) {
  VitRequest request;
  if (path != settings.finetune()) return ReadPretrained(path, request);
  request.family = settings.family();
  request.entry = settings.entry();
  request.heads = heads;
  TEC_RETURN_IF_ERROR(ParseGrid(settings.grid(), &request));
  return ReadPretrained(path, request);
}

// Fills in the shape of --model=from_checkpoint, from the file `path`. What was read of it, or nothing.
absl::StatusOr<std::optional<Pretrained>> TakeShape(const std::string& path, config::Finetune* settings,
                                                    Progress& progress) {
  if (settings->model() != kFromCheckpoint) return std::optional<Pretrained>();
  if (path.empty()) {
    return absl::InvalidArgumentError("--model=from_checkpoint needs a checkpoint: give --finetune or --resume");
  }
  config::Vit* vit = settings->mutable_encoder();
  TEC_ASSIGN_OR_RETURN(Pretrained pretrained, ReadStart(path, *settings, vit->heads()));
  TEC_RETURN_IF_ERROR(CheckChannels(pretrained, path, settings->data().channels()));
  vit->set_patch_size(pretrained.encoder.patch_size);
  vit->set_width(pretrained.encoder.width);
  vit->set_depth(pretrained.encoder.depth);
  vit->set_heads(pretrained.encoder.heads);
  if (!vit->has_image_size()) vit->set_image_size(pretrained.encoder.image_size);
  if (!settings->has_mlp_token()) settings->set_mlp_token(pretrained.mlp_token);
  settings->set_model("custom");
  progress.Print(absl::StrCat("model as in ", path, ": ", pretrained.description));
  return std::optional<Pretrained>(std::move(pretrained));
}

// The new model sees its images as this run normalises them, whatever those were that the file's model has learned of.
void WarnOfOtherStatistics(const std::string& path, const ImageStatistics& own, const config::Data& data) {
  if (!own.known() || (own.mean == Floats(data.mean()) && own.std == Floats(data.std()))) return;
  TEC_LOG(WARNING) << path << " learned of images normalised by mean " << absl::StrJoin(own.mean, ",")
                   << " and deviation " << absl::StrJoin(own.std, ",") << " (" << own.source
                   << "); this run normalises by mean " << absl::StrJoin(data.mean(), ",") << " and deviation "
                   << absl::StrJoin(data.std(), ",") << ". --mean=" << absl::StrJoin(own.mean, ",")
                   << " --std=" << absl::StrJoin(own.std, ",") << " gives it those of the file's";
}

// What stands in the place of [CLS] in a file such as SigLIP's is no part of a classifier here.
absl::Status CheckPool(const Pretrained& start, const std::string& path, const config::Finetune& settings) {
  if (start.encoder.variant.pool_hidden == 0) return absl::OkStatus();
  constexpr char kWhoReadsIt[] = "kNN, a linear probe and logistic regression read it as --features=cls";
  if (!settings.global_pool()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path,
                     " has an attention pool in the place of [CLS], which is not finetuned: leave --cls_token out, "
                     "and the mean of the patches is classified; ",
                     kWhoReadsIt));
  }
  TEC_LOG(INFO) << path << ": the attention pool is left out, the mean of the patches is classified; " << kWhoReadsIt;
  return absl::OkStatus();
}

// Before a list of all tensors of which none fits.
absl::Status CheckSize(const VitOptions& file, const VitOptions& model, const config::Finetune& settings) {
  std::vector<std::string> differences;
  const auto same = [&](const char* what, int64_t is, int64_t wanted) {
    if (is != wanted) differences.push_back(absl::StrCat(what, " ", is, " (the model's is ", wanted, ")"));
  };
  same("width", file.width, model.width);
  same("depth", file.depth, model.depth);
  same("patch size", file.patch_size, model.patch_size);
  same("heads", file.heads, model.heads);
  if (differences.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "cannot start from --finetune=", settings.finetune(), ": its encoder is no --model=", settings.model(), ": ",
      absl::StrJoin(differences, ", "), ". Give --model=from_checkpoint, which takes every size from the file"));
}

// Whether MAE's and TEC's names and sizes tell all of it: the checkpoint is then as the reference has it.
bool IsPlain(VitVariant variant) {
  variant.norm_epsilon = kNormEpsilon;  // The settings have it.
  variant.final_norm = true;            // A classifier has one in any case.
  return variant == VitVariant();
}

// The encoder that the run's model has: that of the file it starts from, in the size of `options`, or that of the
// checkpoint it goes on from. None: a plain ViT.
absl::StatusOr<std::optional<OwnEncoder>> EncoderOfRun(const Pretrained* start, const LoadedState* resume,
                                                       const FinetuneOptions& options) {
  if (start == nullptr) {
    const Value* record = resume == nullptr ? nullptr : EncoderRecordIn(resume->state.args);
    if (record == nullptr) return std::optional<OwnEncoder>();
    absl::StatusOr<OwnEncoder> recorded = EncoderOfRecord(*record);
    if (!recorded.ok()) return Annotate(recorded.status(), resume->path);
    return std::optional<OwnEncoder>(*std::move(recorded));
  }
  if (IsPlain(start->encoder.variant)) return std::optional<OwnEncoder>();
  OwnEncoder encoder = {start->family, start->traits};
  encoder.traits.grid = options.encoder.grid();
  encoder.traits.pool_hidden = 0;  // A classifier has none (FinetuneModel), but a norm.
  encoder.traits.no_norm = false;
  // What cannot be written down would be lost with the first checkpoint.
  const absl::StatusOr<OwnEncoder> again = EncoderOfRecord(RecordOfEncoder(encoder));
  if (!again.ok() || !(VariantOf(again->traits) == VariantOf(encoder.traits))) {
    return absl::InvalidArgumentError(
        absl::StrCat(start->description,
                     " has parts that a checkpoint of finetuning cannot hold; kNN, linear and logistic "
                     "evaluation take it: ",
                     again.status().message()));
  }
  return std::optional<OwnEncoder>(std::move(encoder));
}

// Relative positions are for one grid.
absl::Status CheckGrid(const Pretrained& start, const std::string& path, const VitOptions& encoder) {
  if (!start.encoder.variant.relative_positions || start.encoder.grid() == encoder.grid()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(path, " has relative positions for ", start.encoder.grid(), " x ", start.encoder.grid(),
                   " patches, which are not interpolated: --input_size=", start.encoder.grid() * encoder.patch_size,
                   ", not ", encoder.image_size));
}

}  // namespace

absl::StatusOr<FinetuneModels> MakeFinetuneModels(config::Finetune* settings, const LoadedState* resume,
                                                  RunContext& context) {
  const std::string& file = settings->finetune();
  TEC_ASSIGN_OR_RETURN(std::optional<Pretrained> start,
                       TakeShape(resume == nullptr ? file : resume->path, settings, context.progress()));
  FinetuneOptions options;
  options.encoder = VitOptionsFrom(settings->encoder(), settings->data());
  settings->clear_norm_epsilon();
  const bool starts = resume == nullptr && !settings->eval() && !file.empty();
  if (starts) {
    if (!start) {
      // A named model's heads, where the file does not tell its own. Where it does and they are others, the tensors are
      // too, and what is to be said is how they differ.
      absl::StatusOr<Pretrained> read = ReadStart(file, *settings, options.encoder.heads);
      if (!read.ok()) {
        absl::StatusOr<Pretrained> as_recorded = ReadStart(file, *settings, 0);
        if (as_recorded.ok() && as_recorded->encoder.width != options.encoder.width) read = std::move(as_recorded);
      }
      TEC_ASSIGN_OR_RETURN(start, std::move(read));
    }
    TEC_RETURN_IF_ERROR(CheckGrid(*start, file, options.encoder));
    TEC_RETURN_IF_ERROR(CheckChannels(*start, file, settings->data().channels()));
    TEC_RETURN_IF_ERROR(CheckSize(start->encoder, options.encoder, *settings));
    TEC_RETURN_IF_ERROR(CheckPool(*start, file, *settings));
    WarnOfOtherStatistics(file, start->statistics, settings->data());
    const double epsilon = start->encoder.variant.norm_epsilon;
    if (epsilon != kNormEpsilon) settings->set_norm_epsilon(epsilon);
  } else if (resume != nullptr) {
    TEC_ASSIGN_OR_RETURN(const std::optional<RunRecord> record, RecordOf(resume->state, resume->path));
    if (record && record->norm_epsilon > 0) settings->set_norm_epsilon(record->norm_epsilon);
  }
  TEC_ASSIGN_OR_RETURN(std::optional<OwnEncoder> encoder, EncoderOfRun(starts ? &*start : nullptr, resume, options));
  if (encoder) options.encoder.variant = VariantOf(encoder->traits);
  if (settings->has_norm_epsilon()) options.encoder.variant.norm_epsilon = settings->norm_epsilon();
  options.classes = settings->nb_classes();
  options.global_pool = settings->global_pool();
  options.mlp_token = settings->mlp_token();
  options.drop_path = settings->drop_path();
  TEC_RETURN_IF_ERROR(Validate(options));
  FinetuneModels models;
  if (encoder) models.encoder = RecordOfEncoder(*encoder);
  models.model = std::make_shared<FinetuneModel>(options);
  const uint64_t seed = static_cast<uint64_t>(settings->seed());
  InitialiseFinetuning(*models.model, seed);
  if (starts) {
    // The reference changes the grid of every file's table in MAE's way; those that it cannot read have their own.
    if (start->positions_at && start->encoder.grid() != options.encoder.grid()) {
      start->state["pos_embed"] = TensorOf(start->positions_at(options.encoder.grid()));
    }
    const PositionInterpolation interpolation = encoder ? encoder->traits.interpolation : PositionInterpolation::kPlain;
    TEC_RETURN_IF_ERROR(Annotate(LoadPretrained(*models.model, start->state, seed, interpolation),
                                 absl::StrCat("cannot start from --finetune=", file)));
  }
  models.model->to(context.device());
  if (settings->model_ema()) {
    models.average = std::make_shared<FinetuneModel>(options);
    models.average->to(context.device());
  }
  return models;
}

}  // namespace tec
