// Pixio's linear head for segmentation (its semseg/models/linear.py): batch normalisation and a 1 x 1 convolution of
// each patch's token beside the [CLS] token, and bilinear enlargement of the logits.

#ifndef TEC_EVAL_DENSE_DENSE_HEAD_H_
#define TEC_EVAL_DENSE_DENSE_HEAD_H_

#include <cstdint>
#include <memory>

#include "ATen/core/Tensor.h"
#include "tec/models/encoder.h"
#include "torch/nn/module.h"

namespace tec {

// images [N, c, S, S], normalised -> [N, L, F]: the patch tokens after the final norm and, where the encoder has one,
// [CLS] beside each, F = 2 C, else F = C. Without gradient.
at::Tensor DenseTokens(Encoder& encoder, const at::Tensor& images);
int64_t DenseWidth(const VitOptions& encoder);

// State, under Pixio's names: head.0.{weight,bias,running_mean,running_var,num_batches_tracked} [F],
// head.1.weight [K, F, 1, 1], head.1.bias [K].
class DenseHead : public torch::nn::Module {
 public:
  // PyTorch's initial values: norm 1 and 0, weights and biases of the convolution uniform in +-1 / sqrt(F), drawn from
  // the streams of (seed, kInitialise).
  DenseHead(int64_t width, int64_t classes, uint64_t seed);

  // tokens [N, L, F] -> logits float32 [N, K, size, size]. Training moves the running averages.
  at::Tensor forward(const at::Tensor& tokens, int64_t size, bool training);

 private:
  struct Norm : torch::nn::Module {
    at::Tensor weight, bias, running_mean, running_var, num_batches_tracked;
  };
  struct Convolution : torch::nn::Module {
    at::Tensor weight, bias;
  };
  std::shared_ptr<Norm> norm_;
  std::shared_ptr<Convolution> convolution_;
};

// Mean cross-entropy over the pixels that have a class; 0 where none has one. logits [N, K, S, S]; places int64
// [N, S, S], kNoClass where there is none.
at::Tensor DenseLoss(const at::Tensor& logits, const at::Tensor& places);

// The place of each pixel's class, uint8 [H, W] on the CPU, of a normalised picture [c, H, W] of any size: the
// probabilities of windows of the encoder's size, every two thirds of it, are added up. What a window has beyond the
// picture is 0. precision: of the matrix products.
at::Tensor SlidingWindow(Encoder& encoder, DenseHead& head, const at::Tensor& picture, int64_t classes,
                         c10::ScalarType precision);

}  // namespace tec

#endif  // TEC_EVAL_DENSE_DENSE_HEAD_H_
