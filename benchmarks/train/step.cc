// One pretraining step (upload, base model, forward, backward, optimiser) on the CPU, in float32 and in bfloat16 (cases
// of their own), and on a CUDA device where there is one, beside the rate that the same device reaches in a plain
// matrix product of the same type in the same run.
//
//   ./bazelw run //benchmarks/train:step
//   ./bazelw run --config=cuda //benchmarks/train:step -- --benchmark_filter=cuda
//
// Counters: model_GFLOP/s counts what the method asks for (multiply-adds twice, backward twice the forward), not what
// the code happens to do; gemm_GFLOP/s is the ceiling, measured before and after each case and averaged, because
// machines that are shared drift; of_gemm is their ratio; peak_GiB the process's largest resident size so far, on CUDA
// the largest size of its tensors; so the small case comes first. On a machine that does other work, repeat it
// (--benchmark_repetitions=3) and read the median.

#include <sys/resource.h>
#include <time.h>

#include <cmath>
#include <cstdint>

#include "ATen/ATen.h"
#include "ATen/Parallel.h"
#include "ATen/detail/CUDAHooksInterface.h"
#include "benchmark/benchmark.h"
#include "benchmarks/train/pretraining_step.h"
#include "c10/core/CachingDeviceAllocator.h"
#include "tec/base/logging.h"
#include "tec/config/cost.h"
#include "tec/run/matrix_rate.h"
#include "tec/run/rank_runtime.h"

namespace tec {
namespace {

double Seconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec + 1e-9 * now.tv_nsec;
}

double PeakGiB(at::Device device) {
  if (device.is_cuda()) {
    const auto stats = at::getDeviceAllocator(device.type())->getDeviceStats(device.index());
    return stats.allocated_bytes[0].peak / 1073741824.0;
  }
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss / 1048576.0;  // Linux counts in KiB.
}

// An update of `micro_steps` times `batch` images.
void TrainingStep(benchmark::State& state, config::Experiment experiment, int64_t batch, at::ScalarType precision,
                  at::DeviceType device_type = at::kCPU, int64_t micro_steps = 1) {
  if (device_type == at::kCUDA && !at::globalContext().hasCUDA()) {
    state.SkipWithError("no CUDA device, or a build without --config=cuda");
    return;
  }
  const at::Device device(device_type, device_type == at::kCUDA ? 0 : -1);
  experiment.mutable_runtime()->set_precision(precision == at::kBFloat16 ? config::BFLOAT16 : config::FLOAT32);
  PretrainingStep training(experiment, batch, device);
  const auto step = [&] {
    const PretrainingStep::Result result = training.Run(micro_steps);
    const double value = result.loss.item<double>();
    TEC_CHECK(std::isfinite(value) && value > 0 && std::isfinite(result.gradient_norm.item<double>()))
        << "loss " << value;
  };
  KeepFreedMemory();
  step();  // Allocates the memory and fills the caches.

  const double gemm_before = MatrixRate(device, precision, 0.5);
  int64_t steps = 0;
  const double start = Seconds();
  for (auto _ : state) {
    step();
    ++steps;
  }
  const double seconds = (Seconds() - start) / steps;
  const double gemm = (gemm_before + MatrixRate(device, precision, 0.5)) / 2;
  const double flops = TrainingFlopsPerImage(experiment);
  const double images = static_cast<double>(batch * micro_steps), rate = flops * images / seconds;
  state.counters["GFLOP_per_image"] = flops * 1e-9;
  state.counters["images/s"] = images / seconds;
  state.counters["model_GFLOP/s"] = rate * 1e-9;
  state.counters["gemm_GFLOP/s"] = gemm * 1e-9;
  state.counters["of_gemm"] = rate / gemm;
  state.counters["peak_GiB"] = PeakGiB(device);
  state.counters["threads"] = at::get_num_threads();
}

BENCHMARK_CAPTURE(TrainingStep, tiny_batch_128, TinyExperiment(), 128, at::kFloat)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime()
    ->Iterations(5);
BENCHMARK_CAPTURE(TrainingStep, tiny_batch_128_bfloat16, TinyExperiment(), 128, at::kBFloat16)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime()
    ->Iterations(5);
BENCHMARK_CAPTURE(TrainingStep, tiny_two_of_64, TinyExperiment(), 64, at::kFloat, at::kCPU, 2)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime()
    ->Iterations(5);
BENCHMARK_CAPTURE(TrainingStep, vit_ti8_64_batch_64, TinyAt64Experiment(), 64, at::kFloat)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime()
    ->Iterations(3);
BENCHMARK_CAPTURE(TrainingStep, vit_ti8_64_batch_64_bfloat16, TinyAt64Experiment(), 64, at::kBFloat16)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime()
    ->Iterations(3);
BENCHMARK_CAPTURE(TrainingStep, vit_b16_batch_8, RowBExperiment(), 8, at::kFloat)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime()
    ->Iterations(3);
BENCHMARK_CAPTURE(TrainingStep, vit_b16_batch_8_bfloat16, RowBExperiment(), 8, at::kBFloat16)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime()
    ->Iterations(3);
BENCHMARK_CAPTURE(TrainingStep, vit_b16_batch_256_bfloat16_cuda, RowBExperiment(), 256, at::kBFloat16, at::kCUDA)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime()
    ->Iterations(20);
BENCHMARK_CAPTURE(TrainingStep, vit_b16_batch_128_bfloat16_cuda, RowBExperiment(), 128, at::kBFloat16, at::kCUDA)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime()
    ->Iterations(20);
BENCHMARK_CAPTURE(TrainingStep, vit_b16_batch_512_bfloat16_cuda, RowBExperiment(), 512, at::kBFloat16, at::kCUDA)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime()
    ->Iterations(20);
BENCHMARK_CAPTURE(TrainingStep, vit_b16_two_of_256_bfloat16_cuda, RowBExperiment(), 256, at::kBFloat16, at::kCUDA, 2)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime()
    ->Iterations(10);

}  // namespace
}  // namespace tec

BENCHMARK_MAIN();
