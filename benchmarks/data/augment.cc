// Finetuning's augmentation, in time a picture of 224 x 224.
//
//   ./bazelw run //benchmarks/data:augment
//   ./bazelw run //benchmarks/peers:augment          # Beside timm with Pillow.
//
// Op/NAME: one operation at magnitude 9. RandAugment: draws and pixels of the reference's policy, a pass over many
// pictures. Erasing: draws of one box with its noise, as often as the reference erases. The picture is made: waves with
// noise, whose histogram fills the range.

#include <benchmark/benchmark.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "data/augment/augment_op.h"
#include "data/augment/rand_augment.h"
#include "data/augment/random_erasing.h"
#include "data/image/image.h"
#include "tec/base/random.h"

namespace tec {
namespace {

constexpr int kSize = 224;
constexpr double kMagnitude = 9;

Image MakePicture() {
  RandomStream stream(RandomKey{0, RandomPurpose::kPictures, 0, 0});
  Image image(kSize, kSize);
  for (int y = 0; y < kSize; ++y) {
    for (int x = 0; x < kSize; ++x) {
      for (int c = 0; c < 3; ++c) {
        const double value = 128 + 90 * std::sin(x / 17.0 + y / 23.0 + c) + 8 * stream.Normal();
        image.row(y)[3 * x + c] = static_cast<uint8_t>(std::fmin(255, std::fmax(0, value)));
      }
    }
  }
  return image;
}

// The operations work in place: each pass starts from the same pixels, as each of Pillow's makes a new image.
void Operation(benchmark::State& state, AugmentOp op) {
  const Image source = MakePicture();
  Image image(kSize, kSize);
  const double argument = AugmentArgument(op, /*increasing=*/true, kMagnitude, /*negate=*/false);
  AugmentScratch scratch;
  for (auto _ : state) {
    std::memcpy(image.data(), source.data(), source.size_bytes());
    ApplyAugmentOp(op, argument, AugmentStyle(), kSize, kSize, &scratch, image.data());
    benchmark::DoNotOptimize(image.data());
    benchmark::ClobberMemory();
  }
}

void WholePolicy(benchmark::State& state) {
  const RandAugmentPolicy policy = *ParseRandAugment("rand-m9-mstd0.5-inc1");
  const Image source = MakePicture();
  Image image(kSize, kSize);
  AugmentScratch scratch;
  uint64_t sample = 0;
  for (auto _ : state) {
    std::memcpy(image.data(), source.data(), source.size_bytes());
    RandomStream stream(RandomKey{0, RandomPurpose::kRandAugment, 0, sample++});
    for (const AugmentStep& step : DrawRandAugment(policy, stream)) {
      ApplyAugmentOp(step.op, step.argument, AugmentStyle(), kSize, kSize, &scratch, image.data());
    }
    benchmark::DoNotOptimize(image.data());
    benchmark::ClobberMemory();
  }
}

void Erasing(benchmark::State& state) {
  EraseOptions options;
  options.probability = 0.25;
  uint64_t sample = 0;
  for (auto _ : state) {
    RandomStream stream(RandomKey{0, RandomPurpose::kErase, 0, sample++});
    benchmark::DoNotOptimize(DrawErasing(options, kSize, kSize, stream));
  }
}

void Register() {
  for (int i = 0; i < kAugmentOps; ++i) {
    const auto op = static_cast<AugmentOp>(i);
    benchmark::RegisterBenchmark((std::string("Op/") + AugmentOpName(op)).c_str(), Operation, op)
        ->Unit(benchmark::kMicrosecond);
  }
  benchmark::RegisterBenchmark("RandAugment", WholePolicy)->Unit(benchmark::kMicrosecond);
  benchmark::RegisterBenchmark("Erasing", Erasing)->Unit(benchmark::kMicrosecond);
}

}  // namespace
}  // namespace tec

int main(int argc, char** argv) {
  tec::Register();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
