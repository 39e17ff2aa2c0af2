// The evaluations of frozen features.
//
//   ./bazelw run //benchmarks/eval:evaluators
//   ./bazelw run //benchmarks/eval:evaluators -- --benchmark_filter=Knn/1281167     # ImageNet's bank, 8 GiB
//
// Knn/BANK: 1000 classes, 768 features, k 10, 20, 100 and 200 at once; queries/s. The same by DINO's way in PyTorch:
// //benchmarks/peers:knn.
//
// Sweep/HEADS: one update of a linear sweep on a small encoder (width 192, 12 blocks, patch 16, 224 pixels, 16 images),
// cls+pool features, 1000 classes; heads/s counts a head that has seen an image. against_separate: the same heads one
// run after the other, encoder included, measured in the same process.

#include <time.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "ATen/ATen.h"
#include "ATen/core/grad_mode.h"
#include "benchmark/benchmark.h"
#include "eval/features/feature_spec.h"
#include "eval/knn/knn_classifier.h"
#include "eval/linear/linear_probe.h"
#include "tec/base/logging.h"
#include "tec/nn/initialise.h"

namespace tec {
namespace {

constexpr int64_t kClasses = 1000;

double Seconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

void BM_Knn(benchmark::State& state) {
  constexpr int64_t kWidth = 768, kQueries = 500;
  const int64_t bank = state.range(0);
  at::Tensor features = at::empty({bank, kWidth}), queries = at::empty({kQueries, kWidth});
  features.uniform_(-1, 1);
  queries.uniform_(-1, 1);
  const auto knn =
      KnnClassifier::Create(features, at::arange(bank, at::kLong).remainder(kClasses), kClasses, KnnOptions());
  TEC_CHECK_OK(knn);
  features = at::Tensor();
  const at::Tensor labels = at::zeros({kQueries}, at::kLong);
  for (auto _ : state) {
    const auto result = knn->Evaluate(queries, labels);
    TEC_CHECK_OK(result);
    benchmark::DoNotOptimize(result->front().top1);
  }
  state.counters["queries/s"] =
      benchmark::Counter(static_cast<double>(state.iterations() * kQueries), benchmark::Counter::kIsRate);
}
BENCHMARK(BM_Knn)->Name("Knn")->Arg(100000)->Arg(1281167)->Unit(benchmark::kMillisecond)->UseRealTime();

class Sweep {
 public:
  explicit Sweep(int64_t heads) : encoder_(kEncoder) {
    InitialisePretraining(encoder_, 1);
    LinearProbeOptions options;
    options.width = kSpec.Width(kEncoder.width);
    options.classes = kClasses;
    options.lr_scales.assign(heads, 0.1);
    options.batch_norm = false;
    options.optimizer.trust_coefficient = 0;
    probe_ = std::make_unique<LinearProbe>(options, 1);
  }

  void Update() {
    at::NoGradGuard no_gradient;
    probe_->Accumulate(ComputeFeatures(encoder_, images_, kSpec), labels_);
    probe_->Step(0.1);
  }

  static constexpr int64_t kImages = 16;

 private:
  static inline const VitOptions kEncoder = {224, 16, 192, 12, 3};
  static constexpr FeatureSpec kSpec = {1, FeatureSpec::PatchMean::kAfterNorm};

  Encoder encoder_;
  std::unique_ptr<LinearProbe> probe_;
  at::Tensor images_ = at::ones({kImages, 3, 224, 224});
  at::Tensor labels_ = at::arange(kImages, at::kLong);
};

void BM_Sweep(benchmark::State& state) {
  const int64_t heads = state.range(0);
  Sweep together(heads), alone(1);
  together.Update();
  alone.Update();
  double seconds_together = 0, seconds_alone = 0;
  for (auto _ : state) {
    const double begin = Seconds();
    together.Update();
    const double middle = Seconds();
    // Taking turns, so that a machine that slows down slows both.
    alone.Update();
    const double end = Seconds();
    seconds_together += middle - begin;
    seconds_alone += end - middle;
    state.SetIterationTime(middle - begin);
  }
  state.counters["heads/s"] = static_cast<double>(state.iterations() * heads * Sweep::kImages) / seconds_together;
  state.counters["against_separate"] = static_cast<double>(heads) * seconds_alone / seconds_together;
}
BENCHMARK(BM_Sweep)->Name("Sweep")->Arg(13)->Arg(45)->Unit(benchmark::kMillisecond)->UseManualTime();

}  // namespace
}  // namespace tec

BENCHMARK_MAIN();
