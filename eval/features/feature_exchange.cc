#include "eval/features/feature_exchange.h"

#include <limits>
#include <utility>

#include "ATen/ATen.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"
#include "tec/dist/socket.h"

namespace tec {
namespace {

enum Header { kImages, kRows, kCancelled, kFailed, kBad, kHeaders };

}  // namespace

FeatureExchange::FeatureExchange(ProcessGroup& group, c10::Device device, int64_t batch_size, int64_t width)
    : group_(group),
      device_(device),
      batch_size_(batch_size),
      width_(width),
      buffer_(at::zeros({group.world_size(), kHeaders + batch_size * (1 + width)}, at::kInt)) {}

// Not ProcessGroup::Agree, which is for errors that end the ranks: a monitor's does not.
absl::Status FeatureExchange::ShareError(const absl::Status& own) {
  std::string text;
  if (!own.ok()) {
    text = PayloadWriter().Number(static_cast<int64_t>(own.code())).Text(std::string(own.message())).payload();
  }
  TEC_ASSIGN_OR_RETURN(const std::vector<std::string> texts, group_.Gather(text, "computing features"));
  if (!own.ok()) return own;
  for (int rank = 0; rank < group_.world_size(); ++rank) {
    if (texts[rank].empty()) continue;
    PayloadReader reader(texts[rank]);
    const auto code = static_cast<absl::StatusCode>(reader.Number());
    return absl::Status(code, absl::StrCat(group_.NameOf(rank), ": ", reader.Text()));
  }
  return absl::InternalError("a rank failed and does not say why");
}

absl::StatusOr<std::vector<BatchFeatures>> FeatureExchange::Gather(const absl::StatusOr<BatchFeatures>& own,
                                                                   int64_t bad_images) {
  // Sums of whole numbers, of which one rank alone has one that is not 0: the bits of every feature stay, that of -0.0
  // too.
  buffer_.zero_();
  int32_t* const mine = buffer_[group_.rank()].mutable_data_ptr<int32_t>();
  mine[kBad] = static_cast<int32_t>(bad_images);
  const bool stopped = absl::IsCancelled(own.status());
  mine[kCancelled] = stopped ? 1 : 0;
  mine[kFailed] = !own.ok() && !stopped ? 1 : 0;
  if (own.ok() && own->images > 0) {
    const int64_t rows = own->values.size(0);
    TEC_CHECK(own->images <= batch_size_ && rows <= own->images && own->values.size(1) == width_);
    mine[kImages] = static_cast<int32_t>(own->images);
    mine[kRows] = static_cast<int32_t>(rows);
    at::Tensor row = buffer_[group_.rank()];
    row.narrow(0, kHeaders, rows).copy_(own->labels);  // Of data sets, which have 32 bits.
    row.narrow(0, kHeaders + batch_size_, rows * width_).copy_(own->values.contiguous().view(at::kInt).reshape({-1}));
  }
  if (device_.is_cpu()) {
    TEC_RETURN_IF_ERROR(group_.AllReduceSum(buffer_, "gathering features"));
  } else {
    const at::Tensor there = buffer_.to(device_);
    TEC_RETURN_IF_ERROR(group_.AllReduceSum(there, "gathering features"));
    buffer_.copy_(there);
  }
  const int32_t* const all = buffer_.const_data_ptr<int32_t>();
  const int64_t stride = buffer_.size(1);
  bool any_failed = false, any_stopped = false;
  bad_images_ = images_ = readable_ = 0;
  for (int rank = 0; rank < group_.world_size(); ++rank) {
    const int32_t* const header = all + rank * stride;
    any_failed |= header[kFailed] != 0;
    any_stopped |= header[kCancelled] != 0;
    bad_images_ += header[kBad];
    images_ += header[kImages];
    readable_ += header[kRows];
  }
  if (any_failed) return ShareError(stopped ? absl::OkStatus() : own.status());
  if (any_stopped) return absl::CancelledError("stopped on request");
  std::vector<BatchFeatures> batches;
  if (group_.rank() != 0) return batches;
  for (int rank = 0; rank < group_.world_size(); ++rank) {
    const at::Tensor row = buffer_[rank];
    BatchFeatures batch;
    batch.images = all[rank * stride + kImages];
    const int64_t rows = all[rank * stride + kRows];
    batch.labels = row.narrow(0, kHeaders, rows).to(at::kLong);
    batch.values =
        row.narrow(0, kHeaders + batch_size_, rows * width_).clone().view(at::kFloat).reshape({rows, width_});
    batches.push_back(std::move(batch));
  }
  return batches;
}

}  // namespace tec
