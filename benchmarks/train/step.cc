// One pretraining step (base model, forward, backward, optimiser) in float32 on the CPU, beside the rate that the same
// threads reach in a plain matrix product in the same run.
//
//   ./bazelw run //benchmarks/train:step
//
// Counters: model_GFLOP/s counts what the method asks for (multiply-adds twice, backward twice the forward), not what
// the code happens to do; gemm_GFLOP/s is the ceiling, measured before and after each case and averaged, because
// machines that are shared drift; of_gemm is their ratio; peak_GiB the process's largest resident size so far, so the
// small case comes first. On a machine that does other work, repeat it (--benchmark_repetitions=3) and read the median.

#include <sys/resource.h>
#include <time.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "ATen/ATen.h"
#include "ATen/Parallel.h"
#include "benchmark/benchmark.h"
#include "tec/base/logging.h"
#include "tec/losses/losses.h"
#include "tec/models/base_model.h"
#include "tec/models/options.h"
#include "tec/models/tec_model.h"
#include "tec/nn/initialise.h"
#include "tec/nn/masking.h"
#include "tec/nn/module_state.h"
#include "tec/optim/adamw.h"
#include "tec/optim/gradients.h"
#include "tec/optim/parameter_groups.h"

namespace tec {
namespace {

struct Case {
  VitOptions encoder;
  DecoderOptions decoder;
  int64_t batch;
  int64_t selected;  // K
};

constexpr double kMaskRatio = 0.75;
constexpr Case kTiny = {{32, 4, 128, 6, 4}, {64, 2, 4}, 128, 9};
constexpr Case kBase = {{224, 16, 768, 12, 12}, {512, 2, 16}, 8, 15};

// FLOPs of `tokens` through a Linear, forward.
double LinearFlops(double tokens, double in, double out) { return 2 * tokens * in * out; }

// Of `depth` blocks, forward: qkv, proj, fc1 and fc2 (12 width^2 multiply-adds a token), logits and mixing.
double BlockFlops(double tokens, double width, double depth) {
  return depth * (2 * tokens * 12 * width * width + 4 * tokens * tokens * width);
}

// Of one image, by the components of the reference's step: the patch embedding of all patches without an input
// gradient, the decoders' blocks twice, the whole relation head. 84.7 GFLOP for ViT-B/16 with K = 15.
double StepFlops(const Case& c) {
  const double patches = c.encoder.patches(), tokens = patches + 1;
  const double visible = VisiblePatches(c.encoder.patches(), kMaskRatio) + 1;
  const double width = c.encoder.width, depth = c.encoder.depth, decoder_width = c.decoder.width;
  const double patch_values = 3 * c.encoder.patch_size * c.encoder.patch_size;
  const double embed = LinearFlops(patches, patch_values, width);
  const double groups = std::max(1.0, std::floor(depth / 3));
  const double adaptor = groups * (LinearFlops(visible, depth / groups * width, width) +
                                   2 * LinearFlops(visible, width, 4 * decoder_width));
  const double decoder =
      LinearFlops(visible, width, decoder_width) + BlockFlops(tokens, decoder_width, c.decoder.depth);
  const double feature_head = LinearFlops(tokens, decoder_width, width);
  const double relation_head = LinearFlops(tokens, decoder_width, 2 * width) + 2 * (c.selected + 1) * tokens * width;
  const double new_model = BlockFlops(visible, width, depth) + adaptor + 2 * decoder + feature_head + relation_head;
  const double base_model = embed + BlockFlops(tokens, width, depth);
  return 2 * embed + 3 * new_model + base_model;
}

double Seconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec + 1e-9 * now.tv_nsec;
}

// FLOP/s of square float32 products, as many as fill about half a second.
double GemmRate() {
  constexpr int64_t kSize = 2048;
  const at::Tensor a = at::ones({kSize, kSize}), b = at::ones({kSize, kSize});
  at::Tensor c = at::mm(a, b);
  TEC_CHECK_EQ(c[0][0].item<float>(), kSize);
  int64_t products = 0;
  const double start = Seconds();
  do {
    at::mm_out(c, a, b);
    ++products;
  } while (Seconds() - start < 0.5);
  return products * 2.0 * kSize * kSize * kSize / (Seconds() - start);
}

double PeakGiB() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss / 1048576.0;  // Linux counts in KiB.
}

