// An evaluation whose result is known beforehand (a classifier that answers the same whatever it sees), and the pixels
// that evaluations see.

#include "eval/finetune/evaluate.h"

#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ATen/ATen.h"
#include "data/loader/transform.h"
#include "eval/testing/tiny.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tec/base/file.h"
#include "tec/nn/initialise.h"
#include "tec/nn/module_state.h"
#include "tec/nn/normalize.h"
#include "tec/testing/golden.h"
#include "tec/testing/tensor_matchers.h"

namespace tec {
namespace {

TEST(EvaluateTest, CountsEveryReadableImageOnceUnderItsOwnClass) {
  const std::string folder = testing::FreshFolder("evaluate");
  testing::WritePictures(folder + "/val", {"bee", "cat"}, 4, 1);
  ASSERT_TRUE(WriteFile(folder + "/val/cat/3.png", "no picture").ok());
  absl::StatusOr<std::unique_ptr<Dataset>> dataset = OpenDataset(folder + "/val", Split::kWhole);
  ASSERT_TRUE(dataset.ok()) << dataset.status();

  FinetuneOptions model_options;
  model_options.encoder = {16, 4, 8, 2, 2};
  model_options.classes = 7;
  FinetuneModel model(model_options);
  InitialiseFinetuning(model, 1);
  {
    at::NoGradGuard no_gradient;
    for (auto& [name, tensor] : NamedState(model)) {
      at::Tensor value = tensor;
      if (name == "head.weight") value.zero_();
      if (name == "head.bias") value.copy_(at::tensor(std::vector<float>{6, 5, 4, 3, 2, 1, 0}));
    }
  }
  EvaluateOptions options;
  options.batch_size = 3;  // 8 images: the last batch is a part.
  options.max_bad_fraction = 1;
  int64_t seen = 0;
  options.progress = [&seen](int64_t done, int64_t) { seen = done; };
  // "bee" is the model's class 0, ranked first, "cat" its class 5, ranked sixth. Four bees and three cats can be read.
  const std::shared_ptr<const Dataset> images = std::move(*dataset);
  const absl::StatusOr<ClassifierCounts> counts = EvaluateClassifier(model, images, {0, 5}, options);
  ASSERT_TRUE(counts.ok()) << counts.status();
  const ClassificationReport accuracy = counts->counter.Report();
  EXPECT_EQ(seen, 8);
  EXPECT_EQ(accuracy.images, 7);
  EXPECT_EQ(counts->unreadable, 1);
  EXPECT_NEAR(accuracy.top1, 400.0 / 7, 1e-9);
  EXPECT_NEAR(accuracy.top5, 400.0 / 7, 1e-9);
  double sum = 0;
  for (int logit = 0; logit < 7; ++logit) sum += std::exp(logit);
  EXPECT_NEAR(accuracy.loss, std::log(sum) - (4 * 6 + 3 * 1) / 7.0, 1e-6);  // Logits are float32.
  EXPECT_EQ(FormatAccuracy(accuracy), "* Acc@1 57.143 Acc@5 57.143 loss 2.601");
  EXPECT_EQ(accuracy.confusion.at({0, 0}), 4);  // The answer is always the first class.
  EXPECT_EQ(accuracy.confusion.at({5, 0}), 3);
  // Always as sure: one bin.
  EXPECT_NEAR(accuracy.calibration_error, std::abs(std::exp(6) / sum - 4 / 7.0), 1e-6);

  options.bad_images_path = folder + "/bad_images_val.txt";
  ASSERT_TRUE(EvaluateClassifier(model, images, {0, 5}, options).ok());
  EXPECT_EQ(*ReadFile(options.bad_images_path), "cat/3.png\tnot an image: no known format by its first bytes\n");

  // Three ranks share eight images, the last has two: every image once, the sums are the same.
  std::vector<double> sums(counts->counter.Sums().size());
  int64_t unreadable = 0;
  options.world_size = 3;
  for (options.rank = 0; options.rank < 3; ++options.rank) {
    const absl::StatusOr<ClassifierCounts> share = EvaluateClassifier(model, images, {0, 5}, options);
    ASSERT_TRUE(share.ok()) << share.status();
    const std::vector<double> part = share->counter.Sums();
    for (size_t i = 0; i < sums.size(); ++i) sums[i] += part[i];
    unreadable += share->unreadable;
  }
  EXPECT_EQ(unreadable, 1);
  const ClassificationReport shared = ReportCounter(7, sums).Report();
  EXPECT_EQ(shared.images, 7);
  EXPECT_EQ(shared.top1, accuracy.top1);
  EXPECT_EQ(shared.top5, accuracy.top5);
  EXPECT_EQ(shared.confusion, accuracy.confusion);
  EXPECT_NEAR(shared.loss, accuracy.loss, 1e-9);  // The order of float64 sums.
  EXPECT_NEAR(shared.calibration_error, accuracy.calibration_error, 1e-9);
}

// From the file to the model's input, against PIL and torchvision (resize goldens): bytes exact, floats to 1e-6.
TEST(EvaluateTest, PixelsAreTheReferences) {
  constexpr double kTolerance = 1e-6;  // tec/testing/goldens/README.md.
  const testing::Golden golden("resize.safetensors");
  TransformScratch scratch;
  int bytes_compared = 0, floats_compared = 0;
  const nlohmann::json cases = testing::GoldenJson("resize.json").at("cases");
  for (const nlohmann::json& one : cases) {
    if (one["op"] != "eval") continue;
    SCOPED_TRACE(one.dump());
    const int64_t size = one["size"];
    const absl::StatusOr<std::string> encoded =
        ReadFile(testing::GoldenPath("images/" + one["file"].get<std::string>()));
    ASSERT_TRUE(encoded.ok()) << encoded.status();
    const at::Tensor pixels = at::empty({1, size, size, 3}, at::kByte);
    const EvalTransform transform(static_cast<int>(size));
    ASSERT_TRUE(transform.Apply(*encoded, SampleKey(), &scratch, pixels.data_ptr<uint8_t>()).ok());
    if (one.contains("tensor")) {
      EXPECT_TRUE(at::equal(pixels[0], golden[one["tensor"]]));
      ++bytes_compared;
    }
    if (one.contains("normalised")) {
      const at::Tensor normalised = NormalizePixels(pixels, kImageNetMean, kImageNetStd);
      EXPECT_TRUE(testing::TensorNear(normalised[0], golden[one["normalised"]], kTolerance));
      ++floats_compared;
    }
  }
  EXPECT_GT(bytes_compared, 0);
  EXPECT_GT(floats_compared, 0);
}

}  // namespace
}  // namespace tec
