#include "eval/dense/knn_segmentation.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "ATen/ATen.h"
#include "ATen/core/grad_mode.h"
#include "eval/knn/nearest.h"
#include "tec/base/logging.h"
#include "tec/nn/parallel.h"

namespace tec {
namespace {

constexpr int64_t kQueriesAtOnce = 256, kBankAtOnce = 65536;

}  // namespace

KnnSegmentation::KnnSegmentation(const at::Tensor& bank, at::Tensor labels, PatchDistance distance,
                                 std::vector<int64_t> k)
    : labels_(labels.contiguous()), distance_(distance), k_(std::move(k)) {
  TEC_CHECK(bank.dim() == 2 && bank.size(0) > 0 && labels_.size(0) == bank.size(0) && !k_.empty());
  TEC_CHECK_GE(*std::min_element(k_.begin(), k_.end()), 1);
  if (distance_ == PatchDistance::kCosine) {
    bank_ = NormaliseRows(bank);
  } else {
    // |q - b|^2 = |q|^2 - 2 (q b - |b|^2 / 2): nearest is where [q, 1] [b, -|b|^2 / 2] is largest.
    bank_ = at::cat({bank, bank.square().sum(1, /*keepdim=*/true).mul_(-0.5)}, 1);
  }
  rows_ = at::arange(bank.size(0), bank.options().dtype(at::kLong));
}

at::Tensor KnnSegmentation::Queries(const at::Tensor& features) const {
  const at::Tensor queries = features.to(bank_.device());
  if (distance_ == PatchDistance::kCosine) return NormaliseRows(queries);
  return at::cat({queries, at::ones({queries.size(0), 1}, queries.options())}, 1);
}

std::vector<at::Tensor> KnnSegmentation::Predict(const at::Tensor& queries) const {
  at::NoGradGuard no_gradient;
  const int64_t m = queries.size(0), width = labels_.size(1), n = bank_.size(0);
  const int64_t most = std::min(n, *std::max_element(k_.begin(), k_.end()));
  std::vector<at::Tensor> predictions;
  for (size_t i = 0; i < k_.size(); ++i) predictions.push_back(at::empty({m, width}, at::kByte));
  // Which of the predictions is ready after so many neighbours.
  std::vector<std::vector<size_t>> ready(most + 1);
  for (size_t i = 0; i < k_.size(); ++i) ready[std::min(k_[i], most)].push_back(i);
  const uint8_t* labels = labels_.const_data_ptr<uint8_t>();
  for (int64_t begin = 0; begin < m; begin += kQueriesAtOnce) {
    const int64_t count = std::min(kQueriesAtOnce, m - begin);
    const at::Tensor part = Queries(queries.narrow(0, begin, count));
    at::Tensor products, similarities, nearest;
    for (int64_t first = 0; first < n; first += kBankAtOnce) {
      const int64_t length = std::min(kBankAtOnce, n - first);
      TakeNearest(part, bank_.narrow(0, first, length), rows_.narrow(0, first, length), most, /*own=*/std::nullopt,
                  &products, &similarities, &nearest);
    }
    const at::Tensor host = nearest.cpu().contiguous();
    at::parallel_for(0, count, 16, [&](int64_t low, int64_t high) {
      std::array<int32_t, 256> counts = {};
      for (int64_t q = low; q < high; ++q) {
        const int64_t* neighbours = host.const_data_ptr<int64_t>() + q * most;
        for (int64_t pixel = 0; pixel < width; ++pixel) {
          // One neighbour after the other: a count that grows can only be overtaken by itself.
          uint8_t best = 0;
          for (int64_t j = 0; j < most; ++j) {
            const uint8_t label = labels[neighbours[j] * width + pixel];
            const int32_t votes = ++counts[label];
            if (j == 0 || votes > counts[best] || (votes == counts[best] && label < best)) best = label;
            for (const size_t i : ready[j + 1]) {
              predictions[i].mutable_data_ptr<uint8_t>()[(begin + q) * width + pixel] = best;
            }
          }
          for (int64_t j = 0; j < most; ++j) counts[labels[neighbours[j] * width + pixel]] = 0;
        }
      }
    });
  }
  return predictions;
}

}  // namespace tec
