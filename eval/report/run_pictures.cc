#include "eval/report/run_pictures.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ATen/ATen.h"
#include "ATen/core/grad_mode.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "eval/knn/knn_classifier.h"
#include "eval/report/augmentation_sheet.h"
#include "eval/report/gallery.h"
#include "eval/report/html.h"
#include "eval/report/patch_maps.h"
#include "eval/report/picture_process.h"
#include "eval/report/predictions.h"
#include "eval/report/run_models.h"
#include "eval/report/seen_run.h"
#include "eval/report/tensorboard_folder.h"
#include "tec/base/status.h"
#include "tec/run/torch_runtime.h"

namespace tec {
namespace {

constexpr int64_t kNeighboursThatVote = 20;
constexpr int64_t kAugmented = 6, kAugmentedEpochs = 6;  // Pictures, and crops of each.

// The sections. Letters as in seen_run.h.
class Sections {
 public:
  Sections(const SeenRun& run, Gallery* gallery) : run_(run), gallery_(*gallery) {}

  // `relation_floor`: of a TEC run.
  ReportSection DidItHelp(std::optional<double> relation_floor) const;
  ReportSection PerPicture(const std::vector<RelationPrediction>& predictions);
  absl::StatusOr<ReportSection> Augmentation();
  ReportSection Reconstructed(const std::vector<Reconstruction>& reconstructions);

 private:
  std::string NeighboursOf(int64_t shown, size_t encoder);
  at::Tensor Masked(int64_t shown, const at::Tensor& mask) const;
  at::Tensor Marked(int64_t shown, int64_t patch) const;
  // "picture 03/attention": what is drawn of an encoder; of the base model, "picture 03/attention, base model".
  std::string TagOf(int64_t shown, const std::string& what, size_t encoder) const;
  const std::string& NameOf(size_t encoder) const { return run_.encoders()[encoder].name; }
  // Of TensorBoard: the run's own epochs; what it is compared with stands at the beginning.
  int64_t StepOf(size_t encoder) const { return run_.encoders()[encoder].epoch; }

