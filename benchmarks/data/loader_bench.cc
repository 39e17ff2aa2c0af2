// Decoding, cropping and the whole input pipeline in images a second.
//
//   ./bazelw run //benchmarks/data:loader_bench -- --folder=/imagenet/train
//
// Without --folder, on made pictures of ImageNet's mean size: smooth shapes with noise, 400 x 468, JPEG quality 90,
// 4:2:0. Images lie in memory, so that the disk plays no part. Counter images_per_second is wall-clock; every result is
// checked.

#include <benchmark/benchmark.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "data/augment/random_resized_crop.h"
#include "data/augment/resize.h"
#include "data/dataset/dataset.h"
#include "data/image/decode.h"
#include "data/image/encode.h"
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

std::string MakePicture(int64_t number) {
  RandomStream stream(RandomKey{0, RandomPurpose::kPictures, 0, static_cast<uint64_t>(number)});
  Image image(400, 468);
  double phase[6], rate[6];
  for (int i = 0; i < 6; ++i) {
    phase[i] = stream.Uniform(0, 6.28);
    rate[i] = stream.Uniform(0.01, 0.15);
  }
  for (int y = 0; y < image.height(); ++y) {
    for (int x = 0; x < image.width(); ++x) {
      const int noise = static_cast<int>(stream.NextUint32() >> 28) - 8;
      for (int c = 0; c < 3; ++c) {
        const double value =
            128 + 60 * std::sin(phase[c] + rate[c] * x) + 50 * std::sin(phase[c + 3] + rate[c + 3] * y);
        image.row(y)[3 * x + c] = static_cast<uint8_t>(std::clamp(static_cast<int>(value) + noise, 0, 255));
      }
    }
  }
  const auto encoded = EncodeJpeg(image);
  TEC_CHECK_OK(encoded);
  return *encoded;
}

// Set by main before the first benchmark.
std::string* data_path = nullptr;

std::shared_ptr<const MemoryDataset> Pictures() {
  static const auto* pictures = [] {
    std::vector<std::string> images;
    if (data_path->empty()) {
      for (int64_t i = 0; i < kImages; ++i) images.push_back(MakePicture(i));
    } else {
      const auto dataset = OpenDataset(*data_path, Split::kTrain);
      TEC_CHECK_OK(dataset);
      // Spread over the data set: one class alone may have one size.
      const int64_t count = std::min(kImages, (*dataset)->size());
      for (int64_t i = 0; i < count; ++i) {
        const auto bytes = (*dataset)->Read(i * (*dataset)->size() / count);
        TEC_CHECK_OK(bytes);
        images.push_back(*bytes);
      }
    }
    return new std::shared_ptr<const MemoryDataset>(new MemoryDataset(std::move(images)));
  }();
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

// A crop of `side` x `side` pixels to 224 x 224.
void BM_Resize(benchmark::State& state) {
  const int side = state.range(0);
  Image source(side, side);
  std::memset(source.data(), 77, source.size_bytes());
  ResizeScratch scratch;
  std::vector<uint8_t> out(224 * 224 * 3);
  for (auto _ : state) {
    ResizeBicubic(source, Box{0, 0, side, side}, 224, 224, /*flip=*/true, &scratch, out.data());
    benchmark::DoNotOptimize(out.data());
  }
  TEC_CHECK(std::all_of(out.begin(), out.end(), [](uint8_t value) { return value == 77; }));
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
  tec::data_path = new std::string;
  int kept = 1;
  for (int i = 1; i < argc; ++i) {
    constexpr absl::string_view kFlag = "--folder=";
    if (absl::string_view(argv[i]).substr(0, kFlag.size()) == kFlag) {
      *tec::data_path = argv[i] + kFlag.size();
    } else {
      argv[kept++] = argv[i];
    }
  }
  argc = kept;
  // Under `bazel run`, paths are those of the caller.
  const char* directory = std::getenv("BUILD_WORKING_DIRECTORY");
  if (directory != nullptr && chdir(directory) != 0) std::perror(directory);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
