// Copies of a model's matrices in the precision that autocast computes in: all weights of a model that trains are cast
// in one operation a forward pass, those of a frozen one once.
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
  // low precision there: makes the copies of all its Linears; where no weight requires a gradient, only if there are
  // none yet or a weight is another tensor or version. Without autocast: does nothing.
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
