// What stands between the two matrices of a transformer's MLP.

#ifndef TEC_NN_ACTIVATION_H_
#define TEC_NN_ACTIVATION_H_

namespace tec {

enum class Activation {
  kGelu,       // Exact (erf).
  kGeluTanh,   // Its approximation by tanh: SigLIP.
  kQuickGelu,  // x sigmoid(1.702 x): OpenAI's CLIP.
  kSwiGlu,     // silu(a) b, where fc1 gives a and b side by side: DINOv2's giant.
};

}  // namespace tec

#endif  // TEC_NN_ACTIVATION_H_
