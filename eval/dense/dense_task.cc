#include "eval/dense/dense_task.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "ATen/ATen.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "data/image/decode.h"
#include "data/loader/batch_images.h"
#include "data/loader/loader.h"
#include "eval/features/labelled_data.h"
#include "tec/base/fingerprint.h"
#include "tec/base/logging.h"
#include "tec/base/printable.h"
#include "tec/base/status.h"
#include "tec/checkpoint/load_state.h"
#include "tec/checkpoint/torch_tensors.h"
#include "tec/config/settings_record.h"
#include "tec/nn/autocast.h"
#include "tec/nn/module_state.h"
#include "tec/nn/normalize.h"
#include "tec/run/count_progress.h"
#include "tec/run/optimizer_state.h"
#include "tec/run/training_loader.h"

namespace tec {
namespace {

constexpr char kBest[] = "best_checkpoint.pth";
constexpr char kMaxMiou[] = "max_miou";  // Written into files: never rename.
constexpr double kPower = 0.9;           // Of the schedule.

std::string Exact(double value) { return absl::StrFormat("%.17g", value); }

}  // namespace

std::string DenseInputs::encoder_record() const {
  return absl::StrFormat("encoder: %016x", frozen.encoder_fingerprint);
}

absl::StatusOr<DenseInputs> OpenDenseInputs(const DenseRunOptions& options) {
  DenseInputs inputs;
  inputs.settings = options.frozen;
  TEC_ASSIGN_OR_RETURN(inputs.data, OpenSegmentationData(inputs.settings.data_path, options.layout, options.train_list,
                                                         options.ignored));
  TEC_ASSIGN_OR_RETURN(inputs.frozen, OpenFrozenEncoder(&inputs.settings));
  int numbers = options.nb_classes > 0 ? static_cast<int>(options.nb_classes) : inputs.data.numbers;
  if (numbers == 0) {
    TEC_ASSIGN_OR_RETURN(numbers, HighestNumber(*inputs.data.train, inputs.data.ignored));
  }
  TEC_ASSIGN_OR_RETURN(inputs.places, ClassPlaces::Create(numbers, inputs.data.ignored));
  return inputs;
}

double MeanIouOfAll(const DenseInputs& inputs, const SegmentationScore& score) {
  return score.MeanIouOf(inputs.places->numbers());
}

absl::StatusOr<DenseEvaluation> EvaluateDense(const DenseInputs& inputs, DenseHead& head, RunContext& context,
                                              bool quiet, OverlayWriter* overlays) {
  const MaskedPictures& pictures = *inputs.data.held_out;
  const FeatureOptions& features = inputs.settings.features;
  Encoder& encoder = *inputs.frozen.encoder;
  const int channels = static_cast<int>(encoder.options().channels);
  DenseEvaluation evaluation = {SegmentationScore(inputs.data.ignored)};
  std::optional<CountProgress> count;
  if (!quiet) count.emplace("evaluation", stdout);
  const at::Tensor numbers = at::tensor(inputs.places->numbers(), at::kInt).to(at::kByte);
  for (int64_t i = 0; i < pictures.size(); ++i) {
    if (context.stop_requested()) return absl::CancelledError("stopped on request");
    if (count) count->Update(i, pictures.size());
    TEC_ASSIGN_OR_RETURN(const Image mask, pictures.ReadMask(i));
    Image image;
    std::string bytes;
    absl::Status status = pictures.Read(i, &bytes);
    if (status.ok()) status = DecodeImage(bytes, &image, channels);
    if (!status.ok()) {
      TEC_LOG(WARNING) << Printable(pictures.name(i)) << " is left out: " << status.message();
      ++evaluation.unreadable;
      continue;
    }
    TEC_RETURN_IF_ERROR(Annotate(CheckSizes(image, mask), pictures.name(i)));
    const at::Tensor pixels = at::from_blob(image.data(), {1, image.height(), image.width(), channels}, at::kByte);
    const at::Tensor normalised =
        NormalizePixels(pixels.to(inputs.frozen.device), features.mean, features.std).squeeze(0);
    const at::Tensor places = SlidingWindow(encoder, head, normalised, inputs.places->count(), features.precision);
    const at::Tensor predicted = numbers.index_select(0, places.flatten().to(at::kLong)).view_as(places);
    const size_t size = mask.size_bytes();
    evaluation.score.Add({mask.data(), size}, {predicted.const_data_ptr<uint8_t>(), size});
    if (overlays != nullptr && overlays->Wants(i)) {
      const at::Tensor truth =
          at::from_blob(const_cast<uint8_t*>(mask.data()), {mask.height(), mask.width()}, at::kByte);
      TEC_RETURN_IF_ERROR(overlays->Add(i, pictures.name(i), pixels[0], {truth, predicted}));
    }
  }
  if (evaluation.unreadable > features.max_bad_fraction * pictures.size() && evaluation.unreadable > 1) {
    return absl::DataLossError(absl::StrCat(evaluation.unreadable, " of ", pictures.size(),
                                            " held-out pictures cannot be read (--max_bad_fraction)"));
  }
  return evaluation;
}

const std::vector<std::string>& DenseTask::loss_names() const {
  static const auto* const names = new std::vector<std::string>{"loss"};
  return *names;
}

absl::Status DenseTask::OpenData() {
  TEC_ASSIGN_OR_RETURN(inputs_, OpenDenseInputs(options_));
  return absl::OkStatus();
}

absl::StatusOr<EpochPlan> DenseTask::Open(const LoadedState* resume) {
  if (resume != nullptr) {
    const std::vector<std::string> changes = CompareLines(resume->state.experiment, Record());
    if (!changes.empty()) {
      return absl::InvalidArgumentError(absl::StrCat(resume->path, " is of another run: ", absl::StrJoin(changes, "; "),
                                                     ". Choose another --output_dir, or the same settings"));
    }
  }
  const VitOptions& vit = inputs_.frozen.encoder->options();
  head_ = std::make_shared<DenseHead>(DenseWidth(vit), inputs_.places->count(), inputs_.settings.seed);
  head_->to(inputs_.frozen.device);
  ParameterGroup group;
  for (const auto& [name, tensor] : NamedTrainable(*head_)) {
    group.names.push_back(name);
    group.parameters.push_back(tensor);
  }
  group.weight_decay = options_.weight_decay;
  optimizer_ = std::make_unique<AdamW>(std::vector<ParameterGroup>{group}, AdamWOptions{0.9, 0.999, 1e-8});
  WeightUpdate::Options update;
  update.accum_iter = options_.accum_iter;
  update.scale_loss = inputs_.settings.features.precision == at::kHalf;
  update_.emplace(*optimizer_, update);

  const FeatureOptions& features = inputs_.settings.features;
  LoaderOptions loader;
  loader.batch_size = options_.batch_size;
  loader.seed = inputs_.settings.seed;
  loader.threads = features.threads;
  loader.max_bad_fraction = features.max_bad_fraction;
  loader.bad_images_path = inputs_.settings.output_dir + "/bad_images.txt";
  loader.allocate = BatchMemory(inputs_.frozen.device, features.pin_mem);
  auto transform = std::make_shared<PairTransform>(static_cast<int>(vit.image_size), static_cast<int>(vit.channels),
                                                   *inputs_.places);
  absl::StatusOr<std::unique_ptr<Loader>> made =
      Loader::Create(std::make_shared<PairedPictures>(inputs_.data.train), std::move(transform), loader);
  TEC_RETURN_IF_ERROR(Annotate(made.status(), inputs_.settings.data_path));
  loader_ = *std::move(made);
  plan_ = PlanOf(*loader_, options_.accum_iter, context_);
  plan_.left_over_steps = false;
  TEC_RETURN_IF_ERROR(CheckPlan(plan_, inputs_.settings.data_path));
  return plan_;
}

absl::StatusOr<RunPosition> DenseTask::Load(const LoadedState& resume, std::vector<std::string>* changes) {
  const TrainingState& state = resume.state;
  TEC_ASSIGN_OR_RETURN(RunPosition position, LoadPosition(resume, plan_, loss_names(), changes));
  TEC_RETURN_IF_ERROR(Annotate(LoadState(*head_, state.model), resume.path));
  TEC_RETURN_IF_ERROR(Annotate(LoadOptimizerState(*optimizer_, state.optimizer), resume.path));
  if (update_->scaler() != nullptr && state.scaler) *update_->scaler() = LossScaler(LossScalerStateOf(*state.scaler));
  const auto found = state.numbers.find(kMaxMiou);
  if (found == state.numbers.end()) return absl::DataLossError(absl::StrCat(resume.path, ": no ", kMaxMiou));
  max_miou_ = found->second;
  return position;
}

std::vector<std::string> DenseTask::Describe() const {
  return {absl::StrFormat("%s: layout %s, %d training and %d held-out pictures, %d classes",
                          Printable(inputs_.settings.data_path), inputs_.data.layout, inputs_.data.train->size(),
                          inputs_.data.held_out->size(), inputs_.places->count()),
          absl::StrFormat("a linear head on the patches of %s; squares of %d pixels, %d x %d an update, %d updates an "
                          "epoch; lr %.3g; results in %s",
                          inputs_.frozen.description, inputs_.frozen.encoder->options().image_size, options_.batch_size,
                          options_.accum_iter, plan_.updates_per_epoch(), options_.lr, inputs_.settings.output_dir)};
}

double DenseTask::LearningRate(double epoch) const {
  // Pixio sets the rate of update u after update u - 1, by u - 1: the first two have the same.
  const double updates = static_cast<double>(plan_.updates_per_epoch());
  const double before = std::max(0.0, std::round(epoch * updates) - 1);
  return options_.lr * std::pow(1 - before / (updates * static_cast<double>(options_.epochs)), kPower);
}

absl::StatusOr<at::Tensor> DenseTask::MicroStep(const MicroStepPlace& place) {
  TEC_ASSIGN_OR_RETURN(const Batch* batch, NextBatch(*loader_, place.step));
  const FeatureOptions& features = inputs_.settings.features;
  // The mask is one more channel, whose normalisation is undone by rounding.
  std::vector<float> mean = features.mean, std = features.std;
  mean.push_back(0);
  std.push_back(1.0f / 255);
  const at::Tensor pair = BatchImages(*batch, inputs_.frozen.device, mean, std);
  const int64_t channels = pair.size(1) - 1;
  const at::Tensor places = pair.select(1, channels).round().to(at::kLong);
  at::Tensor loss;
  {
    AutocastGuard autocast(inputs_.frozen.device.type(), features.precision);
    const at::Tensor tokens = DenseTokens(*inputs_.frozen.encoder, pair.narrow(1, 0, channels).contiguous());
    loss = DenseLoss(head_->forward(tokens, batch->size, /*training=*/true), places);
  }
  update_->Backward(loss);
  return loss.detach().reshape({1});
}

absl::Status DenseTask::FinishEpoch(const RunPosition& position, EpochReport* report) {
  TEC_ASSIGN_OR_RETURN(const DenseEvaluation evaluation,
                       EvaluateDense(inputs_, *head_, context_, options_.quiet, /*overlays=*/nullptr));
  const double miou = MeanIouOfAll(inputs_, evaluation.score), accuracy = evaluation.score.Accuracy();
  if (miou > max_miou_) {
    max_miou_ = miou;
    report->names.push_back(kBest);
  }
  context_.progress().Print(
      absl::StrFormat("* mean IoU %.2f accuracy %.2f; highest mean IoU %.2f", miou, accuracy, max_miou_));
  report->fields.emplace_back("test_miou", miou);
  report->fields.emplace_back("test_pixel_accuracy", accuracy);
  report->more = {{"max_miou", max_miou_}};
  report->scalars = {{"perf/test_miou", miou}, {"perf/test_pixel_accuracy", accuracy}};
  report->scalars_step = position.epoch;
  return absl::OkStatus();
}

std::string DenseTask::Record() const {
  return absl::StrJoin(
      std::vector<std::string>{
          inputs_.encoder_record(),
          absl::StrFormat("training pictures: %016x", FingerprintOf(*inputs_.data.train)),
          absl::StrCat("classes: ", absl::StrJoin(inputs_.places->numbers(), " ")),
          absl::StrCat("ignored: ", absl::StrJoin(inputs_.data.ignored, " ")),
          absl::StrCat("image_size: ", inputs_.frozen.encoder->options().image_size),
          absl::StrCat("batch_size: ", options_.batch_size),
          absl::StrCat("accum_iter: ", options_.accum_iter),
          absl::StrCat("epochs: ", options_.epochs),
          absl::StrCat("lr: ", Exact(options_.lr)),
          absl::StrCat("weight_decay: ", Exact(options_.weight_decay)),
          absl::StrCat("precision: ", at::toString(inputs_.settings.features.precision)),
          absl::StrCat("seed: ", inputs_.settings.seed),
      },
      "\n");
}

TrainingState DenseTask::Save(const RunPosition& position) const {
  TrainingState state;
  state.model = ViewsOf(NamedState(*head_));
  state.optimizer = OptimizerStateOf(*optimizer_, position.lr, /*with_lr_scale=*/false);
  if (const LossScaler* scaler = update_->scaler()) state.scaler = ScalerStateOf(*scaler);
  state.method = kDenseMethod;
  state.experiment = Record();
  SavePosition(position, plan_, loss_names(), &state);
  state.numbers[kMaxMiou] = max_miou_;
  return state;
}

}  // namespace tec
