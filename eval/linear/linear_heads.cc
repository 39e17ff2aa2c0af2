#include "eval/linear/linear_heads.h"

#include <algorithm>
#include <utility>

#include "ATen/ATen.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/types/span.h"
#include "eval/metrics/accuracy.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"
#include "tec/checkpoint/torch_tensors.h"

namespace tec {

LinearHeads::LinearHeads(const LinearRunOptions& options, const FeatureSpec& whole, int64_t width, int64_t classes,
                         at::Device device)
    : options_(options), whole_(whole), width_(width), classes_(classes) {
  int64_t first_head = 0;
  for (const FeatureSpec& spec : options.features) {
    LinearProbeOptions probe;
    probe.width = spec.Width(width);
    probe.classes = classes;
    probe.lr_scales = options.rates;
    probe.batch_norm = options.batch_norm;
    probe.weight_decay = options.weight_decay;
    probe.optimizer = options.optimizer;
    probes_.push_back(std::make_unique<LinearProbe>(probe, options.frozen.seed, first_head, device));
    first_head += probes_.back()->heads();
  }
}

std::string LinearHeads::NameOf(int64_t head) const {
  const std::string name = tec::NameOf(FeaturesOf(head));
  return options_.rates.size() == 1 ? name : absl::StrFormat("%s, rate %g", name, RateOf(head));
}

int64_t LinearHeads::ParametersOf(int64_t head) const { return (FeaturesOf(head).Width(width_) + 1) * classes_; }

at::Tensor LinearHeads::Accumulate(const at::Tensor& features, const at::Tensor& labels) const {
  std::vector<at::Tensor> losses;
  for (size_t p = 0; p < probes_.size(); ++p) {
    losses.push_back(probes_[p]->Accumulate(SelectFeatures(features, options_.features[p], whole_, width_), labels,
                                            options_.accum_iter));
  }
  return losses.size() == 1 ? losses[0] : at::cat(losses);
}

absl::Status LinearHeads::Average(ProcessGroup& group) const {
  if (group.world_size() == 1) return absl::OkStatus();
  std::vector<at::Tensor> tensors, flat;
  for (const std::unique_ptr<LinearProbe>& probe : probes_) {
    for (const at::Tensor& tensor :
         {probe->weight_gradient(), probe->bias_gradient(), probe->running_mean(), probe->running_var()}) {
      if (!tensor.defined()) continue;
      tensors.push_back(tensor);
      flat.push_back(tensor.reshape({-1}));
    }
  }
  at::Tensor all = at::cat(flat);
  TEC_RETURN_IF_ERROR(group.AllReduceSum(all, "averaging gradients"));
  all.div_(group.world_size());
  int64_t begin = 0;
  for (const at::Tensor& tensor : tensors) {
    tensor.copy_(all.narrow(0, begin, tensor.numel()).view_as(tensor));
    begin += tensor.numel();
  }
  return absl::OkStatus();
}

ReplicatedTensors LinearHeads::Replicated() const {
  ReplicatedTensors replicas;
  for (size_t i = 0; i < probes_.size(); ++i) {
    const LinearProbe& probe = *probes_[i];
    const std::string prefix = absl::StrCat(tec::NameOf(options_.features[i]), ".");
    const auto add = [&](const std::string& name, const at::Tensor& tensor) {
      if (tensor.defined()) replicas.emplace_back(prefix + name, tensor);
    };
    add("weight", probe.weight());
    add("bias", probe.bias());
    add("running_mean", probe.running_mean());
    add("running_var", probe.running_var());
    for (size_t k = 0; k < probe.momentum().size(); ++k) add(absl::StrCat("momentum.", k), probe.momentum()[k]);
  }
  return replicas;
}

void LinearHeads::Step(double lr) const {
  for (const std::unique_ptr<LinearProbe>& probe : probes_) probe->Step(lr);
}

std::vector<LinearHeads::Accuracy> LinearHeads::Evaluate(const Features& features) const {
  constexpr int64_t kMostRows = 256, kMostLogits = int64_t{1} << 24;
  std::vector<Accuracy> result;
  const int64_t images = features.values.size(0);
  const int64_t* labels = features.labels.const_data_ptr<int64_t>();
  for (size_t p = 0; p < probes_.size(); ++p) {
    const int64_t count = probes_[p]->heads();
    const int64_t most_rows = std::clamp<int64_t>(kMostLogits / (count * classes_), 1, kMostRows);
    std::vector<AccuracyCounter> counters(count, AccuracyCounter(classes_));
    at::Tensor loss = at::zeros({count}, at::kDouble);
    for (int64_t begin = 0; begin < images; begin += most_rows) {
      const int64_t rows = std::min(most_rows, images - begin);
      const at::Tensor logits = probes_[p]->Logits(
          SelectFeatures(features.values.narrow(0, begin, rows), options_.features[p], whole_, width_));
      const at::Tensor own = features.labels.narrow(0, begin, rows).to(logits.device()).view({rows, 1, 1});
      loss -= at::log_softmax(logits, 2)
                  .gather(2, own.expand({rows, count, 1}))
                  .to(at::kDouble)
                  .sum(at::IntArrayRef({0, 2}))
                  .cpu();
      const at::Tensor host = logits.cpu().contiguous();
      const float* values = host.const_data_ptr<float>();
      for (int64_t i = 0; i < rows; ++i) {
        for (int64_t r = 0; r < count; ++r) {
          counters[r].Add(absl::Span<const float>(values + (i * count + r) * classes_, classes_), labels[begin + i]);
        }
      }
    }
    for (int64_t r = 0; r < count; ++r) {
      result.push_back({loss[r].item<double>() / static_cast<double>(images), counters[r].top1(), counters[r].top5()});
    }
  }
  return result;
}

void LinearHeads::Save(TrainingState* state) const {
  const auto add = [](StateDict* to, const std::string& name, const at::Tensor& tensor) {
    TEC_CHECK_OK(to->Add(name, ViewOf(tensor)));
  };
  for (size_t i = 0; i < probes_.size(); ++i) {
    const LinearProbe& probe = *probes_[i];
    const std::string prefix = absl::StrCat(tec::NameOf(options_.features[i]), ".");
    add(&state->model, prefix + "weight", probe.weight());
    add(&state->model, prefix + "bias", probe.bias());
    if (options_.batch_norm) {
      add(&state->model, prefix + "running_mean", probe.running_mean());
      add(&state->model, prefix + "running_var", probe.running_var());
    }
    for (size_t k = 0; k < probe.momentum().size(); ++k) {
      add(&state->extra, absl::StrCat(prefix, "momentum.", k), probe.momentum()[k]);
    }
  }
}

absl::Status LinearHeads::Load(const TrainingState& state, const std::string& path) const {
  for (size_t i = 0; i < probes_.size(); ++i) {
    const LinearProbe& probe = *probes_[i];
    const std::string prefix = absl::StrCat(tec::NameOf(options_.features[i]), ".");
    TEC_RETURN_IF_ERROR(CopyNamed(state.model, prefix + "weight", path, probe.weight()));
    TEC_RETURN_IF_ERROR(CopyNamed(state.model, prefix + "bias", path, probe.bias()));
    if (options_.batch_norm) {
      TEC_RETURN_IF_ERROR(CopyNamed(state.model, prefix + "running_mean", path, probe.running_mean()));
      TEC_RETURN_IF_ERROR(CopyNamed(state.model, prefix + "running_var", path, probe.running_var()));
    }
    for (size_t k = 0; k < probe.momentum().size(); ++k) {
      TEC_RETURN_IF_ERROR(CopyNamed(state.extra, absl::StrCat(prefix, "momentum.", k), path, probe.momentum()[k]));
    }
  }
  return absl::OkStatus();
}

// With batch normalisation MAE's `head` is a sequence of the two.
void LinearHeads::SaveOne(int64_t head, int64_t micro_steps, StateDict* model) const {
  const LinearProbe& probe = *probes_[head / options_.rates.size()];
  const int64_t row = head % static_cast<int64_t>(options_.rates.size());
  const auto add = [model](const char* name, const at::Tensor& tensor) {
    TEC_CHECK_OK(model->Add(name, ViewOf(tensor)));
  };
  if (options_.batch_norm) {
    add("head.0.running_mean", probe.running_mean());
    add("head.0.running_var", probe.running_var());
    add("head.0.num_batches_tracked", at::full({}, micro_steps, at::kLong));
    add("head.1.weight", probe.weight()[row]);
    add("head.1.bias", probe.bias()[row]);
  } else {
    add("head.weight", probe.weight()[row]);
    add("head.bias", probe.bias()[row]);
  }
}

at::Tensor SelectFeatures(const at::Tensor& features, const FeatureSpec& part, const FeatureSpec& whole,
                          int64_t encoder_width) {
  const auto [first, count] = ColumnsOf(part, whole, encoder_width);
  return features.narrow(1, first, count);
}

absl::Status CopyNamed(const StateDict& from, const std::string& name, const std::string& path, at::Tensor into) {
  const TensorView* view = from.Find(name);
  if (view != nullptr && CopyInto(*view, std::move(into)).ok()) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(path, ": ", name, " is missing or of another shape"));
}

}  // namespace tec
