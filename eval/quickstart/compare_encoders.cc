#include "eval/quickstart/compare_encoders.h"

#include <memory>
#include <string>
#include <utility>

#include "data/dataset/dataset.h"
#include "eval/features/features.h"
#include "eval/features/pretrained.h"
#include "eval/knn/knn_classifier.h"
#include "eval/linear/logistic.h"
#include "tec/base/status.h"
#include "tec/models/encoder.h"
#include "tec/models/factory.h"
#include "tec/nn/module_state.h"
#include "tec/run/rank_runtime.h"

namespace tec {
namespace {

// What a probe needs: the pictures of both splits, the same for every encoder.
struct Pictures {
  std::shared_ptr<const Dataset> train, test;
};

// The new model as it was before its first step: what training has to beat.
absl::StatusOr<std::shared_ptr<Encoder>> UntrainedEncoder(const config::Experiment& experiment) {
  TEC_ASSIGN_OR_RETURN(std::shared_ptr<TecModel> model, MakeTecModel(experiment));
  TensorMap state;
  for (auto& [name, tensor] : NamedState(*model)) state[name] = tensor;
  auto encoder = std::make_shared<Encoder>(VitOptionsFrom(experiment.model(), experiment.data()));
  TEC_RETURN_IF_ERROR(LoadEncoder(*encoder, state));
  encoder->eval();
  return encoder;
}

absl::StatusOr<std::shared_ptr<Encoder>> TrainedEncoder(const std::string& checkpoint) {
  TEC_ASSIGN_OR_RETURN(const Pretrained pretrained, ReadPretrained(checkpoint));
  return MakeEncoder(pretrained);
}

absl::StatusOr<Features> PictureFeatures(Encoder& encoder, const std::shared_ptr<const Dataset>& dataset,
                                         const config::Data& data) {
  FeatureOptions options;
  // The mean of the patches: MAE's [CLS] token is not trained for anything.
  options.spec = kPoolFeatures;
  options.threads = static_cast<int>(DecodingThreads(data.num_workers()));
  options.mean.assign(data.mean().begin(), data.mean().end());
  options.std.assign(data.std().begin(), data.std().end());
  return ExtractFeatures(encoder, dataset, options);
}

absl::StatusOr<QuickstartRow> Probe(const std::string& name, Encoder& encoder, const Pictures& pictures,
                                    const config::Quickstart& config) {
  TEC_ASSIGN_OR_RETURN(const Features train, PictureFeatures(encoder, pictures.train, config.tec().data()));
  TEC_ASSIGN_OR_RETURN(const Features test, PictureFeatures(encoder, pictures.test, config.tec().data()));
  const int64_t classes = static_cast<int64_t>(pictures.train->classes().size());
  QuickstartRow row;
  row.encoder = name;

  KnnOptions knn_options;
  knn_options.k = {config.knn_k()};
  TEC_ASSIGN_OR_RETURN(const KnnClassifier knn,
                       KnnClassifier::Create(train.values, train.labels, classes, knn_options));
  TEC_ASSIGN_OR_RETURN(const std::vector<KnnAccuracy> accuracy, knn.Evaluate(test.values, test.labels));
  row.knn_top1 = accuracy.front().top1;

  TEC_ASSIGN_OR_RETURN(const LogisticProbe probe, FitLogistic(train.values, train.labels, classes));
  row.linear_top1 = 100.0 * probe.Logits(test.values).argmax(1).eq(test.labels).to(at::kDouble).mean().item<double>();
  return row;
}

}  // namespace

absl::StatusOr<std::vector<QuickstartRow>> CompareEncoders(const config::Quickstart& resolved,
                                                           const QuickstartRuns& runs) {
  Pictures pictures;
  TEC_ASSIGN_OR_RETURN(pictures.train, OpenDataset(runs.pictures, Split::kTrain));
  TEC_ASSIGN_OR_RETURN(pictures.test, OpenDataset(runs.pictures, Split::kHeldOut));
  TEC_ASSIGN_OR_RETURN(const std::shared_ptr<Encoder> untrained, UntrainedEncoder(resolved.tec()));
  TEC_ASSIGN_OR_RETURN(const std::shared_ptr<Encoder> base, TrainedEncoder(runs.base_model));
  TEC_ASSIGN_OR_RETURN(const std::shared_ptr<Encoder> trained, TrainedEncoder(runs.new_model));
  std::vector<QuickstartRow> rows;
  for (const auto& [name, encoder] : {std::pair("untrained", untrained), std::pair("base model (MAE)", base),
                                      std::pair("new model (TEC)", trained)}) {
    TEC_ASSIGN_OR_RETURN(QuickstartRow row, Probe(name, *encoder, pictures, resolved));
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace tec
