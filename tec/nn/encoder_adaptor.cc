#include "tec/nn/encoder_adaptor.h"

#include <string>

#include "tec/base/logging.h"
#include "tec/nn/autocast.h"

namespace tec {
namespace {

// Gives its members names of their own: "fuse_fcs.0", ...
struct Numbered : torch::nn::Module {
  template <typename M>
  std::shared_ptr<M> Add(int64_t i, std::shared_ptr<M> module) {
    return register_module(std::to_string(i), std::move(module));
  }
};

}  // namespace

EncoderAdaptor::EncoderAdaptor(int64_t depth, int64_t width, int64_t groups, int64_t hidden) {
  TEC_CHECK(groups > 0 && depth % groups == 0) << groups << " adaptor groups do not divide " << depth << " blocks";
  adap_before_ = register_module("adap_before", std::make_shared<LayerNorm>(depth * width, kAdaptorNormEpsilon));
  auto fuse = register_module("fuse_fcs", std::make_shared<Numbered>());
  auto mlps = register_module("adap_mlps", std::make_shared<Numbered>());
  for (int64_t g = 0; g < groups; ++g) {
    fuse_fcs_.push_back(fuse->Add(g, std::make_shared<Linear>(depth / groups * width, width)));
    adap_mlps_.push_back(mlps->Add(g, std::make_shared<Mlp>(width, hidden)));
  }
  adap_after_ = register_module("adap_after", std::make_shared<LayerNorm>(width, kAdaptorNormEpsilon));
}

at::Tensor EncoderAdaptor::forward(const std::vector<at::Tensor>& latents) {
  TEC_CHECK_EQ(static_cast<int64_t>(latents.size()) * adap_after_->weight.size(0), adap_before_->weight.size(0))
      << "one output of each block is needed, got " << latents.size();
  const int64_t groups = static_cast<int64_t>(fuse_fcs_.size());
  const at::ScalarType stream = latents.front().scalar_type();
  const std::vector<at::Tensor> slices = NormOfConcatenation(latents, groups, adap_before_->weight, adap_before_->bias,
                                                             adap_before_->epsilon(), ProductType(latents.front()));
  at::Tensor sum;
  for (int64_t g = 0; g < groups; ++g) {
    const at::Tensor fused = fuse_fcs_[g]->forward(slices[g]);
    const at::Tensor adapted = fused + adap_mlps_[g]->forward(fused);
    sum = g == 0 ? adapted : sum + adapted;
  }
  return adap_after_->ForProduct({sum.to(stream), {}, {}, {}}).normed;
}

}  // namespace tec