  const SeenRun& run_;
  Gallery& gallery_;
};

std::string Sections::TagOf(int64_t shown, const std::string& what, size_t encoder) const {
  return absl::StrFormat("picture %02d/%s%s", shown, what,
                         run_.has_base() && encoder == 0 ? ", " + NameOf(encoder) : "");
}

ReportSection Sections::DidItHelp(std::optional<double> relation_floor) const {
  const Dataset& bank = run_.bank();
  std::vector<std::vector<std::string>> rows = {{"encoder"}};
  if (bank.labelled()) rows[0].push_back("kNN top-1, percent (k = 20, each of the pictures by the others)");
  rows[0].push_back("RankMe");
  rows[0].push_back("feature deviation (0: collapsed, about 1: spread)");
  int64_t count = 0;
  for (size_t e = 0; e < run_.encoders().size(); ++e) {
    const at::Tensor good = run_.pooled()[e].isfinite().all(1).nonzero().flatten();
    const at::Tensor values = run_.pooled()[e].index_select(0, good);
    count = values.size(0);
    rows.push_back({HtmlText(NameOf(e))});
    if (bank.labelled()) {
      std::vector<int64_t> labels;
      for (int64_t i = 0; i < good.size(0); ++i) labels.push_back(bank.label(good[i].item<int64_t>()));
      KnnOptions knn_options;
      knn_options.k = {kNeighboursThatVote};
      const auto knn = KnnClassifier::Create(values, at::tensor(labels, at::kLong),
                                             static_cast<int64_t>(bank.classes().size()), knn_options);
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
  if (!bank.labelled()) html += " The pictures have no labels: the neighbours below say what accuracy would.";
  html += "</p>\n";
  if (relation_floor) {
    absl::StrAppendFormat(&html,
                          "<p>loss_att cannot fall below <data value=\"%.9g\">%.3f</data>, the entropy of its target "
                          "on the %d pictures below.</p>\n",
                          *relation_floor, *relation_floor, run_.pixels().size(0));
  }
  if (!run_.left_out().empty()) {
    absl::StrAppend(&html, "<p>Left out because they cannot be read: ");
    for (const std::string& name : run_.left_out()) absl::StrAppend(&html, HtmlText(name), " ");
    html += "</p>\n";
  }
  return {"did-it-help", "Did it help?", html};
}

std::string Sections::NeighboursOf(int64_t shown, size_t encoder) {
  const at::Tensor& pooled = run_.pooled()[encoder];
  const int64_t self = run_.indices()[shown];
  const at::Tensor rows = pooled / pooled.norm(2, 1, /*keepdim=*/true).clamp_min(1e-12);
  at::Tensor cosines = rows.mv(rows[self]).nan_to_num(-2);
  cosines[self] = -2;
  const int64_t count = std::min(run_.options().neighbours, run_.bank().size() - 1);
  if (count < 1) return "";
  std::string html;
  const auto [values, nearest] = cosines.topk(count);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t index = nearest[i].item<int64_t>();
    const at::Tensor& pixels = run_.thumbnails()[index];
    if (!pixels.defined()) continue;
    html += gallery_.Photo(pixels, absl::StrFormat("%.3f %s", values[i].item<double>(), run_.bank().name(index)),
                           TagOf(shown, absl::StrCat("nearest ", i + 1), encoder), StepOf(encoder));
  }
  return absl::StrCat("<p>Nearest by ", HtmlText(NameOf(encoder)), ":</p><div class=\"pictures\">", html, "</div>\n");
}

// The picture, grey where `mask` [L] is 1.
at::Tensor Sections::Masked(int64_t shown, const at::Tensor& mask) const {
  const int64_t size = run_.pixels().size(1), grid = std::lround(std::sqrt(static_cast<double>(mask.numel())));
  const at::Tensor removed =
      mask.view({grid, grid, 1}).repeat_interleave(size / grid, 0).repeat_interleave(size / grid, 1);
  return (run_.pixels()[shown].to(at::kFloat) * (1 - removed) + 127 * removed).to(at::kByte);
}

// The picture with a frame around a patch of the base model's grid, which is the new model's.
at::Tensor Sections::Marked(int64_t shown, int64_t patch) const {
  const at::Tensor pixels = run_.pixels()[shown].clone();
  const int64_t grid = run_.encoders().front().encoder->options().grid(), size = pixels.size(0), side = size / grid;
  const at::Tensor red = at::tensor({255, 40, 40}, at::kByte);
  const int64_t line = std::max<int64_t>(1, size / 112);
  const at::Tensor box = pixels.narrow(0, patch / grid * side, side).narrow(1, patch % grid * side, side);
  for (const at::Tensor& edge : {box.narrow(0, 0, line), box.narrow(0, side - line, line), box.narrow(1, 0, line),
                                 box.narrow(1, side - line, line)}) {
    edge.copy_(red.expand_as(edge));
  }
  return pixels;
}

absl::StatusOr<ReportSection> Sections::Augmentation() {
  std::vector<int64_t> images;
  const int64_t size = run_.dataset().size();
  const int64_t count = std::min(std::min<int64_t>(kAugmented, run_.options().images), size);
  for (int64_t i = 0; i < count; ++i) images.push_back(i * size / count);
  return AugmentationSheet(run_.subject(), run_.dataset(), images, kAugmentedEpochs, &gallery_);
}

ReportSection Sections::PerPicture(const std::vector<RelationPrediction>& predictions) {
  at::NoGradGuard no_gradient;
  const int64_t images = run_.images().size(0);
  std::vector<at::Tensor> attention, colours;  // Of each encoder: [N, L]; [N, L, 3].
  at::Tensor reference;                        // Coordinates whose colours the others take.
  for (const LookedAt& looked : run_.encoders()) {
    const Targets targets = looked.targets->forward(run_.images());
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
      "three principal components of the last block's patch tokens, turned so that they mean the same in every column. "
      "Relations are the base model's target for one of its selected patches, framed in the picture, and what each "
      "checkpoint predicts of it from the visible patches.</p>\n";
  const size_t first_own = run_.has_base() ? 1 : 0;
  for (int64_t i = 0; i < images; ++i) {
    const std::string tag = absl::StrFormat("picture %02d/", i);
    html += "<div class=\"pictures\">\n" + gallery_.Photo(run_.pixels()[i], run_.names()[i], tag + "input");
    if (!predictions.empty()) {
      html += gallery_.Photo(Masked(i, predictions[0].mask[i]), "what the new model sees", tag + "visible");
    }
    for (size_t e = 0; e < run_.encoders().size(); ++e) {
      html += gallery_.Map(HeatMapPng(attention[e][i]), "attention, " + NameOf(e), TagOf(i, "attention", e), StepOf(e));
    }
    for (size_t e = 0; e < run_.encoders().size(); ++e) {
      html += gallery_.Map(ColoursPng(colours[e][i]), "colours, " + NameOf(e), TagOf(i, "colours", e), StepOf(e));
    }
    for (size_t p = 0; p < predictions.size(); ++p) {
      const RelationPrediction& prediction = predictions[p];
      const std::string of_patch = absl::StrCat("relations of patch ", prediction.patch[i].item<int64_t>());
      if (p == 0) {
        html += gallery_.Photo(Marked(i, prediction.patch[i].item<int64_t>()),
                               absl::StrCat("patch ", prediction.patch[i].item<int64_t>()), tag + "patch");
        html += gallery_.Map(HeatMapPng(prediction.target[i]), of_patch + ", base model", TagOf(i, "relations", 0));
      }
      if (prediction.predicted.defined()) {
        html += gallery_.Map(HeatMapPng(prediction.predicted[i]), of_patch + ", predicted by " + NameOf(first_own + p),
                             TagOf(i, "relations", first_own + p), StepOf(first_own + p));
      }
    }
    html += "</div>\n";
    for (size_t e = 0; e < run_.encoders().size(); ++e) html += NeighboursOf(i, e);
  }
  return {"pictures", "Pictures", html};
}

ReportSection Sections::Reconstructed(const std::vector<Reconstruction>& reconstructions) {
  std::string html =
      "<p>The picture, what is visible of it, and the visible patches with those that each checkpoint predicts.</p>\n";
  for (int64_t i = 0; i < run_.pixels().size(0); ++i) {
    absl::StrAppend(&html, "<div class=\"pictures\">", gallery_.Photo(run_.pixels()[i], run_.names()[i]),
                    gallery_.Photo(Masked(i, reconstructions[0].mask[i]), "visible", TagOf(i, "visible", 1)));
    for (size_t e = 0; e < reconstructions.size(); ++e) {
      html += gallery_.Photo(reconstructions[e].pixels[i], "reconstructed by " + NameOf(e),
                             TagOf(i, "reconstruction", e), StepOf(e));
    }
    html += "</div>\n";
  }
  return {"reconstructions", "Reconstructions", html};
}

}  // namespace

absl::StatusOr<std::vector<ReportSection>> RunPictures(const RunFolder& run, const RunPicturesOptions& options) {
  TEC_ASSIGN_OR_RETURN(RunSubject subject, SubjectOf(run));
  const bool mae = subject.pretraining && subject.pretraining->method() == config::MAE;
  const bool augments = subject.pretraining || subject.finetuning;
  SeenRun seen(std::move(subject), options);
  TEC_RETURN_IF_ERROR(seen.Open());
  Gallery gallery(/*keeps=*/!options.tensorboard_folder.empty());
  Sections sections(seen, &gallery);
  std::vector<RelationPrediction> predictions;
  if (seen.is_tec()) {
    TEC_ASSIGN_OR_RETURN(predictions, PredictRelations(seen));
  }
  std::vector<ReportSection> drawn = {
      sections.DidItHelp(predictions.empty() ? std::nullopt : std::optional<double>(predictions[0].floor)),
      sections.PerPicture(predictions)};
  if (mae) {
    TEC_ASSIGN_OR_RETURN(const std::vector<Reconstruction> reconstructions, Reconstruct(seen));
    drawn.push_back(sections.Reconstructed(reconstructions));
  }
  if (augments) {
    TEC_ASSIGN_OR_RETURN(ReportSection section, sections.Augmentation());
    drawn.push_back(std::move(section));
  }
  drawn.back().html += gallery.Note();
  if (!options.tensorboard_folder.empty()) TEC_RETURN_IF_ERROR(WriteTensorBoardFolder(seen, gallery.kept()));
  return drawn;
}

std::string TensorBoardFolderOf(const RunFolder& run) { return run.events_folder() + "/tensorboard"; }

std::optional<int> DrawRunPicturesIfAsked() {
  return DrawIfAsked([](const RunFolder& run) {
    return CatchTorchOr<std::vector<ReportSection>>([&run] {
      RunPicturesOptions options;
      options.tensorboard_folder = TensorBoardFolderOf(run);
      return RunPictures(run, options);
    });
  });
}

}  // namespace tec
