#include "tec/nn/module_state.h"

#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tec/base/nearest_name.h"

namespace tec {
namespace {

std::string Shape(const at::Tensor& tensor) {
  std::ostringstream text;
  text << tensor.sizes();
  return text.str();
}

}  // namespace

NamedTensors NamedState(const torch::nn::Module& model) {
  NamedTensors state;
  for (const auto& item : model.named_parameters()) state.emplace_back(item.key(), item.value());
  return state;
}

NamedTensors NamedTrainable(const torch::nn::Module& model) {
  NamedTensors trainable;
  for (auto& [name, tensor] : NamedState(model)) {
    if (tensor.requires_grad()) trainable.emplace_back(name, tensor);
  }
  return trainable;
}

absl::Status LoadState(torch::nn::Module& model, const TensorMap& state) {
  const NamedTensors own = NamedState(model);
  std::vector<std::string> missing, unexpected, problems;
  TensorMap by_name;
  for (const auto& [name, tensor] : own) {
    by_name.emplace(name, tensor);
    const auto found = state.find(name);
    if (found == state.end()) {
      missing.push_back(name);
    } else if (found->second.sizes() != tensor.sizes()) {
      problems.push_back(absl::StrCat(name, " has shape ", Shape(found->second), ", the model's is ", Shape(tensor)));
    }
  }
  for (const auto& [name, tensor] : state) {
    if (by_name.count(name) == 0) unexpected.push_back(name);
  }
  const bool misshapen = !problems.empty();
  for (const std::string& name : missing) {
    const std::string nearest = NearestName(name, unexpected);
    problems.push_back(
        absl::StrCat(name, " is missing", nearest.empty() ? "" : absl::StrCat(" (there is ", nearest, ")")));
  }
  for (const std::string& name : unexpected) {
    const std::string nearest = NearestName(name, missing);
    problems.push_back(
        absl::StrCat(name, " is unexpected", nearest.empty() ? "" : absl::StrCat(" (meant: ", nearest, "?)")));
  }
  if (!problems.empty()) {
    const std::string message =
        absl::StrCat(problems.size(), " tensors do not fit the model: ", absl::StrJoin(problems, "; "));
    return misshapen || missing.empty() ? absl::InvalidArgumentError(message) : absl::NotFoundError(message);
  }
  at::NoGradGuard no_grad;
  for (const auto& [name, tensor] : own) at::Tensor(tensor).copy_(state.at(name));
  return absl::OkStatus();
}

}  // namespace tec
