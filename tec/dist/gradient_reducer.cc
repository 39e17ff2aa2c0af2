#include "tec/dist/gradient_reducer.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "ATen/ops/empty.h"
#include "c10/core/GradMode.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"
#include "tec/dist/socket.h"
#include "tec/nn/gradient_place.h"
#include "torch/csrc/autograd/variable.h"

namespace tec {
// Called when a backward pass has added its part to the parameter's gradient, once a pass.
class GradientReducer::Hook : public GradientPlace {
 public:
  Hook(GradientReducer* reducer, int64_t parameter) : reducer_(reducer), parameter_(parameter) {}

  void operator()(const torch::autograd::Variable&) override {
    given_ = false;
    reducer_->Ready(parameter_);
  }

  // To the first that asks: a weight that is used twice has two parts, which autograd adds up.
  at::Tensor Give() override {
    const std::unique_lock<std::mutex> lock(reducer_->mutex_);
    if (given_ || reducer_->parameters_[parameter_].grad().defined()) return {};
    given_ = true;
    return SliceOf(*reducer_, parameter_);
  }

  // The parameter's part of its bucket, which is there from the first gradient, of whichever micro-step, to Wait.
  static at::Tensor SliceOf(GradientReducer& reducer, int64_t parameter) {
    const auto [number, offset] = reducer.places_[parameter];
    Bucket& bucket = reducer.buckets_[number];
    const at::Tensor& like = reducer.parameters_[parameter];
    if (!bucket.flat.defined()) bucket.flat = at::empty({bucket.elements}, like.options().requires_grad(false));
    return bucket.flat.narrow(0, offset, like.numel()).view(like.sizes());
  }

