#include "tec/nn/head_product.h"

#include <algorithm>
#include <cstdint>

#include "ATen/ops/empty.h"
#include "ATen/ops/matmul.h"
#include "c10/core/GradMode.h"
#include "c10/core/impl/LocalDispatchKeySet.h"
#include "tec/base/logging.h"
#include "tec/nn/bfloat16_kernels.h"
#include "tec/nn/bfloat16_operand.h"
#include "tec/nn/parallel.h"
#include "tec/nn/product.h"
#include "tec/nn/work_record.h"
#include "torch/csrc/autograd/custom_function.h"

namespace tec {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Multiply-adds that are worth handing to another thread: some 20 us.
constexpr int64_t kLeastWork = 1 << 22;

bool HasUnitStep(const at::Tensor& x) { return x.stride(3) == 1 || x.stride(2) == 1; }

// Whether Multiply takes these; LibTorch's matmul does not read its operands where they lie.
bool IsForMultiply(const at::Tensor& a, const at::Tensor& b) {
  return (HasBfloat16Kernels() || MultipliesAsFloat32(a)) && a.device().is_cpu() && b.device().is_cpu() &&
         a.scalar_type() == at::kBFloat16 && b.scalar_type() == at::kBFloat16 && a.numel() > 0 && b.numel() > 0;
}

// How [N, H, rows, columns] lies; transposed: the same of its columns.
HeadOrder OrderOf(const at::Tensor& x) {
  const bool rows_first = std::max(x.stride(2), x.stride(3)) > x.stride(1);
  return rows_first ? HeadOrder::kRowsFirst : HeadOrder::kHeadsFirst;
}

Bfloat16Operand MatrixOf(const at::Tensor& x, int64_t item, int64_t group) {
  const int64_t n = item / x.size(1), h = item % x.size(1);
  const auto* data = static_cast<const uint16_t*>(x.const_data_ptr()) + n * x.stride(0) + h * x.stride(1);
  return Bfloat16Operand(data, x.size(2), x.size(3), x.stride(2), x.stride(3), group);
}

// In float32, each matrix in one piece, as LibTorch's products of many matrices read them without a copy of their own.
at::Tensor InFloat32(const at::Tensor& x) {
  const auto copied = [](const at::Tensor& y) {
    return y.to(at::kFloat, /*non_blocking=*/false, /*copy=*/false, at::MemoryFormat::Contiguous);
  };
  return x.stride(3) == 1 ? copied(x) : copied(x.transpose(2, 3)).transpose(2, 3);
}

void MultiplyByKernels(const at::Tensor& a, const at::Tensor& b, const at::Tensor& out) {
  const int64_t images = a.size(0), heads = a.size(1), rows = a.size(2), columns = b.size(2);
  auto* const results = static_cast<uint16_t*>(out.mutable_data_ptr());
  const int64_t pairs = PartsOf(a.size(3), 2), panels = PartsOf(columns, kPanelColumns);
  const int64_t grain = std::max<int64_t>(1, kLeastWork / (rows * columns * a.size(3)));
  at::parallel_for(0, images * heads, grain, [&](int64_t begin, int64_t end) {
    const at::Tensor memory = at::empty({pairs * (panels * kPanelColumns + kStripRows)}, at::kInt);
    auto* const packed = static_cast<uint32_t*>(memory.mutable_data_ptr());
    uint32_t* const strip = packed + pairs * panels * kPanelColumns;
    Bfloat16Tile tile = {};
    tile.pairs = pairs;
    tile.first = tile.last = true;
    tile.stride = out.stride(2);
    tile.strip = strip;
    for (int64_t item = begin; item < end; ++item) {
      const Bfloat16Operand left = MatrixOf(a, item, kStripRows), right = MatrixOf(b, item, kPanelColumns);
      for (int64_t p = 0; p < panels; ++p) right.Pack({0, pairs}, p, packed + p * pairs * kPanelColumns);
      uint16_t* const result = results + item / heads * out.stride(0) + item % heads * out.stride(1);
      for (int64_t row = 0; row < rows; row += kStripRows) {
        left.Pack({0, pairs}, row / kStripRows, strip);
        tile.rows = std::min(kStripRows, rows - row);
        for (int64_t p = 0; p < panels; ++p) {
          const int64_t column = p * kPanelColumns;
          tile.panel = packed + p * pairs * kPanelColumns;
          tile.columns = std::min(kPanelColumns, columns - column);
          tile.shorts = result + row * tile.stride + column;
          MultiplyTile(tile);
        }
      }
    }
  });
}

at::Tensor Multiply(const at::Tensor& given_a, const at::Tensor& given_b, HeadOrder order) {
  const at::Tensor a = HasUnitStep(given_a) ? given_a : given_a.contiguous();
  const at::Tensor b = HasUnitStep(given_b) ? given_b : given_b.contiguous();
  const int64_t images = a.size(0), heads = a.size(1), rows = a.size(2), columns = b.size(2);
  const at::Tensor out = order == HeadOrder::kHeadsFirst
                             ? at::empty({images, heads, rows, columns}, a.options())
                             : at::empty({images, rows, heads, columns}, a.options()).transpose(1, 2);
  WorkRecord work("tec::head_product", {a, b});
  if (HasBfloat16Kernels()) {
    MultiplyByKernels(a, b, out);
  } else {
    const c10::NoGradGuard no_grad;
    const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
    out.copy_(at::matmul(InFloat32(a), InFloat32(b).transpose(2, 3)));
  }
  work.Wrote({out});
  return out;
}

// a b^T, lying as `like` does, which has its sizes.
at::Tensor MultiplyLike(const at::Tensor& a, const at::Tensor& b, const at::Tensor& like) {
  const HeadOrder order = OrderOf(like);
  if (like.stride(3) == 1) return Multiply(a, b, order);
  return Multiply(b, a, order).transpose(2, 3);
}

class HeadProductFunction : public torch::autograd::Function<HeadProductFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& a, const at::Tensor& b, bool rows_first) {
    context->save_for_backward({a, b});
    return Multiply(a, b, rows_first ? HeadOrder::kRowsFirst : HeadOrder::kHeadsFirst);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &a = saved[0], &b = saved[1], &dy = gradients[0];
    at::Tensor d_a, d_b;
    if (context->needs_input_grad(0)) d_a = MultiplyLike(dy, b.transpose(2, 3), a);
    if (context->needs_input_grad(1)) d_b = MultiplyLike(dy.transpose(2, 3), a.transpose(2, 3), b);
    return {d_a, d_b, at::Tensor()};
  }
};

}  // namespace

at::Tensor HeadProduct(const at::Tensor& a, const at::Tensor& b, HeadOrder order) {
  TEC_CHECK(a.dim() == 4 && b.dim() == 4 && a.sizes().slice(0, 2) == b.sizes().slice(0, 2) && a.size(3) == b.size(3))
      << "a product of heads takes [N, H, M, K] and [N, H, P, K], not " << a.sizes() << " and " << b.sizes();
  if (!IsForMultiply(a, b)) return at::matmul(a, b.transpose(2, 3));
  if (!c10::GradMode::is_enabled()) return Multiply(a, b, order);
  return HeadProductFunction::apply(a, b, order == HeadOrder::kRowsFirst);
}

}  // namespace tec
