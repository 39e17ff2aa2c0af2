#include "data/loader/finetune_transform.h"

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "data/dataset/dataset.h"
#include "data/image/encode.h"
#include "data/loader/loader.h"
#include "gtest/gtest.h"
#include "tec/base/random.h"

namespace tec {
namespace {

Image Noise(int height, int width, uint64_t seed) {
  RandomStream stream(RandomKey{seed, RandomPurpose::kPictures, 0, 0});
  Image image(height, width);
  for (size_t i = 0; i < image.size_bytes(); ++i) image.data()[i] = stream.NextUint32() >> 24;
  return image;
}

FinetuneTransform::Options Options() {
  FinetuneTransform::Options options;
  options.crop.size = 24;
  options.crop.crop.scale_min = 0.08;
  options.rand_augment = *ParseRandAugment("rand-m9-mstd0.5-inc1");
  return options;
}

constexpr SampleKey kKey{5, 1, 3};

TEST(FinetuneTransformTest, PaintsWhatIsDrawn) {
  const Image image = Noise(40, 50, 1);
  const FinetuneTransform transform(Options());
  TransformScratch scratch;
  std::vector<uint8_t> applied(3 * 24 * 24), painted(applied.size()), expected(applied.size());
  ASSERT_TRUE(transform.Apply(*EncodePng(image), kKey, &scratch, applied.data()).ok());
  SampleAugmentation drawn = transform.Draw(40, 50, kKey);
  transform.Paint(image, drawn, &scratch, painted.data());
  EXPECT_EQ(applied, painted);

  // Pinned: what each stage makes of the one before.
  drawn.flip = true;
  drawn.steps = {{AugmentOp::kSolarize, 26}, {AugmentOp::kRotate, -27}};
  transform.Paint(image, drawn, &scratch, painted.data());
  ResizeBicubic(image, drawn.crop, 24, 24, true, &scratch.resize, expected.data());
  ApplyAugmentOp(AugmentOp::kSolarize, 26, {}, 24, 24, &scratch.augment, expected.data());
  ApplyAugmentOp(AugmentOp::kRotate, -27, {}, 24, 24, &scratch.augment, expected.data());
  EXPECT_EQ(painted, expected);
  EXPECT_EQ(SampleAugmentationToText({Box{1, 2, 3, 4}, true, drawn.steps}),
            "crop rows 1-4 columns 2-6, flip, Solarize(26), Rotate(-27)");
}

TEST(FinetuneTransformTest, CropsAsTheTrainTransformDoes) {
  const Image image = Noise(40, 50, 2);
  FinetuneTransform::Options options = Options();
  options.rand_augment.reset();
  TransformScratch scratch;
  std::vector<uint8_t> with(3 * 24 * 24), without(with.size());
  const std::string png = *EncodePng(image);
  ASSERT_TRUE(TrainTransform(options.crop).Apply(png, kKey, &scratch, without.data()).ok());
  ASSERT_TRUE(FinetuneTransform(options).Apply(png, kKey, &scratch, with.data()).ok());
  EXPECT_EQ(with, without);
  // Colour jitter in the place of RandAugment.
  options.color_jitter = 0.4;
  const FinetuneTransform jitter(options);
  EXPECT_EQ(jitter.Draw(40, 50, kKey).steps.size(), 3);
  ASSERT_TRUE(jitter.Apply(png, kKey, &scratch, with.data()).ok());
  EXPECT_NE(with, without);
}

TEST(FinetuneTransformTest, TheKeyDecides) {
  const FinetuneTransform transform(Options());
  int different = 0;
  for (uint64_t sample = 0; sample < 20; ++sample) {
    const SampleKey key{5, 1, sample}, next{5, 2, sample};
    const std::string text = SampleAugmentationToText(transform.Draw(40, 50, key));
    EXPECT_EQ(text, SampleAugmentationToText(transform.Draw(40, 50, key)));
    different += text != SampleAugmentationToText(transform.Draw(40, 50, next));
  }
  EXPECT_EQ(different, 20);
}

TEST(FinetuneTransformTest, TheFillIsTheMeanColour) {
  EXPECT_EQ(FinetuneTransform::FillOf({0.485, 0.456, 0.406}), (std::array<uint8_t, 3>{124, 116, 104}));
  // 127.5 goes to the even neighbour.
  EXPECT_EQ(FinetuneTransform::FillOf({0.5, 2, -1}), (std::array<uint8_t, 3>{128, 255, 0}));
  FinetuneTransform::Options options = Options();
  options.style.fill = {1, 2, 3};
  TransformScratch scratch;
  std::vector<uint8_t> out(3 * 24 * 24);
  SampleAugmentation drawn;
  drawn.crop = Box{0, 0, 40, 50};
  drawn.steps = {{AugmentOp::kTranslateX, 1}};
  FinetuneTransform(options).Paint(Noise(40, 50, 3), drawn, &scratch, out.data());
  for (size_t i = 0; i < out.size(); ++i) ASSERT_EQ(out[i], 1 + i % 3);
}

// Forty pictures in memory.
class Pictures : public Dataset {
 public:
  Pictures() {
    for (int i = 0; i < 40; ++i) encoded_.push_back(*EncodePng(Noise(20 + i, 60 - i, i)));
  }
  int64_t size() const override { return static_cast<int64_t>(encoded_.size()); }
  int32_t label(int64_t index) const override { return -1; }
  std::string name(int64_t index) const override { return std::to_string(index); }
  const std::vector<std::string>& classes() const override { return classes_; }
  absl::Status Read(int64_t index, std::string* bytes) const override {
    *bytes = encoded_[index];
    return absl::OkStatus();
  }

 private:
  std::vector<std::string> encoded_, classes_;
};

TEST(FinetuneTransformTest, ThreadsChangeNothing) {
  const auto pictures = std::make_shared<Pictures>();
  const auto transform = std::make_shared<FinetuneTransform>(Options());
  std::vector<std::vector<uint8_t>> by_threads;
  for (const int threads : {1, 4}) {
    LoaderOptions options;
    options.batch_size = 8;
    options.threads = threads;
    auto loader = Loader::Create(pictures, transform, options);
    ASSERT_TRUE(loader.ok()) << loader.status();
    (*loader)->StartEpoch(3);
    std::vector<uint8_t> all;
    while (true) {
      const auto batch = (*loader)->Next();
      ASSERT_TRUE(batch.ok()) << batch.status();
      if (*batch == nullptr) break;
      all.insert(all.end(), (*batch)->pixels.begin(), (*batch)->pixels.end());
    }
    by_threads.push_back(std::move(all));
  }
  EXPECT_EQ(by_threads[0].size(), size_t{40} * 3 * 24 * 24);
  EXPECT_EQ(by_threads[0], by_threads[1]);
}

}  // namespace
}  // namespace tec
