// How a table of patch positions is brought to another grid: each project does it in its own way, with other numbers.

#ifndef TEC_NN_INTERPOLATION_H_
#define TEC_NN_INTERPOLATION_H_

namespace tec {

// All are bicubic over the a x a picture of the rows, align_corners false. What is sampled where, for g x g patches:
enum class PositionInterpolation {
  kPlain,      // At (i + 0.5) a / g - 0.5, cubic with -0.75: MAE, TEC, DeiT, most of Hugging Face.
  kOffset,     // At (i + 0.5) a / (g + 0.1) - 0.5, cubic with -0.75: DINO, iBOT, DINOv2's hub.
  kAntialias,  // As kPlain, cubic with -0.5, widened by a / g where the grid shrinks: timm, OpenCLIP, registers.
};

}  // namespace tec

#endif  // TEC_NN_INTERPOLATION_H_
