// One pretraining step (base model, forward, backward, optimiser) on the CPU, in float32 and in bfloat16 (where the
// processor has it, a case of its own), and on a CUDA device where there is one, beside the rate that the same device
// reaches in a plain matrix product of the same type in the same run.
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
#include <memory>
#include <vector>

#include "ATen/ATen.h"
#include "ATen/Parallel.h"
#include "ATen/detail/CUDAHooksInterface.h"
#include "benchmark/benchmark.h"
#include "c10/core/CachingDeviceAllocator.h"
#include "tec/base/logging.h"
#include "tec/config/config.h"
#include "tec/config/cost.h"
#include "tec/losses/losses.h"
#include "tec/models/factory.h"
#include "tec/nn/autocast.h"
#include "tec/nn/masking.h"
#include "tec/nn/module_state.h"
#include "tec/optim/adamw.h"
#include "tec/optim/gradients.h"
#include "tec/optim/parameter_groups.h"
#include "tec/train/rank_runtime.h"

namespace tec {
namespace {

// The reference's tiny size for 32-pixel pictures.
constexpr char kTiny[] = R"(
  method: TEC
  model {
    name: "custom" mlp_token: true pred_att: true
    encoder { image_size: 32 patch_size: 4 width: 128 depth: 6 heads: 4 }
    decoder { width: 64 depth: 2 heads: 4 }
  }
  base_model { name: "custom" topkatt: 9 encoder { image_size: 32 patch_size: 4 width: 128 depth: 6 heads: 4 } }
)";

config::Experiment Tiny() { return Resolve(*ParseExperiment(kTiny, "tiny")); }
config::Experiment RowB() { return Resolve(*LoadExperiment("vit_b_mae_300ep")); }

double Seconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec + 1e-9 * now.tv_nsec;
}

// Reads one value: what was queued on a CUDA device is done then.
void WaitFor(const at::Tensor& tensor) { TEC_CHECK(std::isfinite(tensor.flatten()[0].item<float>())); }

// FLOP/s of square products of random numbers (of ones, a GPU draws less power and clocks higher), as many as fill
// about half a second.
double GemmRate(at::ScalarType precision, at::Device device) {
  const int64_t size = device.is_cuda() ? 8192 : 2048;
  const at::TensorOptions options = at::TensorOptions(device).dtype(precision);
  const at::Tensor a = at::randn({size, size}, options), b = at::randn({size, size}, options);
  at::Tensor c = at::mm(a, b);
  WaitFor(c);
  int64_t products = 0;
  const double start = Seconds();
  do {
    for (int i = 0; i < (device.is_cuda() ? 10 : 1); ++i, ++products) at::mm_out(c, a, b);
    WaitFor(c);
  } while (Seconds() - start < 0.5);
  return products * 2.0 * size * size * size / (Seconds() - start);
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

void TrainingStep(benchmark::State& state, const config::Experiment& experiment, int64_t batch,
                  at::ScalarType precision, at::DeviceType device_type = at::kCPU) {
  if (device_type == at::kCUDA && !at::globalContext().hasCUDA()) {
    state.SkipWithError("no CUDA device, or a build without --config=cuda");
    return;
  }
  const at::Device device(device_type, device_type == at::kCUDA ? 0 : -1);
  if (device.is_cpu() && precision == at::kBFloat16 && !__builtin_cpu_supports("avx512bf16")) {
    state.SkipWithError("this processor has no bfloat16 instructions");
    return;
  }
  const std::shared_ptr<BaseModel> base_model = *MakeBaseModel(experiment);
  {
    // A frozen model has no initial values; small distinct weights do for a benchmark.
    at::NoGradGuard no_grad;
    for (const auto& [name, tensor] : NamedState(*base_model)) {
      if (name == "pos_embed") continue;
      const bool norm = tensor.dim() == 1 && name.rfind("weight") == name.size() - 6;
      at::Tensor(tensor).copy_((at::arange(tensor.numel(), at::kFloat) * 0.7).cos().mul(0.03).view(tensor.sizes()));
      if (norm) at::Tensor(tensor).add_(1);
    }
  }
  const std::shared_ptr<TecModel> model = *MakeTecModel(experiment);
  base_model->to(device);
  model->to(device);
  AdamW optimizer(PretrainingGroups(NamedTrainable(*model), 0.05), {0.9, 0.95, 1e-8});
  const int64_t side = experiment.model().encoder().image_size();
  const int64_t patches = TecOptionsFrom(experiment).encoder.patches();
  const at::Tensor images =
      (at::arange(batch * 3 * side * side, at::kFloat) * 0.37).sin().view({batch, 3, side, side}).to(device);
  std::vector<int64_t> samples(batch);
  for (int64_t i = 0; i < batch; ++i) samples[i] = i;

  uint64_t epoch = 0;
  const auto step = [&] {
    at::Tensor loss;
    {
      AutocastGuard autocast(device.type(), precision);
      const Targets targets = base_model->forward(images);
      const at::Tensor noise = MaskingNoise(1, epoch++, samples, patches).to(device);
      const TecOutput output = model->forward(images, noise, experiment.masking().mask_ratio(), targets.idx);
      loss = FeatureLoss(output.feature_prediction, targets.features, output.mask) +
             RelationLoss(output.relation_logits, targets.relations, experiment.losses().att_tau());
    }
    loss.backward();
    const at::Tensor norm = GradientNorm(optimizer.parameters());
    optimizer.Step(1e-4);
    optimizer.ZeroGrad();
    const double value = loss.item<double>();
    TEC_CHECK(std::isfinite(value) && value > 0 && std::isfinite(norm.item<double>())) << "loss " << value;
  };
  KeepFreedMemory();
  step();  // Allocates the memory and fills the caches.

  const double gemm_before = GemmRate(precision, device);
  int64_t steps = 0;
  const double start = Seconds();
  for (auto _ : state) {
    step();
    ++steps;
  }
  const double seconds = (Seconds() - start) / steps;
  const double gemm = (gemm_before + GemmRate(precision, device)) / 2;
  const double flops = TrainingFlopsPerImage(experiment);
  const double rate = flops * batch / seconds;
  state.counters["GFLOP_per_image"] = flops * 1e-9;
  state.counters["images/s"] = batch / seconds;
  state.counters["model_GFLOP/s"] = rate * 1e-9;
  state.counters["gemm_GFLOP/s"] = gemm * 1e-9;
  state.counters["of_gemm"] = rate / gemm;
  state.counters["peak_GiB"] = PeakGiB(device);
  state.counters["threads"] = at::get_num_threads();
}

BENCHMARK_CAPTURE(TrainingStep, tiny_batch_128, Tiny(), 128, at::kFloat)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime()
    ->Iterations(5);
BENCHMARK_CAPTURE(TrainingStep, tiny_batch_128_bfloat16, Tiny(), 128, at::kBFloat16)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime()
    ->Iterations(5);
BENCHMARK_CAPTURE(TrainingStep, vit_b16_batch_8, RowB(), 8, at::kFloat)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime()
    ->Iterations(3);
BENCHMARK_CAPTURE(TrainingStep, vit_b16_batch_8_bfloat16, RowB(), 8, at::kBFloat16)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime()
    ->Iterations(3);
BENCHMARK_CAPTURE(TrainingStep, vit_b16_batch_256_bfloat16_cuda, RowB(), 256, at::kBFloat16, at::kCUDA)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime()
    ->Iterations(20);

}  // namespace
}  // namespace tec

BENCHMARK_MAIN();
