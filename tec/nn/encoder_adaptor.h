// The conditional adaptor: fuses the outputs of all encoder blocks into one token sequence, so that the new model can
// match base models whose useful features sit at different depths. (recipe.md section 3.1, step 6)

#ifndef TEC_NN_ENCODER_ADAPTOR_H_
#define TEC_NN_ENCODER_ADAPTOR_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "tec/nn/modules.h"

namespace tec {

// PyTorch's default and not the encoder's 1e-6: the reference builds the adaptor's norms without an epsilon.
inline constexpr double kAdaptorNormEpsilon = 1e-5;

class EncoderAdaptor : public torch::nn::Module {
 public:
  // groups must divide depth. hidden: width of the MLPs, 4W in the reference.
  EncoderAdaptor(int64_t depth, int64_t width, int64_t groups, int64_t hidden);

  // latents: D tensors [N, S, C], shallowest first, the last one after the final norm -> [N, S, C], in the type that a
  // product takes it in (autocast.h). D is at most 64 (kMostParts).
  //   x      LayerNorm of the concatenation, [N, S, D*C]
  //   x_g    the g-th of G slices, [N, S, (D/G)*C]
  //   f_g    Linear_g(x_g), [N, S, C]
  //   result LayerNorm(sum over g of f_g + Mlp_g(f_g))
  at::Tensor forward(const std::vector<at::Tensor>& latents);

 private:
  std::shared_ptr<LayerNorm> adap_before_;
  std::vector<std::shared_ptr<Linear>> fuse_fcs_;
  std::vector<std::shared_ptr<Mlp>> adap_mlps_;
  std::shared_ptr<LayerNorm> adap_after_;
};

}  // namespace tec

#endif  // TEC_NN_ENCODER_ADAPTOR_H_
