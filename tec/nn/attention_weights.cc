#include "tec/nn/attention_weights.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "ATen/ops/empty.h"
#include "ATen/ops/empty_like.h"
#include "c10/core/GradMode.h"
#include "tec/base/logging.h"
#include "tec/nn/attention_weights_kernels.h"
#include "tec/nn/parallel.h"
#include "tec/nn/work_record.h"
#include "torch/csrc/autograd/custom_function.h"

namespace tec {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Values that are worth handing to another thread.
constexpr int64_t kLeastValues = 8192;

uint16_t* BitsOf(const at::Tensor& tensor) { return static_cast<uint16_t*>(tensor.mutable_data_ptr()); }

// `bias`, contiguous, or undefined.
AttentionRows RowsOf(const at::Tensor& logits, double scale, const at::Tensor& bias) {
  AttentionRows rows = {};
  rows.keys = logits.size(3);
  rows.scale = static_cast<float>(scale);
  rows.bias = bias.defined() ? bias.const_data_ptr<float>() : nullptr;
  rows.bias_rows = logits.size(1) * logits.size(2);
  rows.logits = BitsOf(logits);
  return rows;
}

// `range`: [N, H, T, 2] or undefined.
void WriteWeights(const at::Tensor& logits, double scale, const at::Tensor& bias, const at::Tensor& range,
                  const at::Tensor& weights) {
  WorkRecord work("tec::attention_weights", {logits, bias});
  AttentionRows rows = RowsOf(logits, scale, bias);
  rows.range = range.defined() ? range.mutable_data_ptr<float>() : nullptr;
  const int64_t grain = std::max<int64_t>(1, kLeastValues / std::max<int64_t>(1, rows.keys));
  if (logits.numel() > 0) {
    at::parallel_for(0, logits.numel() / rows.keys, grain,
                     [&](int64_t begin, int64_t end) { AttentionWeightRows(rows, begin, end, BitsOf(weights)); });
  }
  work.Wrote({weights, range});
}

class AttentionWeightsFunction : public torch::autograd::Function<AttentionWeightsFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& logits, double scale,
                            const std::optional<at::Tensor>& bias) {
    const at::Tensor own_bias = bias.has_value() ? bias->contiguous() : at::Tensor();
    const at::Tensor weights = at::empty_like(logits);
    const at::Tensor range =
        at::empty({logits.size(0), logits.size(1), logits.size(2), 2}, logits.options().dtype(at::kFloat));
    WriteWeights(logits, scale, own_bias, range, weights);
    context->save_for_backward({logits, range, own_bias});
    context->saved_data["scale"] = scale;
    context->saved_data["bias"] = bias.has_value() && bias->requires_grad();
    return weights;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &logits = saved[0], &range = saved[1], &bias = saved[2];
    const at::Tensor d_weights = gradients[0].contiguous();
    const at::Tensor d_logits = at::empty_like(logits);
    const at::Tensor d_bias = context->saved_data["bias"].toBool() ? at::empty_like(bias) : at::Tensor();
    WorkRecord work("tec::attention_weights_backward", {logits, range, bias, d_weights});
    AttentionRows rows = RowsOf(logits, context->saved_data["scale"].toDouble(), bias);
    rows.range = range.mutable_data_ptr<float>();
    const uint16_t* from = BitsOf(d_weights);
    uint16_t* to = BitsOf(d_logits);
    const int64_t count = logits.numel() == 0 ? 0 : logits.numel() / rows.keys;
    const int64_t grain = std::max<int64_t>(1, kLeastValues / std::max<int64_t>(1, rows.keys));
    if (d_bias.defined()) {
      // A query of a head in all images, one after another.
      float* sums = d_bias.mutable_data_ptr<float>();
      at::parallel_for(0, rows.bias_rows, 1, [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
          AttentionWeightRowsBackward(rows, row, count, rows.bias_rows, from, to, sums + row * rows.keys);
        }
      });
    } else {
      at::parallel_for(0, count, grain, [&](int64_t begin, int64_t end) {
        AttentionWeightRowsBackward(rows, begin, end, 1, from, to, nullptr);
      });
    }
    work.Wrote({d_logits, d_bias});
    return {d_logits, at::Tensor(), d_bias};
  }
};

}  // namespace

at::Tensor AttentionWeights(at::Tensor logits, double scale, const at::Tensor& bias) {
  TEC_CHECK(logits.device().is_cpu() && logits.scalar_type() == at::kBFloat16 && logits.dim() == 4)
      << "logits are [N, H, T, T'] in bfloat16 on the CPU, not " << logits.sizes() << " in " << logits.scalar_type();
  TEC_CHECK(!bias.defined() || (bias.scalar_type() == at::kFloat && bias.sizes() == logits.sizes().slice(1)))
      << "the bias of logits " << logits.sizes() << " has all but their first dimension in float32, not "
      << bias.sizes() << " in " << bias.scalar_type();
  logits = logits.contiguous();
  const bool learns = logits.requires_grad() || (bias.defined() && bias.requires_grad());
  if (c10::GradMode::is_enabled() && learns) {
    return AttentionWeightsFunction::apply(logits, scale,
                                           bias.defined() ? std::optional<at::Tensor>(bias) : std::nullopt);
  }
  WriteWeights(logits, scale, bias.defined() ? bias.contiguous() : bias, {}, logits);
  return logits;
}

}  // namespace tec
