#include "tec/nn/encoder_adaptor.h"

#include <string>

#include "tec/base/logging.h"
#include "tec/nn/autocast.h"
#include "tec/nn/token_rows.h"

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
  const std::vector<at::Tensor> slices = NormOfConcatenation(latents, groups, adap_before_->weight, adap_before_->bias,
                                                             adap_before_->epsilon(), ProductType(latents.front()));
  std::vector<at::Tensor> fused, branches, biases;
  for (int64_t g = 0; g < groups; ++g) {
    Mlp& mlp = *adap_mlps_[g];
    fused.push_back(fuse_fcs_[g]->forward(slices[g]));
    branches.push_back(mlp.fc2->WithoutBiasGradient(mlp.Hidden(fused.back())));
    biases.push_back(mlp.fc2->bias);
  }
  const at::Tensor sum = SumOfBranches(fused, branches, biases, latents.front().scalar_type());
  return adap_after_->ForProduct({sum, {}, {}, {}}).normed;
}

}  // namespace tec
