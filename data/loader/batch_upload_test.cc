#include "data/loader/batch_upload.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ATen/ATen.h"
#include "absl/strings/str_cat.h"
#include "data/loader/batch_images.h"
#include "gtest/gtest.h"
#include "tec/testing/fused_comparison.h"

namespace tec {
namespace {

constexpr int64_t kImages = 24, kBatch = 3, kBatches = kImages / kBatch;
constexpr int kSize = 4;

// Pictures whose bytes all say which one they are, from 1.
class NumberedPictures : public Dataset {
 public:
  int64_t size() const override { return kImages; }
  int32_t label(int64_t index) const override { return static_cast<int32_t>(index); }
  std::string name(int64_t index) const override { return absl::StrCat(index); }
  const std::vector<std::string>& classes() const override { return classes_; }
  absl::Status Read(int64_t index, std::string* bytes) const override {
    *bytes = std::string(1, static_cast<char>(index + 1));
    return absl::OkStatus();
  }

 private:
  std::vector<std::string> classes_;
};

class Filling : public Transform {
 public:
  int size() const override { return kSize; }
  absl::Status Apply(absl::string_view encoded, const SampleKey&, TransformScratch*, uint8_t* out) const override {
    std::fill(out, out + size_t{3} * kSize * kSize, static_cast<uint8_t>(encoded[0]));
    return absl::OkStatus();
  }
};

// Memory that is given back is spoilt at once: 0xFF, as floats no numbers.
std::unique_ptr<Loader> MakeLoader(std::function<std::shared_ptr<uint8_t>(size_t bytes)> allocate = nullptr) {
  LoaderOptions options;
  options.batch_size = kBatch;
  options.allocate = std::move(allocate);
  options.released = [](absl::Span<uint8_t> pixels) { std::fill(pixels.begin(), pixels.end(), 0xFF); };
  auto loader = Loader::Create(std::make_shared<NumberedPictures>(), std::make_shared<Filling>(), options);
  EXPECT_TRUE(loader.ok()) << loader.status();
  return *std::move(loader);
}

// A device that does nothing before it must: its copies and its computing are two queues, each of which is worked off
// only as far as somebody waits for it.
class LateDevice {
 public:
  class Stream : public CopyStream {
   public:
    explicit Stream(LateDevice& device) : device_(device) {}
    void Copy(const at::Tensor& from, const at::Tensor& to) override {
      device_.copies_.Add([from, to] { to.copy_(from); });
    }
    std::shared_ptr<const Mark> Copied() override {
      auto mark = std::make_shared<QueueMark>(device_.copies_);
      device_.computing_.Add([mark] { mark->Wait(); });
      return mark;
    }
    std::shared_ptr<const Mark> Computed() override { return std::make_shared<QueueMark>(device_.computing_); }
    void Follow(const Mark& mark) override {
      device_.copies_.Add([own = static_cast<const QueueMark&>(mark)] { own.Wait(); });
    }

   private:
    LateDevice& device_;
  };

  std::unique_ptr<CopyStream> NewStream() { return std::make_unique<Stream>(*this); }
  void Compute(std::function<void()> body) { computing_.Add(std::move(body)); }
  void Finish() { QueueMark(computing_).Wait(); }

