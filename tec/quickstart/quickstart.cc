#include "tec/quickstart/quickstart.h"

#include <cstdio>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "data/dataset/dataset.h"
#include "data/pictures/made_pictures.h"
#include "eval/features/features.h"
#include "eval/features/pretrained.h"
#include "eval/knn/knn_classifier.h"
#include "eval/linear/logistic.h"
#include "eval/metrics/accuracy.h"
#include "eval/progress/count_progress.h"
#include "nlohmann/json.hpp"
#include "tec/base/file.h"
#include "tec/base/status.h"
#include "tec/models/encoder.h"
#include "tec/models/factory.h"
#include "tec/nn/module_state.h"
#include "tec/train/trainer.h"

namespace tec {
namespace {

// What a probe needs: the pictures of both splits, the same for every encoder.
struct Pictures {
  std::shared_ptr<const Dataset> train, test;
};

absl::StatusOr<Pictures> MakePictures(const config::Pictures& config, const std::string& folder) {
  PictureOptions options;
  options.train_images = config.train_images();
  options.test_images = config.test_images();
  options.size = static_cast<int>(config.size());
  options.seed = config.seed();
  {
    CountProgress progress("pictures", stderr);
    const int64_t total = options.train_images + options.test_images;
    TEC_RETURN_IF_ERROR(WritePictures(options, folder, [&](int64_t done) { progress.Update(done, total); }));
  }
  Pictures pictures;
  TEC_ASSIGN_OR_RETURN(pictures.train, OpenDataset(folder, Split::kTrain));
  TEC_ASSIGN_OR_RETURN(pictures.test, OpenDataset(folder, Split::kHeldOut));
  return pictures;
}

// The last checkpoint of the run.
absl::StatusOr<std::string> TrainToTheEnd(const config::Experiment& experiment) {
  TEC_ASSIGN_OR_RETURN(const TrainResult result, Train(experiment, TrainOptions()));
  if (result.stopped) return absl::CancelledError("stopped and saved; the same command goes on from here");
  return result.checkpoint;
}

// The new model as it was before its first step: what training has to beat.
absl::StatusOr<std::shared_ptr<Encoder>> UntrainedEncoder(const config::Experiment& experiment) {
  TEC_ASSIGN_OR_RETURN(std::shared_ptr<TecModel> model, MakeTecModel(experiment));
  TensorMap state;
  for (auto& [name, tensor] : NamedState(*model)) state[name] = tensor;
  auto encoder = std::make_shared<Encoder>(VitOptionsFrom(experiment.model().encoder(), experiment.data()));
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
  options.threads = static_cast<int>(data.num_workers());
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

absl::Status WriteResults(const config::Quickstart& config, const QuickstartResult& result) {
  nlohmann::ordered_json json;
  json["knn_k"] = config.knn_k();
  json["classes"] = PictureClasses().size();
  json["train_images"] = config.pictures().train_images();
  json["test_images"] = config.pictures().test_images();
  json["seed"] = config.pictures().seed();
  json["seconds"] = result.seconds;
  for (const QuickstartRow& row : result.rows) {
    json["encoders"].push_back(
        {{"encoder", row.encoder}, {"knn_top1", row.knn_top1}, {"linear_top1", row.linear_top1}});
  }
  return WriteFile(config.output_dir() + "/results.json", json.dump(2) + "\n");
}

void Announce(const std::string& line) {
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

}  // namespace

std::string FormatRows(const std::vector<QuickstartRow>& rows) {
  std::string text = absl::StrFormat("%-18s %10s %12s\n", "encoder", "kNN top-1", "linear top-1");
  for (const QuickstartRow& row : rows) {
    absl::StrAppendFormat(&text, "%-18s %9.1f%% %11.1f%%\n", row.encoder, row.knn_top1, row.linear_top1);
  }
  return text;
}

absl::StatusOr<QuickstartResult> RunQuickstart(const config::Quickstart& resolved) {
  const absl::Time start = absl::Now();
  const std::string& folder = resolved.output_dir();
  QuickstartResult result;
  Announce(absl::StrCat("Quickstart: everything goes to ", folder));
  Announce(absl::StrFormat("\n[1/4] Pictures: %d to train on, %d held out, %d classes told apart by shape",
                           resolved.pictures().train_images(), resolved.pictures().test_images(),
                           PictureClasses().size()));
  TEC_ASSIGN_OR_RETURN(const Pictures pictures, MakePictures(resolved.pictures(), folder + "/pictures"));

  Announce("\n[2/4] Base model: a masked autoencoder learns to predict pixels");
  TEC_ASSIGN_OR_RETURN(const std::string mae_checkpoint, TrainToTheEnd(resolved.mae()));
  Announce("\n[3/4] New model: TEC learns to predict the base model's features and relations");
  TEC_ASSIGN_OR_RETURN(const std::string tec_checkpoint, TrainToTheEnd(resolved.tec()));

  Announce("\n[4/4] Frozen features of the three encoders, on the held-out pictures");
  TEC_ASSIGN_OR_RETURN(const std::shared_ptr<Encoder> untrained, UntrainedEncoder(resolved.tec()));
  TEC_ASSIGN_OR_RETURN(const std::shared_ptr<Encoder> base, TrainedEncoder(mae_checkpoint));
  TEC_ASSIGN_OR_RETURN(const std::shared_ptr<Encoder> trained, TrainedEncoder(tec_checkpoint));
  for (const auto& [name, encoder] : {std::pair("untrained", untrained), std::pair("base model (MAE)", base),
                                      std::pair("new model (TEC)", trained)}) {
    TEC_ASSIGN_OR_RETURN(QuickstartRow row, Probe(name, *encoder, pictures, resolved));
    result.rows.push_back(std::move(row));
  }
  result.seconds = absl::ToDoubleSeconds(absl::Now() - start);
  TEC_RETURN_IF_ERROR(WriteResults(resolved, result));
  Announce(absl::StrCat("\n", FormatRows(result.rows)));
  Announce(
      absl::StrFormat("%.0f s in all. Pictures: %s/pictures   base model: %s   new model: %s\n"
                      "This table: %s/results.json",
                      result.seconds, folder, mae_checkpoint, tec_checkpoint, folder));
  return result;
}

}  // namespace tec
