// One finetuning step as //eval:finetune does it: upload, erasing, mixing, forward with stochastic depth, backward,
// gradient norm, AdamW with layer-wise decay.
//
//   ./bazelw run //benchmarks/eval:finetune_step
//   ./bazelw run //benchmarks/eval:finetune_step -- --benchmark_filter=vit_small/bfloat16
//   ./bazelw run --config=cuda //benchmarks/eval:finetune_step -- --benchmark_filter=cuda
//
// images/s by wall-clock time. The same of timm in Python: //benchmarks/peers:finetune. The tiny cases are for trying
// the program.

#include <cmath>
#include <cstdint>

#include "ATen/ATen.h"
#include "ATen/Parallel.h"
#include "benchmark/benchmark.h"
#include "benchmarks/eval/finetuning_step.h"
#include "tec/base/logging.h"
#include "tec/run/rank_runtime.h"

namespace tec {
namespace {

const VitOptions kTiny = {32, 8, 64, 2, 2}, kSmall = {224, 16, 384, 12, 6}, kBase = {224, 16, 768, 12, 12};

void BM_FinetuneStep(benchmark::State& state, const VitOptions& encoder, at::ScalarType precision,
                     at::DeviceType device = at::kCPU) {
  if (device == at::kCUDA && !at::globalContext().hasCUDA()) {
    state.SkipWithError("no CUDA device, or a build without --config=cuda");
    return;
  }
  const int64_t batch = state.range(0);
  FinetuningStepOptions options;
  options.encoder = encoder;
  options.precision = precision;
  FinetuningStep step(options, batch, c10::Device(device, device == at::kCUDA ? 0 : -1));
  const auto update = [&] {
    const FinetuningStep::Result result = step.Run();
    TEC_CHECK(std::isfinite(result.loss.item<double>()) && std::isfinite(result.gradient_norm));
  };
  KeepFreedMemory();
  update();  // Allocates the memory.
  for (auto _ : state) update();
  state.counters["images/s"] =
      benchmark::Counter(static_cast<double>(state.iterations() * batch), benchmark::Counter::kIsRate);
  state.counters["threads"] = at::get_num_threads();
}

BENCHMARK_CAPTURE(BM_FinetuneStep, tiny / float32, kTiny, at::kFloat)
    ->Name("FinetuneStep/tiny/float32")
    ->Arg(4)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime()
    ->Iterations(3);
BENCHMARK_CAPTURE(BM_FinetuneStep, tiny / bfloat16, kTiny, at::kBFloat16)
    ->Name("FinetuneStep/tiny/bfloat16")
    ->Arg(4)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime()
    ->Iterations(3);
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
