#include "tec/nn/product.h"

#include <optional>
#include <string_view>

#include "ATen/Context.h"
#include "ATen/core/dispatch/Dispatcher.h"
#include "ATen/ops/gelu.h"
#include "ATen/ops/linear.h"
#include "ATen/ops/matmul.h"
#include "c10/core/GradMode.h"
#include "c10/core/impl/LocalDispatchKeySet.h"
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

// Whether oneDNN takes these at a rate that is worth its preparation.
bool OneDnnTakes(const at::Tensor& a, const at::Tensor& b) {
  const bool type = a.scalar_type() == at::kFloat || (a.scalar_type() == at::kBFloat16 && HasBfloat16Instructions());
  return type && a.device().is_cpu() && at::globalContext().hasMKLDNN() && at::globalContext().userEnabledMkldnn() &&
         a.numel() * b.size(0) >= kLeastMultiplyAdds;
}

at::Tensor AsFloat32(const at::Tensor& x) { return x.defined() ? x.to(at::kFloat) : x; }

// Product and ProductGelu of other types than those that are multiplied as float32, which an observer does not see.

at::Tensor Multiplied(const at::Tensor& a, const at::Tensor& b, const at::Tensor& bias) {
  if (IsForOneDnn(a, b)) return OneDnnLinear(a, b, bias, "none", "");
  return bias.defined() ? at::linear(a, b, bias) : at::matmul(a, b.t());
}

at::Tensor MultipliedGelu(const at::Tensor& a, const at::Tensor& b, const at::Tensor& bias) {
  return OneDnnTakes(a, b) ? OneDnnLinear(a, b, bias, "gelu", "none") : at::gelu(Multiplied(a, b, bias));
}

}  // namespace

bool HasBfloat16Instructions() {
  // The first three are what LibTorch asks for before it gives oneDNN a product of bfloat16.
  static const bool has = __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                          __builtin_cpu_supports("avx512dq") &&
                          (__builtin_cpu_supports("avx512bf16") || __builtin_cpu_supports("amx-bf16"));
  return has;
}

bool MultipliesAsFloat32(const at::Tensor& x) {
  return x.scalar_type() == at::kBFloat16 && x.device().is_cpu() && !HasBfloat16Instructions();
}

bool IsForOneDnn(const at::Tensor& a, const at::Tensor& b) {
  static const bool mkl_is_quicker = __builtin_cpu_is("intel");
  return !(a.scalar_type() == at::kFloat && mkl_is_quicker) && OneDnnTakes(a, b);
}

at::Tensor Product(const at::Tensor& a, const at::Tensor& b, const at::Tensor& bias) {
  const c10::NoGradGuard no_grad;
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  const bool as_float32 = MultipliesAsFloat32(a);
  if (!as_float32 && !IsForOneDnn(a, b)) return Multiplied(a, b, bias);
  WorkRecord work("tec::product", {a, b, bias});
  at::Tensor result =
      as_float32 ? Multiplied(AsFloat32(a), AsFloat32(b), AsFloat32(bias)).to(a.scalar_type()) : Multiplied(a, b, bias);
  work.Wrote({result});
  return result;
}

at::Tensor ProductGelu(const at::Tensor& a, const at::Tensor& b, const at::Tensor& bias) {
  const c10::NoGradGuard no_grad;
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  const bool as_float32 = MultipliesAsFloat32(a);
  if (!as_float32 && !OneDnnTakes(a, b)) return at::gelu(Product(a, b, bias));
  WorkRecord work("tec::product_gelu", {a, b, bias});
  at::Tensor result = as_float32 ? MultipliedGelu(AsFloat32(a), AsFloat32(b), AsFloat32(bias)).to(a.scalar_type())
                                 : MultipliedGelu(a, b, bias);
  work.Wrote({result});
  return result;
}

}  // namespace tec
