// TEC's objective: the distance of one or several new models to the targets of one or several base models.

#ifndef TEC_TRAIN_TEC_OBJECTIVE_H_
#define TEC_TRAIN_TEC_OBJECTIVE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tec/config/experiment.pb.h"
#include "tec/models/base_model.h"
#include "tec/models/tec_model.h"
#include "tec/train/objective.h"

namespace tec {

// A base model computes its targets once for all new models.
class TecObjective : public Objective {
 public:
  // As Objective::ForTec.
  TecObjective(const config::Experiment& experiment, c10::Device device,
               std::vector<std::shared_ptr<BaseModel>> base_models, std::vector<std::shared_ptr<TecModel>> models);

  std::vector<torch::nn::Module*> models() override;
  int64_t patches() const override { return models_[0]->options().encoder.patches(); }
  const std::vector<std::string>& loss_names() const override { return loss_names_; }
  uint32_t base_model_checksum() const override { return checksum_; }
  Loss Compute(const Images& images) override;
  std::optional<double> TakeRelationFloor() override;

 private:
  struct Base {
    std::shared_ptr<BaseModel> model;
    c10::Device device;
    double share;
    double tau;
  };
  // Images that are learnt from a base model, and what makes their mean stand for that of all: over many updates the
  // gradient is that without dropping.
  struct Kept {
    at::Tensor rows;    // I64; undefined: all.
    double factor = 1;  // 0: none is; `rows` has one, for the sake of defined gradients.
  };
  Kept KeptOf(const Images& images, size_t base) const;
  Targets TargetsOf(const Base& base, const at::Tensor& pixels) const;
  // Weighted features and relations of one base model by one new model; adds both to `parts`. `entropy`: of the target
  // of the relations, where there are any.
  at::Tensor OwnLoss(const TecOutput& output, const Targets& targets, const at::Tensor& mask, double tau,
                     std::vector<at::Tensor>* parts, at::Tensor* entropy) const;
  bool relations() const { return models_[0]->options().pred_att; }

  config::Experiment experiment_;
  c10::Device device_;
  std::vector<Base> bases_;
  std::vector<std::shared_ptr<TecModel>> models_;
  uint32_t checksum_ = 0;
  std::vector<std::string> loss_names_;
  at::Tensor floor_sum_;
  int64_t floor_count_ = 0;
};

}  // namespace tec

#endif  // TEC_TRAIN_TEC_OBJECTIVE_H_
