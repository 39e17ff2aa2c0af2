#include "tec/config/cost.h"

#include <cmath>

#include "tec/base/logging.h"

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

Cost Blocks(double tokens, double width, double depth) {
  const Cost attention = Linear(tokens, width, 3 * width) + Linear(tokens, width, width) +
                         Cost{4 * tokens * tokens * width, 0};  // Logits and the mixing of the values.
  return depth * (attention + Mlp(tokens, width, 4 * width) + 2 * LayerNorm(width));
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

// Of that new model, without base models.
StepCost NewModelStep(const config::Experiment& experiment, const config::Model& model) {
  const config::Vit& vit = model.encoder();
  const double patches = Patches(vit), tokens = patches + 1, width = vit.width(), depth = vit.depth();
  const double visible = 1 + std::floor(patches * (1 - experiment.masking().mask_ratio()));
  const double decoder_width = model.decoder().width();
  const Cost embedding = PatchEmbedding(vit, experiment.data());
  const Cost encoder = Token(width) + Blocks(visible, width, depth) + LayerNorm(width);
  const Cost into_decoder = Linear(visible, width, decoder_width) + Token(decoder_width) + LayerNorm(decoder_width);
  const Cost decoder = Blocks(tokens, decoder_width, model.decoder().depth());
  if (experiment.method() == config::MAE) {
    const Cost head = Linear(tokens, decoder_width, PatchValues(vit, experiment.data()));
    return Step(embedding, encoder + into_decoder + decoder + head);
  }

  const double groups = static_cast<double>(model.adaptor_groups());
  const Cost input_adaptor = model.mlp_token() ? Mlp(1, width, 4 * width) : Cost();
  const Cost adaptor =
      LayerNorm(depth * width) + LayerNorm(width) +
      groups * (Linear(visible, depth / groups * width, width) + Mlp(visible, width, 4 * decoder_width));
  Cost trained = encoder + input_adaptor;
  const auto add = [&](const config::BaseModel& base_model) {
    const config::Vit& base = base_model.encoder();
    const double target_width = base.width();
    Cost predictions = into_decoder + Linear(tokens, decoder_width, target_width);
    if (model.pred_att()) {
      const double selected = 1 + static_cast<double>(base_model.topkatt());
      predictions = predictions + into_decoder + Linear(tokens, decoder_width, 2 * target_width) +
                    Cost{2 * selected * tokens * target_width, 0};
    }
    trained = trained + adaptor + Reused(model.pred_att() ? 2 : 1, decoder) + predictions;
  };
  add(experiment.base_model());
  for (const config::BaseModel& base_model : experiment.further_base_models()) add(base_model);
  return Step(embedding, trained);
}

StepCost PretrainingStep(const config::Experiment& experiment) {
  StepCost step = NewModelStep(experiment, experiment.model());
  for (const config::Model& further : experiment.further_models()) {
    const StepCost own = NewModelStep(experiment, further);
    step = {step.flops + own.flops, step.parameters + own.parameters};
  }
  if (experiment.method() == config::MAE) return step;
  const auto add = [&](const config::BaseModel& base) {
    step.flops += EncoderFlopsPerImage(base.encoder(), experiment.data());
  };
  add(experiment.base_model());
  for (const config::BaseModel& base : experiment.further_base_models()) add(base);
  return step;
}

StepCost FinetuningStep(const config::Finetune& finetune) {
  const config::Vit& vit = finetune.encoder();
  const double tokens = Patches(vit) + 1, width = vit.width();
  // Pooled patches or the class token: one norm, one row through the head.
  const Cost head = LayerNorm(width) + Linear(1, width, static_cast<double>(finetune.nb_classes()));
  const Cost input_adaptor = finetune.mlp_token() ? Mlp(1, width, 4 * width) : Cost();
  const Cost encoder = Token(width) + input_adaptor + Blocks(tokens, width, vit.depth());
  return Step(PatchEmbedding(vit, finetune.data()), encoder + head);
}

}  // namespace

double TrainingFlopsPerImage(const config::Experiment& resolved) { return PretrainingStep(resolved).flops; }
double TrainingFlopsPerImage(const config::Finetune& resolved) { return FinetuningStep(resolved).flops; }
double EncoderFlopsPerImage(const config::Vit& vit, const config::Data& data) {
  return (PatchEmbedding(vit, data) + Blocks(Patches(vit) + 1, vit.width(), vit.depth())).forward;
}
double TrainedParameters(const config::Experiment& resolved) { return PretrainingStep(resolved).parameters; }
double TrainedParameters(const config::Finetune& resolved) { return FinetuningStep(resolved).parameters; }

}  // namespace tec
