#include "tec/nn/bfloat16_product.h"

#include <algorithm>
#include <cstdint>

#include "ATen/ops/empty.h"
#include "tec/base/logging.h"
#include "tec/nn/bfloat16_kernels.h"
#include "tec/nn/bfloat16_operand.h"
#include "tec/nn/parallel.h"

namespace tec {
namespace {

// Pairs of terms that are gone through at once: a strip and a panel of them (36 KiB) lie in the first cache.
constexpr int64_t kMostPairs = 208;
// Strips and panels whose tiles are made by one thread one after another: their partial sums (288 KiB) and the strips
// (78 KiB) lie in the second cache, a panel is read once for eight strips.
constexpr int64_t kBlockStrips = 8, kBlockPanels = 24;
// Fewer rows or columns leave most of a tile empty.
constexpr int64_t kLeastRows = 48;

// How the terms are divided: into equal parts of at most kMostPairs.
struct Division {
  explicit Division(int64_t terms)
      : pairs(PartsOf(terms, 2)),
        parts(std::max<int64_t>(1, PartsOf(pairs, kMostPairs))),
        part(PartsOf(pairs, parts)) {}
  Bfloat16Pairs operator[](int64_t i) const { return {i * part, std::min(part, pairs - i * part)}; }

  int64_t pairs, parts, part;
};

Bfloat16Operand OperandOf(const at::Tensor& x, int64_t group) {
  return Bfloat16Operand(static_cast<const uint16_t*>(x.const_data_ptr()), x.size(0), x.size(1), x.stride(0),
                         x.stride(1), group);
}

uint32_t* Words(const at::Tensor& memory) { return static_cast<uint32_t*>(memory.mutable_data_ptr()); }

bool LiesWithoutGaps(const at::Tensor& x) { return x.is_contiguous() || x.t().is_contiguous(); }

}  // namespace

bool IsForBfloat16Product(const at::Tensor& a, const at::Tensor& b) {
  return HasBfloat16Kernels() && a.device().is_cpu() && a.scalar_type() == at::kBFloat16 &&
         b.scalar_type() == at::kBFloat16 && a.dim() == 2 && b.dim() == 2 && a.size(0) >= kLeastRows &&
         b.size(0) >= kLeastRows && a.size(1) > 0 && LiesWithoutGaps(a) && LiesWithoutGaps(b);
}

void Bfloat16Product(const at::Tensor& a, const at::Tensor& b, const at::Tensor& out) {
  const int64_t rows = a.size(0), columns = b.size(0);
  TEC_CHECK(IsForBfloat16Product(a, b) && a.size(1) == b.size(1) && out.is_contiguous() &&
            out.scalar_type() == at::kFloat && out.sizes() == at::IntArrayRef({rows, columns}))
      << a.sizes() << " by " << b.sizes() << " into " << out.sizes();
  const Division division(a.size(1));
  const Bfloat16Operand left = OperandOf(a, kStripRows), right = OperandOf(b, kPanelColumns);
  const int64_t strips = left.groups(), panels = right.groups();
  // The right operand is packed once for all: [parts][panels][pairs][kPanelColumns].
  const at::Tensor right_memory = at::empty({division.pairs * panels * kPanelColumns}, at::kInt);
  const auto panel_at = [&, words = Words(right_memory)](const Bfloat16Pairs& pairs, int64_t panel) {
    return words + (pairs.first * panels + panel * pairs.count) * kPanelColumns;
  };
  at::parallel_for(0, panels * division.parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Bfloat16Pairs pairs = division[i / panels];
      right.Pack(pairs, i % panels, panel_at(pairs, i % panels));
    }
  });

  Bfloat16Tile all = {};
  all.stride = columns;
  auto* const sums = out.mutable_data_ptr<float>();
  all.aligned = columns % 16 == 0 && reinterpret_cast<uintptr_t>(sums) % 64 == 0;
  // Blocks of strips by blocks of panels, as equal as can be.
  const int64_t threads = at::get_num_threads(), across = PartsOf(panels, kBlockPanels);
  const int64_t blocks = std::min(strips, PartsOf(PartsOf(strips, kBlockStrips), threads) * threads);
  at::parallel_for(0, blocks * across, 1, [&](int64_t begin, int64_t end) {
    constexpr int64_t kTile = kStripRows * kPanelColumns;
    const at::Tensor partial_memory = at::empty({kBlockStrips * kBlockPanels * kTile}, at::kFloat);
    const at::Tensor left_memory = at::empty({kBlockStrips * kStripRows * division.part}, at::kInt);
    float* const partial = partial_memory.mutable_data_ptr<float>();
    uint32_t* const packed = Words(left_memory);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t block = i / across, group = i % across;
      const int64_t strip = block * strips / blocks, strip_end = (block + 1) * strips / blocks;
      const int64_t panel = group * panels / across, panel_end = (group + 1) * panels / across;
      for (int64_t part = 0; part < division.parts; ++part) {
        const Bfloat16Pairs pairs = division[part];
        for (int64_t s = strip; s < strip_end; ++s)
          left.Pack(pairs, s, packed + (s - strip) * kStripRows * pairs.count);
        Bfloat16Tile tile = all;
        tile.pairs = pairs.count;
        tile.first = part == 0;
        tile.last = part + 1 == division.parts;
        for (int64_t p = panel; p < panel_end; ++p) {
          const int64_t column = p * kPanelColumns;
          tile.panel = panel_at(pairs, p);
          tile.columns = std::min(kPanelColumns, columns - column);
          for (int64_t s = strip; s < strip_end; ++s) {
            const int64_t row = s * kStripRows;
            tile.strip = packed + (s - strip) * kStripRows * pairs.count;
            tile.rows = std::min(kStripRows, rows - row);
            tile.partial = partial + ((p - panel) * kBlockStrips + s - strip) * kTile;
            tile.floats = sums + row * columns + column;
            MultiplyTile(tile);
          }
        }
      }
    }
    FinishTiles();
  });
}

}  // namespace tec
