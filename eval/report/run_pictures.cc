#include "eval/report/run_pictures.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <utility>

#include "ATen/ATen.h"
#include "ATen/core/grad_mode.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "data/dataset/dataset.h"
#include "data/dataset/subset.h"
#include "data/image/encode.h"
#include "eval/embed/numbered_images.h"
#include "eval/features/features.h"
#include "eval/knn/knn_classifier.h"
#include "eval/report/augmentation_sheet.h"
#include "eval/report/html.h"
#include "eval/report/patch_maps.h"
#include "eval/report/picture_process.h"
#include "eval/report/run_models.h"
#include "tec/base/status.h"
#include "tec/checkpoint/load_state.h"
#include "tec/checkpoint/training_state.h"
#include "tec/losses/losses.h"
#include "tec/models/factory.h"
#include "tec/nn/masking.h"
#include "tec/nn/normalize.h"
#include "tec/run/torch_runtime.h"

namespace tec {
namespace {

constexpr int64_t kNeighboursThatVote = 20;
constexpr int64_t kAugmented = 6, kAugmentedEpochs = 6;  // Pictures, and crops of each.

// The pictures that are shown, at the new model's size.
struct Shown {
  std::vector<std::string> names;
  std::vector<int64_t> indices;  // In the bank.
  at::Tensor pixels;             // uint8 [N, S, S, 3]
  at::Tensor images;             // float32 [N, 3, S, S], normalised.
};

std::string Figure(const std::string& uri, const std::string& caption) {
  return absl::StrCat("<figure><img alt=\"\" src=\"", uri, "\"><figcaption>", HtmlText(caption),
                      "</figcaption></figure>\n");
}

// pixels: uint8 [S, S, 3].
std::string PhotoUri(const at::Tensor& pixels) {
  const at::Tensor bytes = pixels.contiguous();
  Image image(static_cast<int>(bytes.size(0)), static_cast<int>(bytes.size(1)));
  std::copy_n(bytes.const_data_ptr<uint8_t>(), bytes.numel(), image.data());
  const absl::StatusOr<std::string> jpeg = EncodeJpeg(image);
  return jpeg.ok() ? DataUri("image/jpeg", *jpeg) : "";
}

// What is drawn, and what it is drawn from.
class Pictures {
 public:
  Pictures(RunSubject subject, const RunPicturesOptions& options)
      : subject_(std::move(subject)), options_(options), device_(options.device) {}

  absl::Status Open();
  ReportSection DidItHelp() const;
  absl::StatusOr<ReportSection> PerPicture();
  absl::StatusOr<ReportSection> Augmentation() const;
  absl::StatusOr<ReportSection> Reconstructions() const;

 private:
  absl::Status ReadShown();
  absl::StatusOr<at::Tensor> PooledFeatures(const LookedAt& looked);
  std::string NeighboursOf(int64_t shown, const at::Tensor& pooled) const;
  absl::Status PredictRelations();
  std::string MaskedPhoto(int64_t shown, const at::Tensor& mask) const;
  std::string MarkedPhoto(int64_t shown, int64_t patch) const;
  bool is_tec() const { return subject_.pretraining && subject_.pretraining->method() == config::TEC; }

