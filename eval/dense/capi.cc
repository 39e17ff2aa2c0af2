#include "eval/dense/capi.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "ATen/ATen.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "eval/dense/knn_segmentation.h"
#include "eval/dense/overlays.h"
#include "eval/dense/patches.h"
#include "eval/dense/segmentation_score.h"
#include "eval/logistic/stored_fit.h"
#include "tec/base/random.h"
#include "tec/base/status.h"
#include "tec/run/count_progress.h"

namespace tec {
namespace {

constexpr PatchDistance kDistances[] = {PatchDistance::kCosine, PatchDistance::kL2};
const char* NameOf(PatchDistance distance) { return distance == PatchDistance::kCosine ? "cosine" : "L2"; }

// Patches of many pictures.
struct Patches {
  at::Tensor features;  // float32 [n, C]
  at::Tensor labels;    // uint8 [n, P * P]
};

at::Tensor Flat(const at::Tensor& batch) { return batch.reshape({-1, batch.size(2)}); }

absl::Span<const uint8_t> Bytes(const at::Tensor& values) {
  return {values.const_data_ptr<uint8_t>(), static_cast<size_t>(values.numel())};
}

// Numbers of patches [n] as numbers of their pixels [n, width].
at::Tensor Spread(const at::Tensor& numbers, int64_t width) {
  return numbers.unsqueeze(1).expand({numbers.size(0), width}).contiguous();
}

class Capi {
 public:
  Capi(const FrozenEncoder& encoder, const FrozenSettings& settings, const SegmentationData& data,
       const CapiOptions& options)
      : encoder_(encoder), settings_(settings), data_(data), options_(options) {}

  absl::StatusOr<nlohmann::ordered_json> Run();

 private:
  absl::Status ForEach(const std::shared_ptr<const MaskedPictures>& pictures, const std::string& what,
                       const char* bad_images, const std::function<absl::Status(const PatchBatch&)>& sink,
                       int64_t* unreadable);
  absl::StatusOr<Patches> Read(const std::shared_ptr<const MaskedPictures>& pictures, const std::string& what);
  at::Tensor Standardise(const at::Tensor& features) const { return (features - mean_).div_(deviation_); }
  // Those whose most frequent number is a class; *kept_numbers: that number.
  absl::StatusOr<Patches> WithClass(const Patches& patches, at::Tensor* kept_numbers) const;
  void ChooseKnn(const Patches& fitted, const Patches& validation);
  absl::StatusOr<LogisticProbe> Fit(const Patches& patches, const at::Tensor& numbers, double c);
  at::Tensor PredictLogistic(const LogisticProbe& probe, const at::Tensor& features) const;
  absl::Status ChooseC(const Patches& fitted, const at::Tensor& numbers, const Patches& validation);

