#include "tec/config/cost.h"

#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tec/base/logging.h"
#include "tec/config/base_model_settings.h"
#include "tec/config/config.h"

namespace tec {
namespace {

// A part of a model: FLOPs of one image forward, and parameters.
struct Cost {
  double forward = 0;
  double parameters = 0;
};

Cost operator+(Cost a, Cost b) { return {a.forward + b.forward, a.parameters + b.parameters}; }
Cost operator*(double times, Cost a) { return {times * a.forward, times * a.parameters}; }
// The same weights used `times` times.
Cost Reused(double times, Cost a) { return {times * a.forward, a.parameters}; }

Cost Linear(double tokens, double in, double out) { return {2 * tokens * in * out, in * out + out}; }
Cost LayerNorm(double width) { return {0, 2 * width}; }
Cost Token(double width) { return {0, width}; }
Cost Mlp(double tokens, double width, double hidden) {
  return Linear(tokens, width, hidden) + Linear(tokens, hidden, width);
}

// hidden: of the MLPs.
Cost Blocks(double tokens, double width, double depth, double hidden) {
  const Cost attention = Linear(tokens, width, 3 * width) + Linear(tokens, width, width) +
                         Cost{4 * tokens * tokens * width, 0};  // Logits and the mixing of the values.
  return depth * (attention + Mlp(tokens, width, hidden) + 2 * LayerNorm(width));
}

double Patches(const config::Vit& vit) {
  TEC_CHECK(vit.patch_size() > 0) << "the experiment is not resolved";
  const double grid = static_cast<double>(vit.image_size() / vit.patch_size());
  return grid * grid;
}

// Values of a patch.
double PatchValues(const config::Vit& vit, const config::Data& data) {
  return static_cast<double>(data.channels() * vit.patch_size() * vit.patch_size());
}

Cost PatchEmbedding(const config::Vit& vit, const config::Data& data) {
  return Linear(Patches(vit), PatchValues(vit, data), vit.width());
}

struct StepCost {
  double flops = 0;
  double parameters = 0;
};

// `embedding` once forward and once for its weights; `rest` forward and twice that backward.
StepCost Step(Cost embedding, Cost rest) {
  return {2 * embedding.forward + 3 * rest.forward, embedding.parameters + rest.parameters};
}

// A new model's sizes. Tokens: of an image; visible: those of them that the encoder sees.
struct Sizes {
  double tokens = 0, visible = 0, width = 0, depth = 0, decoder_width = 0;
};

Sizes SizesOf(const config::Experiment& experiment, const config::Model& model) {
  const config::Vit& vit = model.encoder();
  const double patches = Patches(vit);
  return {patches + 1, 1 + std::floor(patches * (1 - experiment.masking().mask_ratio())),
          static_cast<double>(vit.width()), static_cast<double>(vit.depth()),
          static_cast<double>(model.decoder().width())};
}

Cost IntoDecoder(const Sizes& of) {
  return Linear(of.visible, of.width, of.decoder_width) + Token(of.decoder_width) + LayerNorm(of.decoder_width);
}

Cost DecoderBlocks(const Sizes& of, const config::Model& model) {
  return Blocks(of.tokens, of.decoder_width, model.decoder().depth(), HiddenWidth(model, model.decoder().width()));
}

// Of a new model's parts those that learn from one base model: adaptor and decoders.
Cost PartsFor(const config::BaseModel& base_model, const config::Model& model, const Sizes& of) {
  const double groups = static_cast<double>(model.adaptor_groups()), target_width = base_model.encoder().width();
  const Cost adaptor = LayerNorm(of.depth * of.width) + LayerNorm(of.width) +
                       groups * (Linear(of.visible, of.depth / groups * of.width, of.width) +
                                 Mlp(of.visible, of.width, 4 * of.decoder_width));
  Cost predictions = IntoDecoder(of) + Linear(of.tokens, of.decoder_width, target_width);
  if (model.pred_att()) {
    const double selected = 1 + static_cast<double>(base_model.topkatt());
    predictions = predictions + IntoDecoder(of) + Linear(of.tokens, of.decoder_width, 2 * target_width) +
                  Cost{2 * selected * of.tokens * target_width, 0};
  }
  return adaptor + Reused(model.pred_att() ? 2 : 1, DecoderBlocks(of, model)) + predictions;
}

// Of that new model, without base models.
StepCost NewModelStep(const config::Experiment& experiment, const config::Model& model) {
  const config::Vit& vit = model.encoder();
  const Sizes of = SizesOf(experiment, model);
  const Cost embedding = PatchEmbedding(vit, experiment.data());
  const double hidden = HiddenWidth(model, vit.width());
  const Cost encoder = Token(of.width) + Blocks(of.visible, of.width, of.depth, hidden) + LayerNorm(of.width);
  if (experiment.method() == config::MAE) {
    const Cost head = Linear(of.tokens, of.decoder_width, PatchValues(vit, experiment.data()));
    return Step(embedding, encoder + IntoDecoder(of) + DecoderBlocks(of, model) + head);
  }
  Cost trained = encoder + (model.mlp_token() ? Mlp(1, of.width, hidden) : Cost());
  for (const config::BaseModel* base : BaseModelsOf(experiment)) trained = trained + PartsFor(*base, model, of);
  return Step(embedding, trained);
}

StepCost PretrainingStep(const config::Experiment& experiment) {
  StepCost step = NewModelStep(experiment, experiment.model());
  for (const config::Model& further : experiment.further_models()) {
    const StepCost own = NewModelStep(experiment, further);
    step = {step.flops + own.flops, step.parameters + own.parameters};
  }
  if (experiment.method() == config::MAE) return step;
  for (const config::BaseModel* base : BaseModelsOf(experiment)) {
    step.flops += EncoderFlopsPerImage(base->encoder(), experiment.data());
  }
  return step;
}

StepCost FinetuningStep(const config::Finetune& finetune) {
  const config::Vit& vit = finetune.encoder();
  const double tokens = Patches(vit) + 1, width = vit.width();
  // Pooled patches or the class token: one norm, one row through the head.
  const Cost head = LayerNorm(width) + Linear(1, width, static_cast<double>(finetune.nb_classes()));
  const Cost input_adaptor = finetune.mlp_token() ? Mlp(1, width, 4 * width) : Cost();
  const Cost encoder = Token(width) + input_adaptor + Blocks(tokens, width, vit.depth(), 4 * width);
  return Step(PatchEmbedding(vit, finetune.data()), encoder + head);
}

}  // namespace

double TrainingFlopsPerImage(const config::Experiment& resolved) { return PretrainingStep(resolved).flops; }
double TrainingFlopsPerImage(const config::Finetune& resolved) { return FinetuningStep(resolved).flops; }
double EncoderFlopsPerImage(const config::Vit& vit, const config::Data& data) {
  return (PatchEmbedding(vit, data) + Blocks(Patches(vit) + 1, vit.width(), vit.depth(), 4 * vit.width())).forward;
}
double EncoderParameters(const config::Vit& vit, const config::Data& data) {
  const double width = vit.width(), tokens = Patches(vit) + 1;
  const Cost positions = {0, tokens * width};
  return (PatchEmbedding(vit, data) + Token(width) + positions + Blocks(tokens, width, vit.depth(), 4 * width))
      .parameters;
}

std::string DescribeCost(const config::Experiment& resolved) {
  // Float32: the weight, its gradient and AdamW's two moments.
  constexpr double kTrainedBytes = 16, kFrozenBytes = 4;
  const auto line = [](const std::string& what, double flops, double bytes) {
    return absl::StrFormat("%s: %.2f GFLOP an image, %.1f MB\n", what, flops * 1e-9, bytes * 1e-6);
  };
  double bytes = kTrainedBytes * TrainedParameters(resolved);
  std::string text;
  if (resolved.method() != config::MAE) {
    const std::vector<std::string> labels = BaseModelLabels(resolved);
    const std::vector<const config::BaseModel*> bases = BaseModelsOf(resolved);
    for (size_t i = 0; i < bases.size(); ++i) {
      const double flops = EncoderFlopsPerImage(bases[i]->encoder(), resolved.data());
      const double own = kFrozenBytes * EncoderParameters(bases[i]->encoder(), resolved.data());
      absl::StrAppend(&text, line(absl::StrCat("base model ", labels[i]), flops, own));
      Cost parts;
      for (int64_t m = 0; m < NewModels(resolved); ++m) {
        const config::Model& model = m == 0 ? resolved.model() : resolved.further_models(static_cast<int>(m) - 1);
        parts = parts + PartsFor(*bases[i], model, SizesOf(resolved, model));
      }
      absl::StrAppend(&text, line("  what learns from it (adaptor, decoders), with its gradient and moments",
                                  3 * parts.forward, kTrainedBytes * parts.parameters));
      bytes += own;
    }
  }
  absl::StrAppend(&text,
                  line("in all, new models with their gradients and moments", TrainingFlopsPerImage(resolved), bytes),
                  "Activations come on top, by --batch_size. Weights are counted in float32.\n");
  return text;
}

double TrainedParameters(const config::Experiment& resolved) { return PretrainingStep(resolved).parameters; }
double TrainedParameters(const config::Finetune& resolved) { return FinetuningStep(resolved).parameters; }

}  // namespace tec
