#include "eval/dense/dense_head.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "ATen/ATen.h"
#include "ATen/core/grad_mode.h"
#include "eval/dense/training_pairs.h"
#include "tec/base/logging.h"
#include "tec/base/random.h"
#include "tec/nn/autocast.h"

namespace tec {
namespace {

constexpr double kHeadNormEpsilon = 1e-5, kHeadNormMomentum = 0.1;  // torch.nn.BatchNorm2d's.
constexpr int64_t kWindowsAtOnce = 8;

at::Tensor Uniform(at::IntArrayRef sizes, double bound, uint64_t seed, uint64_t index) {
  RandomStream random(RandomKey{seed, RandomPurpose::kInitialise, 0, index});
  at::Tensor values = at::empty(sizes, at::kFloat);
  for (int64_t i = 0; i < values.numel(); ++i) {
    values.mutable_data_ptr<float>()[i] = static_cast<float>(random.Uniform(-bound, bound));
  }
  return values;
}

}  // namespace

at::Tensor DenseTokens(Encoder& encoder, const at::Tensor& images) {
  at::NoGradGuard no_gradient;
  const at::Tensor tokens = encoder.Normalise(encoder.LastBlocks(images, 1)[0]);
  const at::Tensor patches = tokens.slice(1, encoder.options().variant.prefix());
  if (!Encoder::HasClass(encoder.options())) return patches;
  return at::cat({patches, encoder.Class(tokens).unsqueeze(1).expand_as(patches)}, 2);
}

int64_t DenseWidth(const VitOptions& encoder) { return encoder.width * (Encoder::HasClass(encoder) ? 2 : 1); }

DenseHead::DenseHead(int64_t width, int64_t classes, uint64_t seed)
    : norm_(std::make_shared<Norm>()), convolution_(std::make_shared<Convolution>()) {
  const auto sequence = std::make_shared<torch::nn::Module>();
  norm_->weight = norm_->register_parameter("weight", at::ones({width}));
  norm_->bias = norm_->register_parameter("bias", at::zeros({width}));
  // Frozen parameters, not buffers: those are no part of a state here (tec/nn/module_state.h).
  norm_->running_mean = norm_->register_parameter("running_mean", at::zeros({width}), /*requires_grad=*/false);
  norm_->running_var = norm_->register_parameter("running_var", at::ones({width}), /*requires_grad=*/false);
  norm_->num_batches_tracked =
      norm_->register_parameter("num_batches_tracked", at::zeros({}, at::kLong), /*requires_grad=*/false);
  const double bound = 1 / std::sqrt(static_cast<double>(width));
  convolution_->weight = convolution_->register_parameter("weight", Uniform({classes, width, 1, 1}, bound, seed, 0));
  convolution_->bias = convolution_->register_parameter("bias", Uniform({classes}, bound, seed, 1));
  sequence->register_module("0", norm_);
  sequence->register_module("1", convolution_);
  register_module("head", sequence);
}

at::Tensor DenseHead::forward(const at::Tensor& tokens, int64_t size, bool training) {
  const int64_t n = tokens.size(0), patches = tokens.size(1), width = tokens.size(2);
  const int64_t grid = std::lround(std::sqrt(static_cast<double>(patches)));
  TEC_CHECK_EQ(grid * grid, patches);
  if (training) norm_->num_batches_tracked.add_(1);
  // A patch is a pixel of the convolution's input: rows of a matrix.
  const at::Tensor x = at::batch_norm(tokens.reshape({n * patches, width}).to(at::kFloat), norm_->weight, norm_->bias,
                                      norm_->running_mean, norm_->running_var, training, kHeadNormMomentum,
                                      kHeadNormEpsilon, /*cudnn_enabled=*/true);
  const at::Tensor logits = at::linear(x, convolution_->weight.flatten(1), convolution_->bias).to(at::kFloat);
  const at::Tensor maps = logits.view({n, patches, -1}).transpose(1, 2).reshape({n, -1, grid, grid});
  return at::upsample_bilinear2d(maps, {size, size}, /*align_corners=*/true);
}

at::Tensor DenseLoss(const at::Tensor& logits, const at::Tensor& places) {
  // PyTorch's mean over no pixel is no number.
  if ((places != kNoClass).sum().item<int64_t>() == 0) return logits.sum() * 0;
  return at::cross_entropy_loss(logits, places, /*weight=*/{}, at::Reduction::Mean, /*ignore_index=*/kNoClass);
}

at::Tensor SlidingWindow(Encoder& encoder, DenseHead& head, const at::Tensor& picture, int64_t classes,
                         c10::ScalarType precision) {
  at::NoGradGuard no_gradient;
  const int64_t size = encoder.options().image_size, stride = std::max<int64_t>(1, size * 2 / 3);
  const int64_t height = picture.size(1), width = picture.size(2);
  std::vector<std::pair<int64_t, int64_t>> corners;
  for (int64_t row = 0; row < height; row += stride) {
    for (int64_t column = 0; column < width; column += stride) corners.emplace_back(row, column);
  }
  at::Tensor sum = at::zeros({classes, height, width}, picture.options());
  for (size_t begin = 0; begin < corners.size(); begin += kWindowsAtOnce) {
    const size_t end = std::min(corners.size(), begin + kWindowsAtOnce);
    const at::Tensor windows =
        at::zeros({static_cast<int64_t>(end - begin), picture.size(0), size, size}, picture.options());
    const auto part_of = [&](size_t i) {
      const auto [row, column] = corners[i];
      return std::make_pair(std::min(size, height - row), std::min(size, width - column));
    };
    for (size_t i = begin; i < end; ++i) {
      const auto [rows, columns] = part_of(i);
      windows[static_cast<int64_t>(i - begin)]
          .slice(1, 0, rows)
          .slice(2, 0, columns)
          .copy_(picture.slice(1, corners[i].first, corners[i].first + rows)
                     .slice(2, corners[i].second, corners[i].second + columns));
    }
    at::Tensor probabilities;
    {
      AutocastGuard autocast(picture.device().type(), precision);
      probabilities = head.forward(DenseTokens(encoder, windows), size, /*training=*/false).softmax(1);
    }
    for (size_t i = begin; i < end; ++i) {
      const auto [rows, columns] = part_of(i);
      sum.slice(1, corners[i].first, corners[i].first + rows)
          .slice(2, corners[i].second, corners[i].second + columns)
          .add_(probabilities[static_cast<int64_t>(i - begin)].slice(1, 0, rows).slice(2, 0, columns));
    }
  }
  return sum.argmax(0).to(at::kCPU, at::kByte);
}

}  // namespace tec