void TrainingStep(benchmark::State& state, const Case& c) {
  BaseModel base_model({c.encoder, /*last_layers=*/2, c.selected});
  {
    // A frozen model has no initial values; small distinct weights do for a benchmark.
    at::NoGradGuard no_grad;
    for (const auto& [name, tensor] : NamedState(base_model)) {
      if (name == "pos_embed") continue;
      const bool norm = tensor.dim() == 1 && name.rfind("weight") == name.size() - 6;
      at::Tensor(tensor).copy_((at::arange(tensor.numel(), at::kFloat) * 0.7).cos().mul(0.03).view(tensor.sizes()));
      if (norm) at::Tensor(tensor).add_(1);
    }
  }
  TecOptions options;
  options.encoder = c.encoder;
  options.decoder = c.decoder;
  options.mlp_token = options.pred_att = true;
  TecModel model(options);
  InitialisePretraining(model, 1);
  AdamW optimizer(PretrainingGroups(NamedTrainable(model), 0.05), {0.9, 0.95, 1e-8});
  const at::Tensor images = (at::arange(c.batch * 3 * c.encoder.image_size * c.encoder.image_size, at::kFloat) * 0.37)
                                .sin()
                                .view({c.batch, 3, c.encoder.image_size, c.encoder.image_size});
  std::vector<int64_t> samples(c.batch);
  for (int64_t i = 0; i < c.batch; ++i) samples[i] = i;

  uint64_t epoch = 0;
  const auto step = [&] {
    const Targets targets = base_model.forward(images);
    const at::Tensor noise = MaskingNoise(1, epoch++, samples, c.encoder.patches());
    const TecOutput output = model.forward(images, noise, kMaskRatio, targets.idx);
    const at::Tensor loss = FeatureLoss(output.feature_prediction, targets.features, output.mask) +
                            RelationLoss(output.relation_logits, targets.relations, 1.8);
    loss.backward();
    const at::Tensor norm = GradientNorm(optimizer.parameters());
    optimizer.Step(1e-4);
    optimizer.ZeroGrad();
    const double value = loss.item<double>();
    TEC_CHECK(std::isfinite(value) && value > 0 && std::isfinite(norm.item<double>())) << "loss " << value;
  };
  step();  // Allocates the memory and fills the caches.

  const double gemm_before = GemmRate();
  int64_t steps = 0;
  const double start = Seconds();
  for (auto _ : state) {
    step();
    ++steps;
  }
  const double seconds = (Seconds() - start) / steps;
  const double gemm = (gemm_before + GemmRate()) / 2;
  const double rate = StepFlops(c) * c.batch / seconds;
  state.counters["GFLOP_per_image"] = StepFlops(c) * 1e-9;
  state.counters["images/s"] = c.batch / seconds;
  state.counters["model_GFLOP/s"] = rate * 1e-9;
  state.counters["gemm_GFLOP/s"] = gemm * 1e-9;
  state.counters["of_gemm"] = rate / gemm;
  state.counters["peak_GiB"] = PeakGiB();
  state.counters["threads"] = at::get_num_threads();
}

BENCHMARK_CAPTURE(TrainingStep, tiny_batch_128, kTiny)->Unit(benchmark::kMillisecond)->UseRealTime()->Iterations(5);
BENCHMARK_CAPTURE(TrainingStep, vit_b16_batch_8, kBase)->Unit(benchmark::kMillisecond)->UseRealTime()->Iterations(3);

}  // namespace
}  // namespace tec

BENCHMARK_MAIN();
