// What one micro-step minimises: for TEC the distance to the base model's targets, for MAE that to the pixels. The one
// place where the loop's two methods differ.

#ifndef TEC_TRAIN_OBJECTIVE_H_
#define TEC_TRAIN_OBJECTIVE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tec/config/experiment.pb.h"
#include "torch/nn/module.h"

namespace tec {

class BaseModel;
class TecModel;

class Objective {
 public:
  // Makes the model, initialised from the seed, and with TEC reads the base model; both on `device`. Errors: what is
  // wrong with the sizes (InvalidArgument), with the base model's file (its path is named), or with the pair of both.
  static absl::StatusOr<std::unique_ptr<Objective>> Create(const config::Experiment& experiment, c10::Device device);
  // TEC's, from models that are there already, a base model for each of BaseModelsOf(experiment), a new model for each
  // of NewModels(experiment): of the experiment it
  // takes the masking, the losses, the base models' shares and devices, and the precision.
  static std::unique_ptr<Objective> ForTec(const config::Experiment& experiment, c10::Device device,
                                           std::vector<std::shared_ptr<BaseModel>> base_models,
                                           std::vector<std::shared_ptr<TecModel>> models);
  virtual ~Objective() = default;

  // The models that are trained and saved; one, unless the experiment has further_models.
  virtual std::vector<torch::nn::Module*> models() = 0;
  torch::nn::Module& model() { return *models()[0]; }
  // L
  virtual int64_t patches() const = 0;
  // The logged losses, under the reference's names without "train_": "loss", the total, first. With several base models
  // "loss_fea_<label>" and "loss_att_<label>" of each, not weighted; of a further new model all these with its label
  // behind them.
  virtual const std::vector<std::string>& loss_names() const = 0;
  // CRC-32C of the base models' weights, 0 without one: tells a resumed run that it is another.
  virtual uint32_t base_model_checksum() const = 0;

  struct Images {
    at::Tensor pixels;       // F32 [N, c, S, S], normalised.
    at::Tensor noise;        // F32 [N, L] (MaskingNoise).
    double mask_ratio = -1;  // Negative: the experiment's.
    // bool [N, base models], on the CPU: those that an image is learnt from (KeptBaseModels). Undefined: all.
    at::Tensor kept = {};
  };
  struct Loss {
    // Of each of the models: 0-dim, float32, with a gradient in that model alone.
    std::vector<at::Tensor> totals;
    const at::Tensor& total() const { return totals[0]; }
    at::Tensor parts;  // F32 [loss_names().size()], detached.
  };
  virtual Loss Compute(const Images& images) = 0;
  Loss Compute(const at::Tensor& pixels, const at::Tensor& noise) { return Compute(Images{pixels, noise}); }

  // What loss_att cannot fall below, the entropy of its target: the mean over the calls of Compute since this was last
  // asked, of this process. None where there is no such loss, or was no call.
  virtual std::optional<double> TakeRelationFloor() { return std::nullopt; }
};

}  // namespace tec

#endif  // TEC_TRAIN_OBJECTIVE_H_