 private:
  struct Queue {
    void Add(std::function<void()> work) { all.push_back(std::move(work)); }
    std::vector<std::function<void()>> all;
    size_t done = 0;
  };
  struct QueueMark : CopyStream::Mark {
    explicit QueueMark(Queue& q) : queue(q), end(q.all.size()) {}
    void Wait() const override {
      while (queue.done < end) {
        const std::function<void()> work = queue.all[queue.done++];
        work();
      }
    }
    Queue& queue;
    size_t end;
  };
  Queue copies_, computing_;
};

TEST(BatchUploadTest, WhatIsComputedLateIsOfTheBatchThatWasSent) {
  LateDevice device;
  auto loader = MakeLoader();
  int64_t computed = 0;
  {
    BatchUpload upload(at::kCPU, /*pin=*/false, device.NewStream());
    for (int64_t epoch = 0; epoch < 2; ++epoch) {
      loader->StartEpoch(epoch);
      for (int64_t number = 0; number < kBatches; ++number) {
        const absl::StatusOr<const Batch*> next = loader->Next();
        ASSERT_TRUE(next.ok() && *next != nullptr) << next.status();
        const Batch& batch = **next;
        const at::Tensor labels = at::tensor(batch.labels, at::kLong);
        const at::Tensor draws = at::full({number % 4, 2}, 100.5 * epoch + number, at::kFloat);
        // A batch in the middle brings more than any before it.
        const at::Tensor more = at::full({number == 4 ? 5000 : 1}, number, at::kDouble);
        const BatchUpload::OnDevice sent = upload.Send(*loader, batch, {labels, {}, draws, more});
        ASSERT_EQ(sent.rest.size(), 4);
        EXPECT_FALSE(sent.rest[1].defined());
        const at::Tensor expected =
            (labels + 1).to(at::kByte).view({kBatch, 1, 1, 1}).expand({kBatch, kSize, kSize, 3});
        device.Compute([=, &computed] {
          EXPECT_TRUE(at::equal(sent.pixels, expected)) << epoch << " " << number;
          EXPECT_TRUE(at::equal(sent.rest[0], labels)) << epoch << " " << number;
          EXPECT_TRUE(at::equal(sent.rest[2], draws)) << epoch << " " << number;
          EXPECT_TRUE(at::equal(sent.rest[3], more)) << epoch << " " << number;
          ++computed;
        });
      }
    }
  }
  loader.reset();
  device.Finish();
  EXPECT_EQ(computed, 2 * kBatches);
}

TEST(BatchUploadTest, SendsWhatGoesWithNoBatch) {
  LateDevice device;
  BatchUpload upload(at::kCPU, /*pin=*/false, device.NewStream());
  for (int64_t number = 0; number < 5; ++number) {
    const at::Tensor rows = at::arange(number, number + 7);
    const std::vector<at::Tensor> sent = upload.Send({rows});
    device.Compute([=] { EXPECT_TRUE(at::equal(sent.at(0), rows)) << number; });
  }
  device.Finish();
}

TEST(BatchUploadTest, TheProcessorReadsTheBatchItself) {
  auto loader = MakeLoader();
  loader->StartEpoch(0);
  BatchUpload upload(at::kCPU);
  const Batch* batch = *loader->Next();
  const at::Tensor labels = at::tensor(batch->labels);
  const BatchUpload::OnDevice sent = upload.Send(*loader, *batch, {labels});
  EXPECT_EQ(sent.pixels.const_data_ptr(), batch->pixels.data());
  EXPECT_TRUE(sent.rest.at(0).is_same(labels));
}

// Real ones, from page-locked memory that is spoilt when the loader has it back.
TEST(BatchUploadTest, OnEveryDevice) {
  for (const c10::Device device : testing::Devices()) {
    SCOPED_TRACE(device.str());
    auto loader = MakeLoader(BatchMemory(device, /*pin=*/true));
    BatchUpload upload(device);
    std::vector<at::Tensor> sums, labels;
    loader->StartEpoch(0);
    while (const Batch* batch = *loader->Next()) {
      labels.push_back(at::tensor(batch->labels, at::kLong));
      const BatchUpload::OnDevice sent = upload.Send(*loader, *batch, {labels.back()});
      const at::Tensor of_pixels = sent.pixels.to(at::kLong).sum({1, 2, 3});
      sums.push_back(of_pixels - (sent.rest[0] + 1) * 3 * kSize * kSize);
    }
    ASSERT_EQ(sums.size(), kBatches);
    EXPECT_EQ(at::cat(sums).abs().sum().item<int64_t>(), 0);
  }
}

}  // namespace
}  // namespace tec
