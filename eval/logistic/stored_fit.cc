#include "eval/logistic/stored_fit.h"

#include <map>
#include <utility>

#include "ATen/ATen.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tec/base/file.h"
#include "tec/base/fingerprint.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"
#include "tec/checkpoint/safetensors.h"
#include "tec/checkpoint/torch_tensors.h"

namespace tec {
namespace {

// How FitLogistic comes to its answer. To be changed with it: fits that are stored are then not used.
constexpr char kSolver[] = "L-BFGS of 10 pairs, Armijo, from 0";

constexpr char kWeight[] = "weight";
constexpr char kBias[] = "bias";
constexpr char kMean[] = "mean";
constexpr char kScale[] = "scale";
constexpr char kLoss[] = "loss";
constexpr char kIterations[] = "iterations";
constexpr char kConverged[] = "converged";

absl::Status Write(const std::string& path, const LogisticProbe& probe) {
  return WriteSafetensors(path, ViewsOf({{kWeight, probe.weight},
                                         {kBias, probe.bias},
                                         {kMean, probe.mean},
                                         {kScale, probe.scale},
                                         {kLoss, at::full({}, probe.loss, at::kDouble)},
                                         {kIterations, at::full({}, probe.iterations, at::kLong)},
                                         {kConverged, at::full({}, probe.converged, at::kBool)}}));
}

absl::StatusOr<LogisticProbe> Read(const std::string& path, int64_t classes, int64_t width, c10::Device device) {
  TEC_ASSIGN_OR_RETURN(const Safetensors file, ReadSafetensors(path));
  std::map<std::string, at::Tensor> tensors = TensorsOf(file.tensors);
  const auto is = [&](const char* name, at::ScalarType type, at::IntArrayRef sizes) {
    const at::Tensor& tensor = tensors[name];
    return tensor.defined() && tensor.scalar_type() == type && tensor.sizes() == sizes;
  };
  if (!is(kWeight, at::kDouble, {classes, width}) || !is(kBias, at::kDouble, {classes}) ||
      !is(kMean, at::kDouble, {width}) || !is(kScale, at::kDouble, {width}) || !is(kLoss, at::kDouble, {}) ||
      !is(kIterations, at::kLong, {}) || !is(kConverged, at::kBool, {})) {
    return absl::DataLossError(absl::StrCat(path, " holds no fit of ", width, " features to ", classes, " classes"));
  }
  LogisticProbe probe;
  probe.weight = tensors[kWeight].to(device);
  probe.bias = tensors[kBias].to(device);
  probe.mean = tensors[kMean].to(device);
  probe.scale = tensors[kScale].to(device);
  probe.loss = tensors[kLoss].item<double>();
  probe.iterations = tensors[kIterations].item<int64_t>();
  probe.converged = tensors[kConverged].item<bool>();
  return probe;
}

}  // namespace

uint64_t FingerprintOfProblem(const at::Tensor& features, const at::Tensor& labels) {
  Fingerprint fingerprint;
  for (const at::Tensor& tensor : {features.contiguous(), labels.contiguous()}) {
    TEC_CHECK(tensor.is_cpu());
    fingerprint.Add(tensor.const_data_ptr(), tensor.nbytes());
  }
  return fingerprint.value();
}

absl::StatusOr<StoredFit> FitStored(const std::string& folder, uint64_t problem, const at::Tensor& features,
                                    const at::Tensor& labels, int64_t classes, const LogisticOptions& options) {
  std::string path;
  if (!folder.empty()) {
    Fingerprint key;
    key.Add(kSolver).Add(features.device().str());
    key.Add(&problem, sizeof(problem)).Add(&classes, sizeof(classes));
    key.Add(&options.l2, sizeof(options.l2)).Add(&options.standardise, sizeof(options.standardise));
    key.Add(&options.max_iterations, sizeof(options.max_iterations));
    key.Add(&options.tolerance, sizeof(options.tolerance)).Add(&options.block, sizeof(options.block));
    TEC_RETURN_IF_ERROR(MakeDirectories(folder));
    path = absl::StrFormat("%s/%016x.safetensors", folder, key.value());
    absl::StatusOr<LogisticProbe> probe = Read(path, classes, features.size(1), features.device());
    if (probe.ok()) return StoredFit{*std::move(probe), /*taken=*/true};
    if (!absl::IsNotFound(probe.status())) TEC_LOG(WARNING) << "fitting again: " << probe.status().message();
  }
  TEC_ASSIGN_OR_RETURN(LogisticProbe probe, FitLogistic(features, labels, classes, options));
  if (!path.empty()) TEC_RETURN_IF_ERROR(Write(path, probe));
  return StoredFit{std::move(probe)};
}

}  // namespace tec
