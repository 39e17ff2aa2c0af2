// Copies of a model's matrices in the precision that autocast computes in: those of a frozen model are cast once, those
// of one that trains where AdamW has not written them with the weights (working_copy.h), all in one operation.
//
//   class Model : public torch::nn::Module {
//     at::Tensor forward(...) { working_weights_.Refresh(*this); ... }
//     WorkingWeights working_weights_;
//   };
//
// Two bytes a weight beside its four. Linear::forward takes the copies by itself, under autocast alone.

#ifndef TEC_NN_WORKING_WEIGHTS_H_
#define TEC_NN_WORKING_WEIGHTS_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "tec/nn/modules.h"

namespace tec {

class WorkingWeights {
 public:
  // Before a forward pass of `model`, the same module each time, whose weights lie on one device. Under autocast to a
  // low precision there: makes the copies of those of its Linears that have none yet or whose values are others:
  // where no gradient is required, a weight that is another tensor or version; else one that was not last changed by
  // who wrote its copy too. Without autocast: does nothing.
  void Refresh(torch::nn::Module& model);

 private:
  struct Source {
    const void* data;
    uint32_t version;
    bool operator==(const Source& other) const { return data == other.data && version == other.version; }
  };
  std::vector<std::shared_ptr<Linear>> linears_;  // Empty before the first Refresh.
  std::vector<Source> sources_;                   // Of weight and bias of each, as they were cast.
};

}  // namespace tec

#endif  // TEC_NN_WORKING_WEIGHTS_H_
