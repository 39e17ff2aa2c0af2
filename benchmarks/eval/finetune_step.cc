// One finetuning step as //eval:finetune does it: forward with stochastic depth, loss with smoothed labels, backward,
// gradient norm, AdamW with layer-wise decay.
//
//   ./bazelw run //benchmarks/eval:finetune_step
//   ./bazelw run //benchmarks/eval:finetune_step -- --benchmark_filter=vit_small/bfloat16
//   ./bazelw run --config=cuda //benchmarks/eval:finetune_step -- --benchmark_filter=cuda
//
// images/s by wall-clock time. The same of timm in Python: //benchmarks/peers:finetune.

#include "eval/finetune/finetune_step.h"

#include <cmath>
#include <cstdint>
#include <vector>

#include "ATen/ATen.h"
#include "ATen/Parallel.h"
#include "benchmark/benchmark.h"
#include "tec/base/logging.h"
#include "tec/models/encoder.h"
#include "tec/nn/drop_path.h"
#include "tec/nn/initialise.h"
#include "tec/nn/module_state.h"
#include "tec/optim/adamw.h"
#include "tec/optim/parameter_groups.h"
#include "tec/train/rank_runtime.h"

namespace tec {
namespace {

constexpr VitOptions kSmall = {224, 16, 384, 12, 6}, kBase = {224, 16, 768, 12, 12};

void BM_FinetuneStep(benchmark::State& state, const VitOptions& encoder, at::ScalarType precision,
                     at::DeviceType device = at::kCPU) {
  if (device == at::kCUDA && !at::globalContext().hasCUDA()) {
    state.SkipWithError("no CUDA device, or a build without --config=cuda");
    return;
  }
  const int64_t batch = state.range(0);
  FinetuneOptions options;
  options.encoder = encoder;
  options.classes = 1000;
  options.drop_path = 0.1;
  FinetuneModel model(options);
  InitialiseFinetuning(model, 1);
  model.to(device);
  AdamW optimizer(FinetuningGroups(NamedTrainable(model), encoder.depth, 0.05, 0.65), {0.9, 0.999, 1e-8});
  FinetuneStepOptions step_options;
  step_options.smoothing = 0.1;
  step_options.precision = precision;
  FinetuneStep step(model, optimizer, step_options);
  const at::Tensor images =
      (at::arange(batch * 3 * 224 * 224, at::kFloat) * 0.37).sin().view({batch, 3, 224, 224}).to(device);
  const at::Tensor labels = at::arange(batch, at::kLong).to(device);
  std::vector<int64_t> samples(batch);
  for (int64_t i = 0; i < batch; ++i) samples[i] = i;

  uint64_t epoch = 0;
  const auto update = [&] {
    const at::Tensor loss =
        step.Accumulate(images, labels, DropPathUniforms(/*seed=*/1, epoch++, samples, encoder.depth).to(device));
    const FinetuneStep::Update done = step.Finish(1e-4);
    TEC_CHECK(std::isfinite(loss.item<double>()) && !done.skipped);
  };
  KeepFreedMemory();
  update();  // Allocates the memory.
  for (auto _ : state) update();
  state.counters["images/s"] =
      benchmark::Counter(static_cast<double>(state.iterations() * batch), benchmark::Counter::kIsRate);
  state.counters["threads"] = at::get_num_threads();
}

BENCHMARK_CAPTURE(BM_FinetuneStep, vit_small / float32, kSmall, at::kFloat)
    ->Name("FinetuneStep/vit_small/float32")
    ->Arg(8)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime()
    ->Iterations(3);
BENCHMARK_CAPTURE(BM_FinetuneStep, vit_small / bfloat16, kSmall, at::kBFloat16)
    ->Name("FinetuneStep/vit_small/bfloat16")
    ->Arg(8)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime()
    ->Iterations(3);
BENCHMARK_CAPTURE(BM_FinetuneStep, vit_base / bfloat16, kBase, at::kBFloat16)
    ->Name("FinetuneStep/vit_base/bfloat16")
    ->Arg(8)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime()
    ->Iterations(3);
BENCHMARK_CAPTURE(BM_FinetuneStep, vit_base / float32, kBase, at::kFloat)
    ->Name("FinetuneStep/vit_base/float32")
    ->Arg(8)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime()
    ->Iterations(3);
BENCHMARK_CAPTURE(BM_FinetuneStep, cuda / vit_base / bfloat16, kBase, at::kBFloat16, at::kCUDA)
    ->Name("FinetuneStep/cuda/vit_base/bfloat16")
    ->Arg(128)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime()
    ->Iterations(20);
BENCHMARK_CAPTURE(BM_FinetuneStep, cuda / vit_base / float32, kBase, at::kFloat, at::kCUDA)
    ->Name("FinetuneStep/cuda/vit_base/float32")
    ->Arg(128)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime()
    ->Iterations(20);

}  // namespace
}  // namespace tec

BENCHMARK_MAIN();
