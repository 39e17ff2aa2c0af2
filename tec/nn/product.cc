#include "tec/nn/product.h"

#include <optional>
#include <string_view>

#include "ATen/Context.h"
#include "ATen/core/dispatch/Dispatcher.h"
#include "ATen/ops/gelu.h"
#include "ATen/ops/linear.h"
#include "ATen/ops/matmul.h"
#include "c10/core/GradMode.h"
#include "tec/nn/work_record.h"

namespace tec {
namespace {

// LibTorch's own door to oneDNN, which torch.compile goes through: x [.., K], weight [N, K], bias [N] -> what comes
// after the product ("none", "gelu") is done to the sums before they are rounded.
at::Tensor OneDnnLinear(const at::Tensor& a, const at::Tensor& b, const at::Tensor& bias, const char* then,
                        const char* algorithm) {
  using Signature = at::Tensor(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&, std::string_view,
                               c10::List<std::optional<at::Scalar>>, std::optional<std::string_view>);
  static const auto operation =
      c10::Dispatcher::singleton().findSchemaOrThrow("mkldnn::_linear_pointwise", "").typed<Signature>();
  // Its weight may lie in any order, but not on itself.
  const at::Tensor weight = b.is_non_overlapping_and_dense() ? b : b.contiguous();
  return operation.call(a, weight, bias.defined() ? std::optional<at::Tensor>(bias) : std::nullopt, then,
                        c10::List<std::optional<at::Scalar>>(), algorithm);
}

}  // namespace

bool HasAvx512() {
  // What LibTorch asks for before it gives oneDNN a product of bfloat16.
  static const bool has =
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  return has;
}

bool IsForOneDnn(const at::Tensor& a, const at::Tensor& b) {
  const bool type = a.scalar_type() == at::kFloat || (a.scalar_type() == at::kBFloat16 && HasAvx512());
  return type && a.device().is_cpu() && at::globalContext().hasMKLDNN() && at::globalContext().userEnabledMkldnn() &&
         a.numel() * b.size(0) >= kLeastMultiplyAdds;
}

at::Tensor Product(const at::Tensor& a, const at::Tensor& b, const at::Tensor& bias) {
  const c10::NoGradGuard no_grad;
  if (!IsForOneDnn(a, b)) return bias.defined() ? at::linear(a, b, bias) : at::matmul(a, b.t());
  WorkRecord work("tec::product", {a, b, bias});
  at::Tensor result = OneDnnLinear(a, b, bias, "none", "");
  work.Wrote({result});
  return result;
}

at::Tensor ProductGelu(const at::Tensor& a, const at::Tensor& b, const at::Tensor& bias) {
  const c10::NoGradGuard no_grad;
  if (!IsForOneDnn(a, b)) return at::gelu(Product(a, b, bias));
  WorkRecord work("tec::product_gelu", {a, b, bias});
  at::Tensor result = OneDnnLinear(a, b, bias, "gelu", "none");
  work.Wrote({result});
  return result;
}

}  // namespace tec