 private:
  GradientReducer* reducer_;
  int64_t parameter_;
  bool given_ = false;  // In this backward pass, which goes through one device's functions on one thread.
};

GradientReducer::GradientReducer(ProcessGroup& group, const std::vector<at::Tensor>& parameters, Options options)
    : group_(group), options_(std::move(options)), parameters_(parameters), places_(parameters.size()) {
  if (group_.world_size() == 1) return;
  int64_t bytes = 0;
  for (int64_t i = static_cast<int64_t>(parameters_.size()) - 1; i >= 0; --i) {
    const at::Tensor& parameter = parameters_[i];
    const auto own = static_cast<int64_t>(parameter.nbytes());
    if (buckets_.empty() || bytes + own > options_.bucket_bytes ||
        parameters_[buckets_.back().parameters[0]].scalar_type() != parameter.scalar_type()) {
      buckets_.emplace_back();
      bytes = 0;
    }
    Bucket& bucket = buckets_.back();
    places_[i] = {buckets_.size() - 1, bucket.elements};
    bucket.parameters.push_back(i);
    bucket.elements += parameter.numel();
    bytes += own;
  }
  for (size_t bucket = 0; bucket < buckets_.size(); ++bucket) order_.push_back(bucket);
  for (int64_t i = 0; i < static_cast<int64_t>(parameters_.size()); ++i) {
    TEC_CHECK(torch::autograd::impl::post_acc_grad_hooks(parameters_[i]) == nullptr) << "two reducers of a parameter";
    torch::autograd::impl::set_post_acc_grad_hooks(parameters_[i], std::make_unique<Hook>(this, i));
  }
}

GradientReducer::~GradientReducer() {
  if (buckets_.empty()) return;
  for (const at::Tensor& parameter : parameters_) torch::autograd::impl::set_post_acc_grad_hooks(parameter, nullptr);
}

void GradientReducer::Arm() {
  if (buckets_.empty()) return;
  const std::unique_lock<std::mutex> lock(mutex_);
  TEC_CHECK(!armed_) << "Wait() comes between";
  Begin();
}

void GradientReducer::Begin() {
  armed_ = true;
  taken_.assign(parameters_.size(), false);
  full_.clear();
  for (Bucket& bucket : buckets_) bucket.missing = static_cast<int64_t>(bucket.parameters.size());
}

// On the thread, and the stream, of the backward pass.
void GradientReducer::Ready(int64_t parameter) {
  const std::unique_lock<std::mutex> lock(mutex_);
  if (!armed_) return;
  TEC_CHECK(!taken_[parameter]) << "a second backward pass after Arm()";
  Take(parameter);
  StartFullBuckets();
}

// A gradient that was not made in its bucket moves there, and its own memory is free again; zeros stand for one that is
// not there.
void GradientReducer::Take(int64_t parameter) {
  c10::NoGradGuard no_grad;
  const size_t number = places_[parameter].first;
  Bucket& bucket = buckets_[number];
  at::Tensor gradient = parameters_[parameter];
  const at::Tensor slice = Hook::SliceOf(*this, parameter);
  if (!gradient.grad().defined()) {
    slice.zero_();
  } else if (gradient.grad().const_data_ptr() != slice.const_data_ptr()) {
    slice.copy_(gradient.grad());
    gradient.mutable_grad() = slice;
  }
  taken_[parameter] = true;
  if (--bucket.missing == 0) full_.push_back(number);
}

// In one order, whichever is full first.
void GradientReducer::StartFullBuckets() {
  while (sums_.size() < buckets_.size() && buckets_[order_[sums_.size()]].missing == 0) {
    sums_.push_back(Send(buckets_[order_[sums_.size()]]));
  }
}

int64_t GradientReducer::Send(Bucket& bucket) {
  c10::NoGradGuard no_grad;
  bucket.sent = bucket.flat;
  if (options_.bfloat16 && bucket.flat.scalar_type() == at::kFloat) {
    bucket.sent = bucket.flat.div_(group_.world_size()).to(at::kBFloat16);
  }
  return options_.start_sum ? options_.start_sum(bucket.sent) : group_.StartSum(bucket.sent);
}

absl::Status GradientReducer::Wait() {
  if (buckets_.empty()) return absl::OkStatus();
  c10::NoGradGuard no_grad;
  const std::unique_lock<std::mutex> lock(mutex_);
  const bool learns = armed_ && !learned_;
  if (!armed_) Begin();
  for (size_t i = 0; i < parameters_.size(); ++i) {
    if (!taken_[i]) Take(static_cast<int64_t>(i));
  }
  StartFullBuckets();
  const std::vector<int64_t> sums = std::exchange(sums_, {});
  const absl::Status status =
      options_.finish_sums ? options_.finish_sums(sums) : group_.FinishSums(sums, "averaging gradients");
  armed_ = false;
  for (Bucket& bucket : buckets_) {
    if (status.ok() && bucket.sent.is_same(bucket.flat)) {
      bucket.flat.div_(group_.world_size());
    } else if (status.ok()) {
      bucket.flat.copy_(bucket.sent);
    }
    bucket.flat.reset();  // The gradients hold it.
    bucket.sent.reset();
  }
  return status.ok() && learns ? LearnOrder() : status;
}

absl::Status GradientReducer::LearnOrder() {
  PayloadWriter mine;
  for (const size_t bucket : full_) mine.Number(static_cast<int64_t>(bucket));
  TEC_ASSIGN_OR_RETURN(const std::string first, group_.BroadcastText(mine.payload()));
  PayloadReader reader(first);
  for (size_t& bucket : order_) bucket = static_cast<size_t>(reader.Number());
  std::vector<size_t> sorted = order_;
  std::sort(sorted.begin(), sorted.end());
  for (size_t i = 0; i < sorted.size(); ++i) TEC_CHECK(sorted[i] == i) << "rank 0 has other buckets";
  learned_ = true;
  return absl::OkStatus();
}

std::vector<std::vector<int64_t>> GradientReducer::buckets() const {
  std::vector<std::vector<int64_t>> all;
  for (const Bucket& bucket : buckets_) all.push_back(bucket.parameters);
  return all;
}

}  // namespace tec
