#include "eval/embed/near_duplicates.h"

#include <algorithm>
#include <tuple>

#include "ATen/ATen.h"

namespace tec {
namespace {

constexpr int64_t kBlock = 4096;  // Rows: 64 MiB of cosines at once.

}  // namespace

std::vector<NearPair> NearPairs(const at::Tensor& values, double threshold) {
  const at::Tensor rows = values / values.norm(2, 1, /*keepdim=*/true).clamp_min(1e-12);
  std::vector<NearPair> pairs;
  for (int64_t i = 0; i < rows.size(0); i += kBlock) {
    const at::Tensor block = rows.slice(0, i, i + kBlock);
    for (int64_t j = i; j < rows.size(0); j += kBlock) {
      const at::Tensor cosines = block.mm(rows.slice(0, j, j + kBlock).t());
      const at::Tensor found = (cosines >= threshold).nonzero();
      const at::Tensor near = cosines.index({found.select(1, 0), found.select(1, 1)}).to(at::kDouble).contiguous();
      const at::Tensor places = found.contiguous();
      for (int64_t p = 0; p < places.size(0); ++p) {
        const int64_t* place = places.const_data_ptr<int64_t>() + 2 * p;
        if (i + place[0] < j + place[1]) {
          pairs.push_back({i + place[0], j + place[1], near.const_data_ptr<double>()[p]});
        }
      }
    }
  }
  std::sort(pairs.begin(), pairs.end(), [](const NearPair& a, const NearPair& b) {
    return std::make_tuple(-a.cosine, a.first, a.second) < std::make_tuple(-b.cosine, b.first, b.second);
  });
  return pairs;
}

}  // namespace tec
