#include "eval/finetune/mix_batch.h"

#include "ATen/ATen.h"
#include "tec/base/logging.h"

namespace tec {
namespace {

// [..., rows, columns] -> the box of it, a view.
at::Tensor Cut(const at::Tensor& images, const Box& box) {
  return images.narrow(-2, box.top, box.height).narrow(-1, box.left, box.width);
}

// `out` is a copy of `own`, which `partner` is mixed into.
void MixInto(const Mix& mix, const at::Tensor& partner, const at::Tensor& out) {
  switch (mix.kind) {
    case Mix::Kind::kNone:
      return;
    case Mix::Kind::kMixup:
      out.mul_(mix.lambda).add_(partner * (1 - mix.lambda));
      return;
    case Mix::Kind::kCutmix:
      Cut(out, mix.box).copy_(Cut(partner, mix.box));
      return;
  }
}

void CheckSizes(int64_t images, const std::vector<Mix>& mixes) {
  TEC_CHECK(images % 2 == 0) << "mixing pairs images, of which there are " << images;
  TEC_CHECK(mixes.size() == 1 || static_cast<int64_t>(mixes.size()) == images) << mixes.size() << " of " << images;
}

}  // namespace

ErasedPixels PixelsOf(const std::vector<std::vector<ErasedBox>>& boxes, int64_t channels, int64_t rows,
                      int64_t columns) {
  std::vector<int64_t> places;
  std::vector<float> values;
  std::vector<bool> taken;  // Of an image's pixels: the last box counts, and a place is written once.
  for (size_t n = 0; n < boxes.size(); ++n) {
    taken.assign(boxes[n].size() > 1 ? rows * columns : 0, false);
    for (auto erased = boxes[n].rbegin(); erased != boxes[n].rend(); ++erased) {
      const Box& box = erased->box;
      const bool whole = static_cast<int64_t>(erased->values.size()) == channels;
      TEC_CHECK_EQ(static_cast<int64_t>(erased->values.size()), channels * (whole ? 1 : box.height * box.width));
      TEC_CHECK(box.top >= 0 && box.left >= 0 && box.top + box.height <= rows && box.left + box.width <= columns);
      for (int64_t y = 0; y < box.height; ++y) {
        for (int64_t x = 0; x < box.width; ++x) {
          const int64_t pixel = (box.top + y) * columns + box.left + x;
          if (!taken.empty() && taken[pixel]) continue;
          if (!taken.empty()) taken[pixel] = true;
          for (int64_t c = 0; c < channels; ++c) {
            places.push_back((static_cast<int64_t>(n) * channels + c) * rows * columns + pixel);
            values.push_back(erased->values[whole ? c : (c * box.height + y) * box.width + x]);
          }
        }
      }
    }
  }
  if (places.empty()) return {};
  return {at::tensor(places, at::kLong), at::tensor(values, at::kFloat)};
}

// In one operation: one a box would make many small ones of it.
void ErasePixels(const ErasedPixels& erased, const at::Tensor& images) {
  if (!erased.places.defined()) return;
  TEC_CHECK(images.is_contiguous());
  images.view({-1}).scatter_(0, erased.places, erased.values);
}

void EraseBoxes(const std::vector<std::vector<ErasedBox>>& boxes, const at::Tensor& images) {
  TEC_CHECK_EQ(static_cast<int64_t>(boxes.size()), images.size(0));
  const ErasedPixels erased = PixelsOf(boxes, images.size(1), images.size(2), images.size(3));
  if (!erased.places.defined()) return;
  ErasePixels({erased.places.to(images.device()), erased.values.to(images.device())}, images);
}

at::Tensor MixImages(const at::Tensor& images, const std::vector<Mix>& mixes) {
  const int64_t count = images.size(0);
  CheckSizes(count, mixes);
  const at::Tensor result = images.clone();
  if (mixes.size() == 1) {
    if (mixes[0].kind != Mix::Kind::kNone) MixInto(mixes[0], images.flip(0), result);
    return result;
  }
  for (int64_t n = 0; n < count; ++n) MixInto(mixes[n], images[count - 1 - n], result[n]);
  return result;
}

at::Tensor MixShares(const std::vector<Mix>& mixes) {
  if (mixes.size() == 1) return {};
  std::vector<float> shares;
  for (const Mix& mix : mixes) shares.push_back(static_cast<float>(mix.lambda));
  return at::tensor(shares, at::kFloat);
}

at::Tensor MixTargets(const at::Tensor& labels, int64_t classes, double smoothing, const std::vector<Mix>& mixes,
                      const at::Tensor& shares) {
  const int64_t count = labels.size(0);
  CheckSizes(count, mixes);
  const double off = smoothing / static_cast<double>(classes), on = 1 - smoothing + off;
  const at::Tensor own = at::full({count, classes}, off, labels.options().dtype(at::kFloat));
  own.scatter_(1, labels.unsqueeze(1), on);
  const at::Tensor partner = own.flip(0);
  if (mixes.size() == 1) return own * mixes[0].lambda + partner * (1 - mixes[0].lambda);
  const at::Tensor share = (shares.defined() ? shares : MixShares(mixes).to(labels.device())).unsqueeze(1);
  return own * share + partner * (1 - share);
}

}  // namespace tec
