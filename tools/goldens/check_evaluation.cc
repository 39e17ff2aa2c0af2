// The evaluators: nearest neighbours, the linear probe, and what they count.

#include <algorithm>
#include <cmath>
#include <regex>
#include <string>
#include <utility>
#include <vector>

#include "ATen/ops/arange.h"
#include "ATen/ops/argmax.h"
#include "ATen/ops/sort.h"
#include "absl/strings/str_cat.h"
#include "eval/knn/knn_classifier.h"
#include "eval/linear/linear_probe.h"
#include "eval/metrics/accuracy.h"
#include "tec/base/status.h"
#include "tools/goldens/checks.h"
#include "tools/goldens/torch_item.h"

namespace tec {
namespace {

// Of the stored numbers' README.
constexpr double kKnnDoubleTolerance = 1e-9;
constexpr double kKnnFloatTolerance = 1e-4;
constexpr double kProbeTolerance = 1e-5;
// Percent: the reference sums indicators and divides in float32.
constexpr double kPercentTolerance = 100 * 1.2e-7;
// And for kNN in double.
constexpr double kPercentDoubleTolerance = 1e-9;

void ExpectAccuracies(GoldenItem& item, const std::vector<KnnAccuracy>& results, const nlohmann::json& accuracy) {
  for (const KnnAccuracy& result : results) {
    const nlohmann::json& stored = accuracy.at(absl::StrCat(result.k));
    for (const auto& [key, percent] : {std::pair("top1", result.top1), std::pair("top5", result.top5)}) {
      item.Expect(absl::StrCat("k", result.k, ".", key),
                  std::abs(percent - stored.at(key).get<double>()) <= kPercentDoubleTolerance,
                  absl::StrCat(percent, " %, not ", stored.at(key).dump()));
    }
  }
}

}  // namespace

absl::Status CheckKnn(GoldenItem& item) {
  TEC_ASSIGN_OR_RETURN(GoldenTensors * file, item.Tensors(absl::StrCat(item.name(), ".safetensors")));
  TEC_ASSIGN_OR_RETURN(const nlohmann::json config, file->Metadata("config"));
  TEC_ASSIGN_OR_RETURN(const at::Tensor bank, InputTensor(*file, "in.train_features", DType::kFloat32, {-1, -1}));
  TEC_ASSIGN_OR_RETURN(const at::Tensor bank_labels,
                       InputTensor(*file, "in.train_labels", DType::kInt64, {bank.size(0)}));
  TEC_ASSIGN_OR_RETURN(const at::Tensor queries,
                       InputTensor(*file, "in.query_features", DType::kFloat32, {-1, bank.size(1)}));
  TEC_ASSIGN_OR_RETURN(const at::Tensor labels,
                       InputTensor(*file, "in.query_labels", DType::kInt64, {queries.size(0)}));
  KnnOptions options;
  options.k.clear();
  options.temperature = config.at("T");
  const std::regex scores_name(R"(k([0-9]+)\.scores)");
  std::smatch match;
  for (const std::string& name : file->Names("k")) {
    if (std::regex_match(name, match, scores_name)) options.k.push_back(std::stoll(match[1]));
  }
  if (options.k.empty()) return absl::NotFoundError(absl::StrCat(file->file(), " has no tensor k<k>.scores"));

  for (const at::ScalarType type : {at::kDouble, at::kFloat}) {
    TEC_ASSIGN_OR_RETURN(const KnnClassifier knn,
                         KnnClassifier::Create(bank.to(type), bank_labels, config.at("classes"), options));
    const KnnVotes votes = knn.Classify(queries.to(type));
    item.Group(type == at::kDouble ? "k*, in float64" : "k*, in float32");
    for (size_t i = 0; i < options.k.size(); ++i) {
      const std::string prefix = absl::StrCat("k", options.k[i], ".");
      Compare(item, *file, prefix + "scores", votes.scores[i],
              GoldenTolerance::Relative(type == at::kDouble ? kKnnDoubleTolerance : kKnnFloatTolerance));
      Compare(item, *file, prefix + "pred", at::argmax(votes.scores[i], 1), GoldenTolerance::Bits());
      const int64_t k = std::min<int64_t>(options.k[i], votes.neighbours.size(1));
      Compare(item, *file, prefix + "neighbours", std::get<0>(at::sort(votes.neighbours.narrow(1, 0, k), 1)),
              GoldenTolerance::Bits());
    }
    item.Group("");
    if (type != at::kFloat || !file->HasMetadata("accuracy")) continue;
    TEC_ASSIGN_OR_RETURN(const nlohmann::json accuracy, file->Metadata("accuracy"));
    TEC_ASSIGN_OR_RETURN(const std::vector<KnnAccuracy> results, knn.Evaluate(queries, labels));
    ExpectAccuracies(item, results, accuracy);
    // As //eval:knn computes them: the bank in parts, compared a block at a time.
    KnnOptions in_blocks = options;
    in_blocks.bank_block = std::max<int64_t>(1, bank.size(0) / 3);
    in_blocks.query_block = std::max<int64_t>(1, queries.size(0) / 2);
    TEC_ASSIGN_OR_RETURN(KnnStream stream, KnnStream::Create(queries, labels, config.at("classes"), in_blocks));
    for (const at::Tensor& rows : at::arange(bank.size(0), at::kLong).tensor_split(5)) {
      TEC_RETURN_IF_ERROR(stream.AddBank(bank.index_select(0, rows), bank_labels.index_select(0, rows)));
    }
    TEC_ASSIGN_OR_RETURN(const std::vector<KnnAccuracy> streamed, stream.Finish());
    item.Group("the bank in parts");
    ExpectAccuracies(item, streamed, accuracy);
    item.Group("");
  }
  return absl::OkStatus();
}

absl::Status CheckMetrics(GoldenItem& item) {
  TEC_ASSIGN_OR_RETURN(GoldenJson * file, item.Json(absl::StrCat(item.name(), ".json")));
  const nlohmann::json& cases = (*file)["cases"];
  for (size_t i = 0; i < cases.size(); ++i) {
    const nlohmann::json& one = cases[i];
    const auto targets = one.at("target").get<std::vector<int64_t>>();
    const int64_t classes = one.at("classes");
    AccuracyCounter counter(classes);
    const std::string name = absl::StrCat("cases/", i, " ", one.value("name", ""));
    bool sound = classes > 0 && one.at("logits").size() == targets.size();
    for (size_t image = 0; sound && image < targets.size(); ++image) {
      const auto logits = one["logits"][image].get<std::vector<float>>();
      sound = static_cast<int64_t>(logits.size()) == classes && targets[image] >= 0 && targets[image] < classes;
      if (sound) counter.Add(logits, targets[image]);
    }
    if (!sound) {
      item.Fail(name, "logits, targets and classes do not fit");
      continue;
    }
    item.Group("cases/*");
    for (int k = 0; k < 2; ++k) {
      const double percent = k == 0 ? counter.top1() : counter.top5();
      // Where a tie involves the target, any value between both is right.
      const double low = one.at("ties_against_target").at(k), high = one.at("ties_for_target").at(k);
      item.Expect(absl::StrCat(name, k == 0 ? " top1" : " top5"),
                  percent >= low - kPercentTolerance && percent <= high + kPercentTolerance,
                  absl::StrCat(percent, " %, not ", low, " to ", high));
      if (low == high && one.at("reference").is_array()) {
        item.CompareNumber(*file, absl::StrCat("/cases/", i, "/reference/", k), percent,
                           GoldenTolerance::Absolute(kPercentTolerance));
      }
    }
    item.Group("");
  }
  return absl::OkStatus();
}

absl::Status CheckLinearProbe(GoldenItem& item) {
  TEC_ASSIGN_OR_RETURN(GoldenTensors * file, item.Tensors(absl::StrCat(item.name(), ".safetensors")));
  TEC_ASSIGN_OR_RETURN(const nlohmann::json config, file->Metadata("config"));
  LinearProbeOptions options;
  options.width = config.at("dim");
  options.classes = config.at("classes");
  options.weight_decay = config.at("weight_decay");
  options.optimizer.momentum = config.at("momentum");
  options.optimizer.trust_coefficient = config.at("trust_coefficient");
  const double lr = config.at("lr");
  TEC_ASSIGN_OR_RETURN(const at::Tensor features,
                       InputTensor(*file, "in.features", DType::kFloat32, {-1, -1, options.width}));
  const int64_t steps = features.size(0), batch = features.size(1);
  TEC_ASSIGN_OR_RETURN(const at::Tensor labels, InputTensor(*file, "in.labels", DType::kInt64, {steps, batch}));
  TEC_ASSIGN_OR_RETURN(const at::Tensor weight,
                       InputTensor(*file, "in.weight", DType::kFloat32, {options.classes, options.width}));
  TEC_ASSIGN_OR_RETURN(const at::Tensor bias, InputTensor(*file, "in.bias", DType::kFloat32, {options.classes}));
  if (batch < 2) return absl::InvalidArgumentError("batch normalisation needs two images");

  const GoldenTolerance tolerance = GoldenTolerance::Absolute(kProbeTolerance);
  const auto start = [&](LinearProbe& probe) {
    probe.weight()[0].copy_(weight);
    probe.bias()[0].copy_(bias);
  };
  {
    // The logits of training are those of a probe whose running averages are the batch's own.
    LinearProbe probe(options, /*seed=*/0);
    start(probe);
    probe.running_mean().copy_(features[0].mean(0));
    probe.running_var().copy_(features[0].var(at::IntArrayRef({0}), /*unbiased=*/false));
    Compare(item, *file, "logits0", probe.Logits(features[0]).select(1, 0), tolerance);
  }
  LinearProbe probe(options, /*seed=*/0);
  start(probe);
  std::vector<double> losses;
  for (int64_t step = 1; step <= steps; ++step) {
    losses.push_back(probe.Accumulate(features[step - 1], labels[step - 1]).item<double>());
    for (const auto& [name, value] :
         {std::pair("weight", probe.weight_gradient()), std::pair("bias", probe.bias_gradient())}) {
      const std::string stored = absl::StrCat("grad", step - 1, ".", name);
      if (step == 1 || file->Has(stored)) Compare(item, *file, stored, value[0], tolerance);
    }
    probe.Step(lr);
    for (const auto& [name, value] : {std::pair("weight", probe.weight()), std::pair("bias", probe.bias())}) {
      const std::string stored = absl::StrCat("after", step, ".", name);
      if (step == steps || file->Has(stored)) Compare(item, *file, stored, value[0], tolerance);
    }
  }
  item.Compare(*file, "losses", DoublesOf(losses), tolerance);
  Compare(item, *file, "bn.running_mean", probe.running_mean(), tolerance);
  Compare(item, *file, "bn.running_var", probe.running_var(), tolerance);
  Compare(item, *file, "eval.logits", probe.Logits(features[0]).select(1, 0), tolerance);
  return absl::OkStatus();
}

}  // namespace tec
