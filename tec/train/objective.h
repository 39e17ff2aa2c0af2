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
  // TEC's, from models that are there already: of the experiment it takes mask_ratio, the losses and the precision.
  static std::unique_ptr<Objective> ForTec(const config::Experiment& experiment, c10::Device device,
                                           std::shared_ptr<BaseModel> base_model, std::shared_ptr<TecModel> model);
  virtual ~Objective() = default;

  // The model that is trained and saved.
  virtual torch::nn::Module& model() = 0;
  // L
  virtual int64_t patches() const = 0;
  // The logged losses, under the reference's names without "train_": "loss", the total, first.
  virtual const std::vector<std::string>& loss_names() const = 0;
  // CRC-32C of the base model's weights, 0 without one: tells a resumed run that it is another.
  virtual uint32_t base_model_checksum() const = 0;

  struct Loss {
    at::Tensor total;  // 0-dim, float32, with a gradient.
    at::Tensor parts;  // F32 [loss_names().size()], detached.
  };
  // images F32 [N, c, S, S], normalised; noise F32 [N, L] (MaskingNoise).
  virtual Loss Compute(const at::Tensor& images, const at::Tensor& noise) = 0;

  // What loss_att cannot fall below, the entropy of its target: the mean over the calls of Compute since this was last
  // asked, of this process. None where there is no such loss, or was no call.
  virtual std::optional<double> TakeRelationFloor() { return std::nullopt; }
};

}  // namespace tec

#endif  // TEC_TRAIN_OBJECTIVE_H_