  const FrozenEncoder& encoder_;
  const FrozenSettings& settings_;
  const SegmentationData& data_;
  const CapiOptions& options_;
  at::Tensor mean_, deviation_;   // float32 [C]
  std::vector<int64_t> classes_;  // Numbers that the logistic regression tells apart.
  int64_t k_ = 0, unreadable_train_ = 0;
  PatchDistance distance_ = PatchDistance::kCosine;
  double c_ = 0;
  nlohmann::ordered_json knn_choices_, logistic_choices_;
};

absl::Status Capi::ForEach(const std::shared_ptr<const MaskedPictures>& pictures, const std::string& what,
                           const char* bad_images, const std::function<absl::Status(const PatchBatch&)>& sink,
                           int64_t* unreadable) {
  CountProgress progress(what, stderr);
  FeatureOptions options = settings_.features;
  options.progress = [&](int64_t done, int64_t total) { progress.Update(done, total); };
  if (!settings_.output_dir.empty()) options.bad_images_path = absl::StrCat(settings_.output_dir, "/", bad_images);
  return ForEachPatchBatch(*encoder_.encoder, pictures, options, sink, unreadable);
}

absl::StatusOr<Patches> Capi::Read(const std::shared_ptr<const MaskedPictures>& pictures, const std::string& what) {
  const VitOptions& vit = encoder_.encoder->options();
  const int64_t most = pictures->size() * vit.patches();
  Patches patches = {at::empty({most, vit.width}, at::kFloat),
                     at::empty({most, vit.patch_size * vit.patch_size}, at::kByte)};
  int64_t rows = 0;
  TEC_RETURN_IF_ERROR(ForEach(
      pictures, what, "bad_images.txt",
      [&](const PatchBatch& batch) {
        const int64_t count = batch.features.size(0) * batch.features.size(1);
        patches.features.narrow(0, rows, count).copy_(Flat(batch.features));
        patches.labels.narrow(0, rows, count).copy_(Flat(batch.labels));
        rows += count;
        return absl::OkStatus();
      },
      &unreadable_train_));
  return Patches{patches.features.narrow(0, 0, rows), patches.labels.narrow(0, 0, rows)};
}

absl::StatusOr<Patches> Capi::WithClass(const Patches& patches, at::Tensor* kept_numbers) const {
  const at::Tensor numbers = MostFrequent(patches.labels);
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < numbers.size(0); ++i) {
    const int number = numbers.const_data_ptr<uint8_t>()[i];
    if (std::find(data_.ignored.begin(), data_.ignored.end(), number) == data_.ignored.end()) rows.push_back(i);
  }
  if (rows.empty()) {
    return absl::InvalidArgumentError(
        "no training patch has a class: all numbers in the masks are ignored ones (--ignore)");
  }
  const at::Tensor index = at::tensor(rows, at::kLong);
  *kept_numbers = numbers.index_select(0, index);
  return Patches{patches.features.index_select(0, index), patches.labels.index_select(0, index)};
}

void Capi::ChooseKnn(const Patches& fitted, const Patches& validation) {
  std::vector<std::vector<SegmentationScore>> scores;
  for (const PatchDistance distance : kDistances) {
    const KnnSegmentation knn(fitted.features.to(encoder_.device), fitted.labels, distance, options_.k);
    const std::vector<at::Tensor> predictions = knn.Predict(validation.features);
    scores.emplace_back();
    for (const at::Tensor& prediction : predictions) {
      scores.back().emplace_back(data_.ignored);
      scores.back().back().Add(Bytes(validation.labels), Bytes(prediction));
    }
  }
  std::printf("\nkNN on the validation pictures:\n%8s %10s %10s %10s\n", "k", "distance", "mean IoU", "accuracy");
  double best = -1;
  for (size_t i = 0; i < options_.k.size(); ++i) {
    for (size_t d = 0; d < scores.size(); ++d) {
      const SegmentationScore& score = scores[d][i];
      std::printf("%8d %10s %10.2f %10.2f\n", static_cast<int>(options_.k[i]), NameOf(kDistances[d]), score.MeanIou(),
                  score.Accuracy());
      knn_choices_.push_back({{"k", options_.k[i]},
                              {"distance", NameOf(kDistances[d])},
                              {"miou", score.MeanIou()},
                              {"accuracy", score.Accuracy()}});
      if (score.MeanIou() > best) {
        best = score.MeanIou();
        k_ = options_.k[i];
        distance_ = kDistances[d];
      }
    }
  }
  std::fflush(stdout);
}

absl::StatusOr<LogisticProbe> Capi::Fit(const Patches& patches, const at::Tensor& numbers, double c) {
  // Classes in the order of their numbers.
  std::vector<int64_t> place(256, -1);
  classes_.clear();
  const at::Tensor present = at::bincount(numbers, {}, 256);
  for (int64_t number = 0; number < 256; ++number) {
    if (present[number].item<int64_t>() == 0) continue;
    place[number] = static_cast<int64_t>(classes_.size());
    classes_.push_back(number);
  }
  const at::Tensor labels = at::tensor(place, at::kLong).index_select(0, numbers.to(at::kLong));
  LogisticOptions options;
  options.stop = settings_.features.stop;
  options.l2 = 1 / (c * static_cast<double>(patches.features.size(0)));
  options.standardise = false;
  options.max_iterations = options_.max_iterations;
  options.tolerance = options_.tolerance;
  const std::string folder = settings_.output_dir.empty() ? "" : settings_.output_dir + "/fits";
  const uint64_t problem = folder.empty() ? 0 : FingerprintOfProblem(patches.features, labels);
  absl::StatusOr<StoredFit> fit = FitStored(folder, problem, patches.features.to(encoder_.device),
                                            labels.to(encoder_.device), static_cast<int64_t>(classes_.size()), options);
  if (absl::IsCancelled(fit.status())) {
    std::printf("stopped while fitting with C = %g; %s\n", c,
                folder.empty() ? "without --output_dir no fit is kept"
                               : absl::StrCat("the fits done are kept in ", folder).c_str());
  }
  TEC_RETURN_IF_ERROR(fit.status());
  return fit->probe;
}

at::Tensor Capi::PredictLogistic(const LogisticProbe& probe, const at::Tensor& features) const {
  constexpr int64_t kRows = 16384;
  std::vector<at::Tensor> parts;
  for (int64_t begin = 0; begin < features.size(0); begin += kRows) {
    const int64_t rows = std::min(kRows, features.size(0) - begin);
    parts.push_back(probe.Logits(features.narrow(0, begin, rows).to(encoder_.device)).argmax(1).cpu());
  }
  return at::tensor(classes_, at::kLong).index_select(0, at::cat(parts)).to(at::kByte);
}

absl::Status Capi::ChooseC(const Patches& fitted, const at::Tensor& numbers, const Patches& validation) {
  std::printf("\nlogistic regression on the validation pictures:\n%10s %10s %10s %11s\n", "C", "mean IoU", "accuracy",
              "iterations");
  double best = -1;
  for (const double c : options_.c) {
    TEC_ASSIGN_OR_RETURN(const LogisticProbe probe, Fit(fitted, numbers, c));
    SegmentationScore score(data_.ignored);
    score.Add(Bytes(validation.labels),
              Bytes(Spread(PredictLogistic(probe, validation.features), validation.labels.size(1))));
    std::printf("%10.3g %10.2f %10.2f %11d%s\n", c, score.MeanIou(), score.Accuracy(),
                static_cast<int>(probe.iterations), probe.converged ? "" : "   not converged");
    std::fflush(stdout);
    logistic_choices_.push_back({{"c", c},
                                 {"miou", score.MeanIou()},
                                 {"accuracy", score.Accuracy()},
                                 {"iterations", probe.iterations},
                                 {"converged", probe.converged}});
    if (score.MeanIou() > best) {
      best = score.MeanIou();
      c_ = c;
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<nlohmann::ordered_json> Capi::Run() {
  const int64_t pictures = data_.train->size();
  if (pictures < 2) return absl::InvalidArgumentError("one training picture: there is none to choose settings by");
  RandomStream random(RandomKey{settings_.seed, RandomPurpose::kSplit, 0, 0});
  const std::vector<int64_t> order = RandomPermutation(pictures, random);
  const int64_t aside = std::max<int64_t>(1, static_cast<int64_t>(options_.validation_fraction * pictures));
  if (aside >= pictures) return absl::InvalidArgumentError("--validation_fraction leaves no picture to fit to");
  TEC_ASSIGN_OR_RETURN(Patches fitted,
                       Read(data_.train->Subset({order.begin() + aside, order.end()}), "training pictures"));
  TEC_ASSIGN_OR_RETURN(Patches validation,
                       Read(data_.train->Subset({order.begin(), order.begin() + aside}), "validation pictures"));
  // scikit-learn's StandardScaler: a constant feature is only moved to 0.
  const auto [variance, mean] = at::var_mean(fitted.features.to(at::kDouble), {0}, /*unbiased=*/false);
  const at::Tensor deviation = variance.sqrt();
  mean_ = mean.to(at::kFloat);
  deviation_ =
      at::where(deviation <= 1e-10 * mean.abs().clamp_min(1e-300), at::ones_like(deviation), deviation).to(at::kFloat);
  fitted.features = Standardise(fitted.features);
  validation.features = Standardise(validation.features);
  at::Tensor numbers, all_numbers;
  {
    TEC_ASSIGN_OR_RETURN(const Patches with_class, WithClass(fitted, &numbers));
    if (options_.knn) ChooseKnn(with_class, validation);
    if (options_.logistic) TEC_RETURN_IF_ERROR(ChooseC(with_class, numbers, validation));
  }
  TEC_ASSIGN_OR_RETURN(const Patches all, WithClass({at::cat({fitted.features, validation.features}),
                                                     at::cat({fitted.labels, validation.labels})},
                                                    &all_numbers));
  fitted = validation = Patches();
  std::optional<KnnSegmentation> knn;
  std::optional<LogisticProbe> probe;
  std::vector<std::string> panels = {"picture", "mask"};
  if (options_.knn) {
    knn.emplace(all.features.to(encoder_.device), all.labels, distance_, std::vector<int64_t>{k_});
    panels.push_back("kNN");
  }
  if (options_.logistic) {
    TEC_ASSIGN_OR_RETURN(probe, Fit(all, all_numbers, c_));
    panels.push_back("logistic regression");
  }
  SegmentationScore knn_score(data_.ignored), logistic_score(data_.ignored);
  OverlayWriter overlays(settings_.output_dir, data_.held_out->size(), options_.pictures, panels, data_.ignored);
  int64_t unreadable = 0;
  const int64_t patch_size = encoder_.encoder->options().patch_size;
  TEC_RETURN_IF_ERROR(ForEach(
      data_.held_out, "held-out pictures", "bad_images_val.txt",
      [&](const PatchBatch& batch) -> absl::Status {
        const at::Tensor features = Standardise(Flat(batch.features)), labels = Flat(batch.labels);
        std::vector<at::Tensor> masks = {MasksOf(batch.labels, patch_size)};
        if (knn) {
          const at::Tensor predicted = knn->Predict(features)[0];
          knn_score.Add(Bytes(labels), Bytes(predicted));
          masks.push_back(MasksOf(predicted.view_as(batch.labels), patch_size));
        }
        if (probe) {
          const at::Tensor predicted = Spread(PredictLogistic(*probe, features), labels.size(1));
          logistic_score.Add(Bytes(labels), Bytes(predicted));
          masks.push_back(MasksOf(predicted.view_as(batch.labels), patch_size));
        }
        for (size_t i = 0; i < batch.indices.size(); ++i) {
          std::vector<at::Tensor> of_picture;
          for (const at::Tensor& mask : masks) of_picture.push_back(mask[static_cast<int64_t>(i)]);
          TEC_RETURN_IF_ERROR(overlays.Add(batch.indices[i], data_.held_out->name(batch.indices[i]),
                                           batch.pixels[static_cast<int64_t>(i)], of_picture));
        }
        return absl::OkStatus();
      },
      &unreadable));

  nlohmann::ordered_json names = nlohmann::ordered_json::array();
  for (int64_t i = 0; i < aside; ++i) names.push_back(data_.train->name(order[i]));
  nlohmann::ordered_json json = {{"validation_images", names},
                                 {"unreadable_train_images", unreadable_train_},
                                 {"unreadable_test_images", unreadable}};
  std::printf("\non the held-out pictures, fitted to all training pictures:\n");
  if (knn) {
    json["knn"] = knn_score.ToJson(data_);
    json["knn"]["k"] = k_;
    json["knn"]["distance"] = NameOf(distance_);
    json["knn"]["choices"] = knn_choices_;
    std::printf("kNN, k %d, %s: mean IoU %.2f, accuracy %.2f\n", static_cast<int>(k_), NameOf(distance_),
                knn_score.MeanIou(), knn_score.Accuracy());
  }
  if (probe) {
    json["logistic"] = logistic_score.ToJson(data_);
    json["logistic"]["c"] = c_;
    json["logistic"]["converged"] = probe->converged;
    json["logistic"]["choices"] = logistic_choices_;
    std::printf("logistic regression, C %.3g: mean IoU %.2f, accuracy %.2f\n", c_, logistic_score.MeanIou(),
                logistic_score.Accuracy());
  }
  json["pictures"] = overlays.ToJson();
  return json;
}

}  // namespace

std::vector<double> CapiGrid() {
  std::vector<double> grid;
  for (int i = 0; i < 8; ++i) grid.push_back(std::pow(10, -6 + 11.0 * i / 7));
  return grid;
}

absl::StatusOr<nlohmann::ordered_json> RunCapi(const FrozenEncoder& encoder, const FrozenSettings& settings,
                                               const SegmentationData& data, const CapiOptions& options) {
  return Capi(encoder, settings, data, options).Run();
}

}  // namespace tec