  RunSubject subject_;
  RunPicturesOptions options_;
  c10::Device device_;
  std::shared_ptr<const Dataset> dataset_, bank_;
  std::vector<at::Tensor> thumbnails_;  // uint8 [S, S, 3] of bank_, undefined where unreadable.
  std::vector<LookedAt> encoders_;      // What the run is compared with, if there is that, and its own epochs.
  bool has_base_ = false;
  std::vector<at::Tensor> pooled_;  // [bank, C] of each of encoders_, NaN where unreadable.
  Shown shown_;
  at::Tensor base_relations_, predicted_;  // [N, 2, L]: rows of [CLS] and of one selected patch, after the softmax.
  at::Tensor selected_, mask_;             // I64 [N]; [N, L].
  double relation_floor_ = 0;              // Of loss_att on the shown pictures.
  std::vector<std::string> left_out_;
};

absl::Status Pictures::Open() {
  const std::string data_path = options_.data_path.empty() ? subject_.data.path() : options_.data_path;
  DatasetOptions dataset_options;
  absl::StatusOr<std::shared_ptr<const Dataset>> dataset = OpenDataset(data_path, Split::kTrain, dataset_options);
  if (absl::IsInvalidArgument(dataset.status())) {
    dataset_options.labels = false;
    dataset = OpenDataset(data_path, Split::kTrain, dataset_options);
  }
  if (!dataset.ok()) return Annotate(dataset.status(), "the run's pictures (--data_path says where they are now)");
  dataset_ = *std::move(dataset);
  bank_ = EvenlySpaced(dataset_, options_.bank);
  if (is_tec() || !subject_.before.empty()) {
    const std::string path = options_.base_model.empty() ? subject_.before : options_.base_model;
    absl::StatusOr<LookedAt> base = LookAt(path, subject_.before_name, device_);
    if (!base.ok()) {
      return Annotate(base.status(), absl::StrCat("the run's ", is_tec() ? "base model" : "weights to begin with",
                                                  " (--base_model says where it is now)"));
    }
    encoders_.push_back(*std::move(base));
    has_base_ = true;
  }
  for (const std::string& path : subject_.checkpoints) {
    const std::string name = std::filesystem::path(path).stem().string();
    TEC_ASSIGN_OR_RETURN(LookedAt looked, LookAt(path, name, device_));
    encoders_.push_back(std::move(looked));
  }
  if (encoders_.back().encoder->options().channels != 3) {
    return absl::UnimplementedError("pictures of other than three channels are not drawn");
  }
  config::Data& data = subject_.data;
  if (data.mean_size() == 0 || data.std_size() == 0) {
    const LookedAt& newest = encoders_.back();
    data.mutable_mean()->Assign(newest.mean.begin(), newest.mean.end());
    data.mutable_std()->Assign(newest.std.begin(), newest.std.end());
  }
  // A base model sees its images by its own mean and deviation, as in training.
  if (is_tec()) {
    LookedAt& base = encoders_.front();
    const Normalisation given = {{data.mean().begin(), data.mean().end()}, {data.std().begin(), data.std().end()}};
    if (base.mean.empty()) base.mean = given.mean, base.std = given.std;
    if (base.mean != given.mean || base.std != given.std) base.targets->Renormalise(given, {base.mean, base.std});
  }
  TEC_RETURN_IF_ERROR(ReadShown());
  for (const LookedAt& looked : encoders_) {
    TEC_ASSIGN_OR_RETURN(at::Tensor pooled, PooledFeatures(looked));
    pooled_.push_back(std::move(pooled));
  }
  return is_tec() ? PredictRelations() : absl::OkStatus();
}

absl::Status Pictures::ReadShown() {
  const int64_t size = encoders_.back().encoder->options().image_size;
  const FeatureTransform transform(static_cast<int>(size), 3);
  TransformScratch scratch;
  thumbnails_.resize(bank_->size());
  for (int64_t i = 0; i < bank_->size(); ++i) {
    at::Tensor pixels = at::empty({size, size, 3}, at::kByte);
    absl::StatusOr<std::string> bytes = bank_->Read(i);
    absl::Status status = bytes.status();
    if (status.ok()) status = transform.Apply(*bytes, SampleKey(), &scratch, pixels.mutable_data_ptr<uint8_t>());
    if (status.ok()) {
      thumbnails_[i] = pixels;
    } else {
      left_out_.push_back(bank_->name(i));
    }
  }
  std::vector<at::Tensor> pixels;
  const int64_t wanted = std::min(options_.images, bank_->size());
  for (int64_t i = 0; i < wanted; ++i) {
    const int64_t index = i * bank_->size() / wanted;
    if (!thumbnails_[index].defined()) continue;
    shown_.names.push_back(bank_->name(index));
    shown_.indices.push_back(index);
    pixels.push_back(thumbnails_[index]);
  }
  if (pixels.empty()) return absl::DataLossError("none of the pictures to show can be read");
  shown_.pixels = at::stack(pixels);
  const config::Data& data = subject_.data;
  const std::vector<float> mean(data.mean().begin(), data.mean().end()), std(data.std().begin(), data.std().end());
  shown_.images = NormalizePixels(shown_.pixels, mean, std).to(device_);
  return absl::OkStatus();
}

absl::StatusOr<at::Tensor> Pictures::PooledFeatures(const LookedAt& looked) {
  FeatureOptions options;
  options.spec = kPoolFeatures;
  options.threads = options_.threads;
  options.max_bad_fraction = 1;
  options.stop = options_.stop;
  const config::Data& data = subject_.data;
  options.mean.assign(data.mean().begin(), data.mean().end());
  options.std.assign(data.std().begin(), data.std().end());
  if (is_tec() && &looked == &encoders_.front()) {
    options.mean = looked.mean;
    options.std = looked.std;
  }
  TEC_ASSIGN_OR_RETURN(const Features features, ExtractFeatures(*looked.encoder, NumberedImages(bank_), options));
  at::Tensor all = at::full({bank_->size(), features.values.size(1)}, std::nan(""), at::kFloat);
  all.index_copy_(0, features.labels, features.values);
  return all;
}

ReportSection Pictures::DidItHelp() const {
  std::vector<std::vector<std::string>> rows = {{"encoder"}};
  if (bank_->labelled()) rows[0].push_back("kNN top-1, percent (k = 20, each of the pictures by the others)");
  rows[0].push_back("RankMe");
  rows[0].push_back("feature deviation (0: collapsed, about 1: spread)");
  int64_t count = 0;
  for (size_t e = 0; e < encoders_.size(); ++e) {
    const at::Tensor good = pooled_[e].isfinite().all(1).nonzero().flatten();
    const at::Tensor values = pooled_[e].index_select(0, good);
    count = values.size(0);
    rows.push_back({HtmlText(encoders_[e].name)});
    if (bank_->labelled()) {
      std::vector<int64_t> labels;
      for (int64_t i = 0; i < good.size(0); ++i) labels.push_back(bank_->label(good[i].item<int64_t>()));
      KnnOptions knn_options;
      knn_options.k = {kNeighboursThatVote};
      const auto knn = KnnClassifier::Create(values, at::tensor(labels, at::kLong),
                                             static_cast<int64_t>(bank_->classes().size()), knn_options);
      const auto accuracy = knn.ok() ? knn->EvaluateLeaveOneOut() : knn.status();
      if (accuracy.ok()) {
        const double part = accuracy->front().top1 / 100;
        rows.back().push_back(absl::StrFormat("<data value=\"%.9g\">%.1f</data> &plusmn; %.1f", 100 * part, 100 * part,
                                              100 * std::sqrt(part * (1 - part) / static_cast<double>(count))));
      } else {
        rows.back().push_back(HtmlText(accuracy.status().message()));
      }
    }
    const double rank = RankMe(values), deviation = FeatureDeviation(values);
    rows.back().push_back(absl::StrFormat("<data value=\"%.9g\">%.2f</data>", rank, rank));
    rows.back().push_back(absl::StrFormat("<data value=\"%.9g\">%.3f</data>", deviation, deviation));
  }
  std::string html = HtmlTable(rows);
  absl::StrAppend(
      &html, "<p>From the mean of the patch tokens of ", count,
      " training pictures, evenly spaced over the data set. The number behind &plusmn; is the standard error.");
  if (!bank_->labelled()) html += " The pictures have no labels: the neighbours below say what accuracy would.";
  html += "</p>\n";
  if (is_tec()) {
    absl::StrAppendFormat(&html,
                          "<p>loss_att cannot fall below <data value=\"%.9g\">%.3f</data>, the entropy of its target "
                          "on the %d pictures below.</p>\n",
                          relation_floor_, relation_floor_, shown_.pixels.size(0));
  }
  if (!left_out_.empty()) {
    absl::StrAppend(&html, "<p>Left out because they cannot be read: ");
    for (const std::string& name : left_out_) absl::StrAppend(&html, HtmlText(name), " ");
    html += "</p>\n";
  }
  return {"did-it-help", "Did it help?", html};
}

std::string Pictures::NeighboursOf(int64_t shown, const at::Tensor& pooled) const {
  const at::Tensor rows = pooled / pooled.norm(2, 1, /*keepdim=*/true).clamp_min(1e-12);
  at::Tensor cosines = rows.mv(rows[shown_.indices[shown]]).nan_to_num(-2);
  cosines[shown_.indices[shown]] = -2;
  const int64_t count = std::min(options_.neighbours, bank_->size() - 1);
  std::string html;
  if (count < 1) return html;
  const auto [values, nearest] = cosines.topk(count);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t index = nearest[i].item<int64_t>();
    if (!thumbnails_[index].defined()) continue;
    html +=
        Figure(PhotoUri(thumbnails_[index]), absl::StrFormat("%.3f %s", values[i].item<double>(), bank_->name(index)));
  }
  return html;
}

// What the new model predicts of the base model's relations, with the mask of the run's first epoch.
absl::Status Pictures::PredictRelations() {
  at::NoGradGuard no_gradient;
  const config::Experiment& experiment = *subject_.pretraining;
  TEC_ASSIGN_OR_RETURN(const std::shared_ptr<TecModel> model, MakeTecModel(experiment));
  TEC_ASSIGN_OR_RETURN(const TrainingState state, LoadTrainingState(encoders_.back().path));
  TEC_RETURN_IF_ERROR(Annotate(LoadState(*model, state.model), encoders_.back().path));
  model->to(device_);
  const Targets targets = encoders_.front().targets->forward(shown_.images);
  const at::Tensor noise =
      MaskingNoise(static_cast<uint64_t>(experiment.seed()), 0, shown_.indices, model->options().encoder.patches())
          .to(device_);
  const TecOutput output = model->forward(shown_.images, noise, experiment.masking().mask_ratio(), targets.idx);
  mask_ = output.mask.cpu();
  // [N, 1, 1+K, H, L] -> [N, 1+K, L]: the mean over heads.
  const auto rows = [](const at::Tensor& logits, double tau) {
    return at::softmax(logits.to(at::kFloat).squeeze(1) / tau, -1).mean(2).cpu();
  };
  base_relations_ = rows(targets.relations, experiment.losses().att_tau());
  selected_ = targets.idx.flatten().cpu();
  // Entropy of each row and head: what a cross-entropy with it cannot fall below.
  const at::Tensor log_p = at::log_softmax(targets.relations.to(at::kFloat) / experiment.losses().att_tau(), -1);
  relation_floor_ = -(log_p.exp() * log_p).sum(-1).mean().item<double>();
  if (output.relation_logits.defined()) predicted_ = rows(output.relation_logits, 1);
  return absl::OkStatus();
}

std::string Pictures::MaskedPhoto(int64_t shown, const at::Tensor& mask) const {
  const int64_t size = shown_.pixels.size(1), grid = std::lround(std::sqrt(static_cast<double>(mask.numel())));
  const at::Tensor removed =
      mask.view({grid, grid, 1}).repeat_interleave(size / grid, 0).repeat_interleave(size / grid, 1);
  return PhotoUri((shown_.pixels[shown].to(at::kFloat) * (1 - removed) + 127 * removed).to(at::kByte));
}

// The picture with a frame around a patch of the base model's grid, which is the new model's.
std::string Pictures::MarkedPhoto(int64_t shown, int64_t patch) const {
  const at::Tensor pixels = shown_.pixels[shown].clone();
  const int64_t grid = encoders_.front().encoder->options().grid(), size = pixels.size(0), side = size / grid;
  const at::Tensor red = at::tensor({255, 40, 40}, at::kByte);
  const int64_t line = std::max<int64_t>(1, size / 112);
  const at::Tensor box = pixels.narrow(0, patch / grid * side, side).narrow(1, patch % grid * side, side);
  for (const at::Tensor& edge : {box.narrow(0, 0, line), box.narrow(0, side - line, line), box.narrow(1, 0, line),
                                 box.narrow(1, side - line, line)}) {
    edge.copy_(red.expand_as(edge));
  }
  return PhotoUri(pixels);
}

absl::StatusOr<ReportSection> Pictures::Augmentation() const {
  std::vector<int64_t> images;
  const int64_t count = std::min(std::min<int64_t>(kAugmented, options_.images), dataset_->size());
  for (int64_t i = 0; i < count; ++i) images.push_back(i * dataset_->size() / count);
  return AugmentationSheet(subject_, *dataset_, images, kAugmentedEpochs);
}

absl::StatusOr<ReportSection> Pictures::PerPicture() {
  at::NoGradGuard no_gradient;
  const int64_t images = shown_.images.size(0);
  std::vector<at::Tensor> attention, colours;  // Of each encoder: [N, L]; [N, L, 3].
  at::Tensor reference;                        // Coordinates whose colours the others take.
  for (const LookedAt& looked : encoders_) {
    const Targets targets = looked.targets->forward(shown_.images);
    attention.push_back(at::softmax(targets.relations.to(at::kFloat).squeeze(1).select(1, 0), -1).mean(1).cpu());
    const at::Tensor patches =
        at::layer_norm(targets.features.to(at::kFloat), {targets.features.size(2)}).flatten(0, 1);
    at::Tensor coordinates = Project(PrincipalComponentsOf(patches), patches);
    if (reference.defined() && reference.size(0) == coordinates.size(0)) {
      coordinates = coordinates.mm(RotationTo(reference, coordinates));
    } else {
      reference = coordinates;
    }
    colours.push_back(ColoursOf(coordinates).view({images, -1, 3}));
  }
  std::string html =
      "<p>Attention is that of [CLS] in the last block, the mean over heads, dark to bright. Colours are the first "
      "three "
      "principal components of the last block's patch tokens, turned so that they mean the same in every column. "
      "Relations are the base model's target for one of its selected patches, framed in the picture, and what the "
      "newest checkpoint predicts of it from the visible patches.</p>\n";
  for (int64_t i = 0; i < images; ++i) {
    html += "<div class=\"pictures\">\n" + Figure(PhotoUri(shown_.pixels[i]), shown_.names[i]);
    if (mask_.defined()) html += Figure(MaskedPhoto(i, mask_[i]), "what the new model sees");
    for (size_t e = 0; e < encoders_.size(); ++e) {
      html += Figure(DataUri("image/png", HeatMapPng(attention[e][i])), "attention, " + encoders_[e].name);
    }
    for (size_t e = 0; e < encoders_.size(); ++e) {
      html += Figure(DataUri("image/png", ColoursPng(colours[e][i])), "colours, " + encoders_[e].name);
    }
    if (base_relations_.defined()) {
      const int64_t patch = selected_[i].item<int64_t>();
      html += Figure(MarkedPhoto(i, patch), absl::StrCat("patch ", patch));
      html += Figure(DataUri("image/png", HeatMapPng(base_relations_[i][1])),
                     absl::StrCat("relations of patch ", patch, ", base model"));
      if (predicted_.defined()) {
        html += Figure(DataUri("image/png", HeatMapPng(predicted_[i][1])),
                       absl::StrCat("relations of patch ", patch, ", predicted"));
      }
    }
    html += "</div>\n";
    const auto add_nearest = [&](size_t encoder) {
      absl::StrAppend(&html, "<p>Nearest by ", HtmlText(encoders_[encoder].name), ":</p><div class=\"pictures\">",
                      NeighboursOf(i, pooled_[encoder]), "</div>\n");
    };
    if (has_base_) add_nearest(0);
    add_nearest(encoders_.size() - 1);
  }
  return ReportSection{"pictures", "Pictures", html};
}

absl::StatusOr<ReportSection> Pictures::Reconstructions() const {
  at::NoGradGuard no_gradient;
  const config::Experiment& experiment = *subject_.pretraining;
  TEC_ASSIGN_OR_RETURN(const std::shared_ptr<MaeModel> model, MakeMaeModel(experiment));
  TEC_ASSIGN_OR_RETURN(const TrainingState state, LoadTrainingState(encoders_.back().path));
  TEC_RETURN_IF_ERROR(Annotate(LoadState(*model, state.model), encoders_.back().path));
  model->to(device_);
  const VitOptions& vit = model->options().encoder;
  const at::Tensor noise =
      MaskingNoise(static_cast<uint64_t>(experiment.seed()), 0, shown_.indices, vit.patches()).to(device_);
  const MaeOutput output = model->forward(shown_.images, noise, experiment.masking().mask_ratio());
  at::Tensor patches = Patchify(shown_.images, vit.patch_size);
  at::Tensor predicted = output.prediction.to(at::kFloat);
  if (experiment.losses().norm_pix_loss()) {
    // The loss compares with standardised patches (PixelLoss): back to each patch's own mean and deviation.
    predicted = predicted * (patches.var(-1, /*unbiased=*/true, /*keepdim=*/true) + 1e-6).sqrt() +
                patches.mean(-1, /*keepdim=*/true);
  }
  patches = at::where(output.mask.unsqueeze(-1) > 0, predicted, patches);
  const int64_t grid = vit.grid(), side = vit.patch_size, images = patches.size(0);
  const config::Data& data = subject_.data;
  const at::Tensor mean = at::tensor(std::vector<float>(data.mean().begin(), data.mean().end())),
                   deviation = at::tensor(std::vector<float>(data.std().begin(), data.std().end()));
  const at::Tensor pixels = ((patches.view({images, grid, grid, side, side, 3})
                                      .permute({0, 1, 3, 2, 4, 5})
                                      .reshape({images, grid * side, grid * side, 3})
                                      .cpu() *
                                  deviation +
                              mean) *
                             255)
                                .round()
                                .clamp(0, 255)
                                .to(at::kByte);
  std::string html =
      "<p>Left: the picture, what is visible of it, and the visible patches with the predicted ones.</p>\n";
  for (int64_t i = 0; i < images; ++i) {
    absl::StrAppend(&html, "<div class=\"pictures\">", Figure(PhotoUri(shown_.pixels[i]), shown_.names[i]),
                    Figure(MaskedPhoto(i, output.mask[i].cpu()), "visible"),
                    Figure(PhotoUri(pixels[i]), "reconstructed"), "</div>\n");
  }
  return ReportSection{"reconstructions", "Reconstructions", html};
}

}  // namespace

