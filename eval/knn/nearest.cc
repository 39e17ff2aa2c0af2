#include "eval/knn/nearest.h"

#include <algorithm>
#include <limits>
#include <tuple>

#include "ATen/ATen.h"

namespace tec {

at::Tensor NormaliseRows(const at::Tensor& features) {
  return features / features.norm(2, {1}, /*keepdim=*/true).clamp_min(1e-12);
}

void TakeNearest(const at::Tensor& queries, const at::Tensor& block, const at::Tensor& ids, int64_t k,
                 std::optional<int64_t> own, at::Tensor* products, at::Tensor* similarities, at::Tensor* nearest_ids) {
  at::Tensor& all = *products;
  if (!all.defined()) all = at::empty({0}, queries.options());
  all.resize_({queries.size(0), block.size(0)});
  at::mm_out(all, queries, block.t());
  if (own && *own < all.size(1) && -*own < all.size(0)) {
    all.diagonal(*own).fill_(-std::numeric_limits<double>::infinity());
  }
  auto [nearest, places] = all.topk(std::min(k, all.size(1)), 1, /*largest=*/true, /*sorted=*/true);
  at::Tensor names = ids.index_select(0, places.reshape({-1})).view_as(places);
  if (similarities->defined()) {
    // Those so far stand first: among equals the earlier row stays.
    const at::Tensor both = at::cat({*similarities, nearest}, 1);
    const at::Tensor both_names = at::cat({*nearest_ids, names}, 1);
    std::tie(nearest, places) = both.topk(std::min(k, both.size(1)), 1, true, true);
    names = both_names.gather(1, places);
  }
  *similarities = nearest;
  *nearest_ids = names;
}

}  // namespace tec
