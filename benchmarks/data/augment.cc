// Finetuning's augmentation, in time a picture of 224 x 224.
//
//   ./bazelw run //benchmarks/data:augment -- --folder=/imagenet/train
//   ./bazelw run //benchmarks/peers:augment          # Beside timm with Pillow.
//
// Op/NAME: one operation at magnitude 9. RandAugment: draws and pixels of the reference's policy, a pass over many
// pictures. Erasing: draws of one box with its noise, as often as the reference erases. The pictures are the evaluation
// crops of 32 of the folder, or without --folder of made ones.

#include <benchmark/benchmark.h>

#include <cstring>
#include <string>
#include <vector>

#include "benchmarks/data/pictures.h"
#include "data/augment/augment_op.h"
#include "data/augment/rand_augment.h"
#include "data/augment/random_erasing.h"
#include "data/augment/resize.h"
#include "data/image/decode.h"
#include "data/image/image.h"
#include "tec/base/logging.h"
#include "tec/base/random.h"

namespace tec {
namespace {

constexpr int kSize = 224;
constexpr double kMagnitude = 9;

// Set by main before the first benchmark.
std::string* folder = nullptr;

const std::vector<Image>& Crops() {
  static const auto* crops = [] {
    auto* made = new std::vector<Image>;
    ResizeScratch scratch;
    for (const std::string& encoded : EncodedPictures(*folder, 32)) {
      const auto picture = DecodeImage(encoded);
      TEC_CHECK_OK(picture);
      made->emplace_back(kSize, kSize);
      EvalCrop(*picture, kSize, &scratch, made->back().data());
    }
    return made;
  }();
  return *crops;
}

// The operations work in place: each pass starts from the same pixels, as each of Pillow's makes a new image.
void Operation(benchmark::State& state, AugmentOp op) {
  const std::vector<Image>& sources = Crops();
  Image image(kSize, kSize);
  size_t next = 0;
  const double argument = AugmentArgument(op, /*increasing=*/true, kMagnitude, /*negate=*/false);
  AugmentScratch scratch;
  for (auto _ : state) {
    const Image& source = sources[next++ % sources.size()];
    std::memcpy(image.data(), source.data(), source.size_bytes());
    ApplyAugmentOp(op, argument, AugmentStyle(), kSize, kSize, &scratch, image.data());
    benchmark::DoNotOptimize(image.data());
    benchmark::ClobberMemory();
  }
}

void WholePolicy(benchmark::State& state) {
  const RandAugmentPolicy policy = *ParseRandAugment("rand-m9-mstd0.5-inc1");
  const std::vector<Image>& sources = Crops();
  Image image(kSize, kSize);
  AugmentScratch scratch;
  uint64_t sample = 0;
  for (auto _ : state) {
    const Image& source = sources[sample % sources.size()];
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
  tec::InitLogging(argv[0]);
  tec::folder = new std::string(tec::TakeFolderFlag(&argc, argv));
  tec::Register();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
