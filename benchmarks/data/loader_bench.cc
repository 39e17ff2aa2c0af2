// Decoding, cropping and the whole input pipeline in images a second.
//
//   ./bazelw run //benchmarks/data:loader_bench -- --folder=/imagenet/train
//
// Without --folder, on made pictures of ImageNet's mean size: smooth shapes with noise, 400 x 468, JPEG quality 90,
// 4:2:0. Images lie in memory, so that the disk plays no part. Counter images_per_second is wall-clock; every result is
// checked.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "benchmarks/data/pictures.h"
#include "data/augment/random_resized_crop.h"
#include "data/augment/resize.h"
#include "data/dataset/dataset.h"
#include "data/image/decode.h"
#include "data/loader/loader.h"
#include "data/loader/transform.h"
#include "tec/base/logging.h"
#include "tec/base/random.h"

namespace tec {
namespace {

constexpr int64_t kImages = 256;

class MemoryDataset : public Dataset {
 public:
  explicit MemoryDataset(std::vector<std::string> images) : images_(std::move(images)) {}
  int64_t size() const override { return images_.size(); }
  int32_t label(int64_t) const override { return -1; }
  std::string name(int64_t index) const override { return std::to_string(index); }
  const std::vector<std::string>& classes() const override { return classes_; }
  using Dataset::Read;
  absl::Status Read(int64_t index, std::string* bytes) const override {
    *bytes = images_[index];
    return absl::OkStatus();
  }
  const std::string& encoded(int64_t index) const { return images_[index]; }

 private:
  std::vector<std::string> images_, classes_;
};

// Set by main before the first benchmark.
std::string* data_path = nullptr;

std::shared_ptr<const MemoryDataset> Pictures() {
  static const auto* pictures =
      new std::shared_ptr<const MemoryDataset>(new MemoryDataset(EncodedPictures(*data_path, kImages)));
  return *pictures;
}

void BM_Decode(benchmark::State& state) {
  const auto pictures = Pictures();
  Image image;
  int64_t next = 0, bytes = 0;
  for (auto _ : state) {
    const std::string& encoded = pictures->encoded(next++ % pictures->size());
    TEC_CHECK_OK(DecodeImage(encoded, &image));
    bytes += encoded.size();
  }
  state.SetBytesProcessed(bytes);
  state.counters["images_per_second"] = benchmark::Counter(state.iterations(), benchmark::Counter::kIsRate);
}
BENCHMARK(BM_Decode)->Unit(benchmark::kMicrosecond);

// The box that the training transform draws for picture `index` of an image of that size.
Box TrainingBox(int64_t index, int height, int width) {
  RandomStream stream(RandomKey{0, RandomPurpose::kCrop, 0, static_cast<uint64_t>(index)});
  return RandomResizedCrop(height, width, CropOptions(), stream);
}

// Only what a training crop needs.
void BM_DecodeRegion(benchmark::State& state) {
  const auto pictures = Pictures();
  ImageRegion region;
  int64_t next = 0;
  for (auto _ : state) {
    const int64_t index = next++ % pictures->size();
    const auto choose = [&](int height, int width) { return TrainingBox(index, height, width); };
    TEC_CHECK_OK(DecodeImageRegion(pictures->encoded(index), choose, &region));
  }
  state.counters["images_per_second"] = benchmark::Counter(state.iterations(), benchmark::Counter::kIsRate);
}
BENCHMARK(BM_DecodeRegion)->Unit(benchmark::kMicrosecond);

// Mean of all values.
double Mean(const uint8_t* values, size_t count) {
  return std::accumulate(values, values + count, int64_t{0}) / static_cast<double>(count);
}

// `side` x `side` pixels to 224 x 224: of pictures, first brought to that size.
void BM_Resize(benchmark::State& state) {
  const int side = state.range(0);
  ResizeScratch scratch;
  std::vector<Image> sources;
  for (int64_t i = 0; i < std::min<int64_t>(16, Pictures()->size()); ++i) {
    const auto picture = DecodeImage(Pictures()->encoded(i));
    TEC_CHECK_OK(picture);
    sources.emplace_back(side, side);
    const Box whole{0, 0, picture->height(), picture->width()};
    ResizeBicubic(*picture, whole, side, side, /*flip=*/false, &scratch, sources.back().data());
  }
  std::vector<uint8_t> out(224 * 224 * 3);
  size_t next = 0;
  for (auto _ : state) {
    ResizeBicubic(sources[next++ % sources.size()], Box{0, 0, side, side}, 224, 224, /*flip=*/true, &scratch,
                  out.data());
    benchmark::DoNotOptimize(out.data());
  }
  const Image& last = sources[(next - 1) % sources.size()];
  TEC_CHECK(std::abs(Mean(out.data(), out.size()) - Mean(last.data(), last.size_bytes())) < 2);
  state.counters["images_per_second"] = benchmark::Counter(state.iterations(), benchmark::Counter::kIsRate);
}
BENCHMARK(BM_Resize)->Arg(150)->Arg(300)->Arg(450)->Unit(benchmark::kMicrosecond);

// The whole training transform: region, resize, flip.
void BM_TrainTransform(benchmark::State& state) {
  const auto pictures = Pictures();
  const TrainTransform transform({});
  TransformScratch scratch;
  std::vector<uint8_t> out(224 * 224 * 3);
  int64_t next = 0;
  for (auto _ : state) {
    const int64_t index = next++ % pictures->size();
    TEC_CHECK_OK(
        transform.Apply(pictures->encoded(index), SampleKey{0, 0, static_cast<uint64_t>(index)}, &scratch, out.data()));
  }
  state.counters["images_per_second"] = benchmark::Counter(state.iterations(), benchmark::Counter::kIsRate);
}
BENCHMARK(BM_TrainTransform)->Unit(benchmark::kMicrosecond);

// Batches of 32 training images of 224 pixels, from encoded bytes in memory; the argument is the number of threads.
void BM_Loader(benchmark::State& state) {
  LoaderOptions options;
  options.batch_size = std::min<int64_t>(32, Pictures()->size());
  options.threads = state.range(0);
  const auto loader = Loader::Create(Pictures(), std::make_shared<TrainTransform>(TrainTransform::Options{}), options);
  TEC_CHECK_OK(loader);
  int64_t epoch = 0, images = 0;
  (*loader)->StartEpoch(epoch);
  for (auto _ : state) {
    absl::StatusOr<const Batch*> batch = (*loader)->Next();
    if (batch.ok() && *batch == nullptr) {
      (*loader)->StartEpoch(++epoch);
      batch = (*loader)->Next();
    }
    TEC_CHECK_OK(batch);
    images += (*batch)->count;
  }
  state.counters["images_per_second"] = benchmark::Counter(images, benchmark::Counter::kIsRate);
}
BENCHMARK(BM_Loader)->Arg(1)->Arg(2)->Arg(4)->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace
}  // namespace tec

int main(int argc, char** argv) {
  tec::InitLogging(argv[0]);
  tec::data_path = new std::string(tec::TakeFolderFlag(&argc, argv));
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
