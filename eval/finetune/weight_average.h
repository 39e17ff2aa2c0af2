// An exponential moving average of a model's weights, which often classifies better than the weights themselves. As in
// timm (ModelEma) and DeiT, without a warm-up of the decay.
//
//   WeightAverage average(*model, averaged, decay);  // `averaged`: another model of the same shape.
//   optimizer.Step(lr);
//   average.Update();

#ifndef TEC_EVAL_FINETUNE_WEIGHT_AVERAGE_H_
#define TEC_EVAL_FINETUNE_WEIGHT_AVERAGE_H_

#include <vector>

#include "ATen/core/Tensor.h"
#include "torch/nn/module.h"

namespace tec {

class WeightAverage {
 public:
  // The average is kept in `averaged`, whose tensors have the names and shapes of `model`'s, float32 and on the same
  // device; it begins with `model`'s values. Both keep their tensors as long as this is used. decay: [0, 1).
  WeightAverage(const torch::nn::Module& model, const torch::nn::Module& averaged, double decay);

  // averaged = model.
  void Reset();
  // averaged = decay * averaged + (1 - decay) * model, in float32. A tensor that stays as it is in the model stays
  // exactly that in the average.
  void Update();

 private:
  std::vector<at::Tensor> weights_, average_;  // The models' own.
  double decay_;
};

}  // namespace tec

#endif  // TEC_EVAL_FINETUNE_WEIGHT_AVERAGE_H_