absl::StatusOr<std::vector<ReportSection>> RunPictures(const RunFolder& run, const RunPicturesOptions& options) {
  TEC_ASSIGN_OR_RETURN(RunSubject subject, SubjectOf(run));
  const bool mae = subject.pretraining && subject.pretraining->method() == config::MAE;
  const bool augments = subject.pretraining || subject.finetuning;
  Pictures pictures(std::move(subject), options);
  TEC_RETURN_IF_ERROR(pictures.Open());
  std::vector<ReportSection> sections = {pictures.DidItHelp()};
  const auto add = [&sections](absl::StatusOr<ReportSection> section) -> absl::Status {
    TEC_RETURN_IF_ERROR(section.status());
    sections.push_back(*std::move(section));
    return absl::OkStatus();
  };
  TEC_RETURN_IF_ERROR(add(pictures.PerPicture()));
  if (mae) TEC_RETURN_IF_ERROR(add(pictures.Reconstructions()));
  if (augments) TEC_RETURN_IF_ERROR(add(pictures.Augmentation()));
  return sections;
}

std::optional<int> DrawRunPicturesIfAsked() {
  return DrawIfAsked([](const RunFolder& run) {
    return CatchTorchOr<std::vector<ReportSection>>([&run] { return RunPictures(run, RunPicturesOptions()); });
  });
}

}  // namespace tec
