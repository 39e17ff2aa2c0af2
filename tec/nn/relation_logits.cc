#include "tec/nn/relation_logits.h"

#include "ATen/ops/baddbmm.h"
#include "ATen/ops/cat.h"
#include "ATen/ops/empty.h"
#include "ATen/ops/sum.h"
#include "ATen/ops/zeros.h"
#include "c10/core/GradMode.h"
#include "tec/base/logging.h"
#include "tec/nn/low_linear.h"
#include "tec/nn/product.h"
#include "tec/nn/work_record.h"
#include "torch/csrc/autograd/custom_function.h"

namespace tec {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// [N, n, C] -> [N*H, n, C/H], in one piece, as products take it.
at::Tensor SplitIntoHeads(const at::Tensor& x, int64_t heads) {
  return x.view({x.size(0), x.size(1), heads, -1}).transpose(1, 2).flatten(0, 1).contiguous();
}

// Its inverse, written into `into` [N, n, C].
void JoinHeadsInto(const at::Tensor& x, int64_t heads, const at::Tensor& into) {
  at::Tensor(into)
      .view({into.size(0), into.size(1), heads, x.size(2)})
      .transpose(1, 2)
      .copy_(x.view({into.size(0), heads, x.size(1), x.size(2)}));
}

// scale * a b: the factor goes into the product, which costs nothing.
at::Tensor ScaledProduct(const at::Tensor& a, const at::Tensor& b, double scale) {
  if (MultipliesAsFloat32(a)) {
    // As one image's heads.
    WorkRecord work("tec::head_product", {a.unsqueeze(0), b.transpose(1, 2).unsqueeze(0)});
    const at::Tensor result = ScaledProduct(a.to(at::kFloat), b.to(at::kFloat), scale).to(a.scalar_type());
    work.Wrote({result});
    return result;
  }
  at::Tensor result = at::empty({a.size(0), a.size(1), b.size(2)}, a.options());
  return at::baddbmm_out(result, result, a, b, /*beta=*/0, /*alpha=*/scale);
}

struct Parts {
  at::Tensor tokens, queried;  // As the products took them: [N, 1+L, W], [N, 1+K, W].
  at::Tensor q, k;             // [N*H, 1+K, C/H], [N*H, L, C/H]
  at::Tensor logits;           // [N, 1, 1+K, H, L]
};

// rows I64 [N, 1+K, W]: of the tokens.
Parts Forward(Linear& qk, const at::Tensor& tokens, const at::Tensor& rows, int64_t heads, double scale) {
  const int64_t width = qk.weight.size(0) / 2, images = tokens.size(0);
  Parts parts;
  const at::Tensor keys = qk.Rows(tokens, width, width);
  parts.tokens = tokens.to(keys.scalar_type());
  parts.queried = parts.tokens.gather(1, rows);
  parts.q = SplitIntoHeads(qk.Rows(parts.queried, 0, width), heads);
  parts.k = SplitIntoHeads(keys.slice(1, 1), heads);
  const at::Tensor logits = ScaledProduct(parts.q, parts.k.transpose(1, 2), scale);
  parts.logits = logits.view({images, heads, rows.size(1), -1}).transpose(1, 2).unsqueeze(1);
  return parts;
}

// (tokens, weight, bias, rows) -> logits.
class RelationLogitsFunction : public torch::autograd::Function<RelationLogitsFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& tokens, const at::Tensor& weight,
                            const at::Tensor& /*bias*/, const at::Tensor& rows, Linear* qk, int64_t heads,
                            double scale) {
    const Parts parts = Forward(*qk, tokens, rows, heads, scale);
    // The copy that the product took, where there is one.
    const bool copied = qk->low_weight().defined() && qk->low_weight().scalar_type() == parts.q.scalar_type();
    context->save_for_backward(
        {parts.tokens, parts.queried, parts.q, parts.k, copied ? qk->low_weight() : weight, rows});
    context->saved_data["type"] = static_cast<int64_t>(tokens.scalar_type());
    context->saved_data["heads"] = heads;
    context->saved_data["scale"] = scale;
    return parts.logits;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &tokens = saved[0], &queried = saved[1], &q = saved[2], &k = saved[3], &rows = saved[5];
    const at::Tensor weight = saved[4].to(q.scalar_type());
    const int64_t heads = context->saved_data["heads"].toInt(), width = weight.size(0) / 2;
    const double scale = context->saved_data["scale"].toDouble();
    // [N, 1, 1+K, H, L] -> [N*H, 1+K, L]
    const at::Tensor d = gradients[0].squeeze(1).transpose(1, 2).flatten(0, 1).contiguous();
    const at::Tensor d_queries = at::empty({queried.size(0), queried.size(1), width}, q.options());
    const at::Tensor d_keys = at::empty({tokens.size(0), tokens.size(1), width}, q.options());
    JoinHeadsInto(ScaledProduct(d, k, scale), heads, d_queries);
    d_keys.select(1, 0).zero_();  // [CLS] is no key.
    JoinHeadsInto(ScaledProduct(d.transpose(1, 2), q, scale), heads, d_keys.slice(1, 1));

    const auto flat = [](const at::Tensor& x) { return x.view({-1, x.size(-1)}); };
    const at::Tensor dq = flat(d_queries), dk = flat(d_keys);
    const at::Tensor d_tokens = Product(dk, weight.slice(0, width).t()).view(tokens.sizes());
    d_tokens.scatter_add_(1, rows, Product(dq, weight.slice(0, 0, width).t()).view(queried.sizes()));
    variable_list result(7);
    result[0] = d_tokens.to(static_cast<at::ScalarType>(context->saved_data["type"].toInt()));
    result[1] = at::cat({WeightGradient(dq, flat(queried)), WeightGradient(dk, flat(tokens))});
    const at::ScalarType type = result[1].scalar_type();
    result[2] = at::cat({at::sum(dq, 0, false, type), at::sum(dk, 0, false, type)});
    return result;
  }
};

}  // namespace

at::Tensor RelationLogits(Linear& qk, const at::Tensor& tokens, const at::Tensor& idx, int64_t heads, double scale) {
  const int64_t images = tokens.size(0);
  TEC_CHECK(qk.weight.size(0) % (2 * heads) == 0 && idx.dim() == 3 && idx.size(0) == images && idx.size(1) == 1)
      << "heads " << heads << " of " << qk.weight.sizes() << ", tokens " << tokens.sizes() << ", idx " << idx.sizes();
  const at::Tensor first = at::zeros({images, 1}, idx.options());
  const at::Tensor rows =
      at::cat({first, idx.view({images, -1}) + 1}, 1).unsqueeze(-1).expand({-1, -1, tokens.size(2)});
  if (!c10::GradMode::is_enabled()) return Forward(qk, tokens.contiguous(), rows, heads, scale).logits;
  return RelationLogitsFunction::apply(tokens.contiguous(), qk.weight, qk.bias, rows, &qk, heads, scale);
}

}  // namespace tec
