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

void EraseBoxes(const std::vector<std::vector<ErasedBox>>& boxes, const at::Tensor& images) {
  TEC_CHECK_EQ(static_cast<int64_t>(boxes.size()), images.size(0));
  const int64_t channels = images.size(1);
  for (size_t n = 0; n < boxes.size(); ++n) {
    for (const ErasedBox& erased : boxes[n]) {
      const bool whole = static_cast<int64_t>(erased.values.size()) == channels;
      const int64_t height = whole ? 1 : erased.box.height, width = whole ? 1 : erased.box.width;
      TEC_CHECK_EQ(static_cast<int64_t>(erased.values.size()), channels * height * width);
      const at::Tensor values =
          at::from_blob(const_cast<float*>(erased.values.data()), {channels, height, width}, at::kFloat);
      Cut(images[static_cast<int64_t>(n)], erased.box).copy_(values);
    }
  }
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

at::Tensor MixTargets(const at::Tensor& labels, int64_t classes, double smoothing, const std::vector<Mix>& mixes) {
  const int64_t count = labels.size(0);
  CheckSizes(count, mixes);
  const double off = smoothing / static_cast<double>(classes), on = 1 - smoothing + off;
  const at::Tensor own = at::full({count, classes}, off, labels.options().dtype(at::kFloat));
  own.scatter_(1, labels.unsqueeze(1), on);
  const at::Tensor partner = own.flip(0);
  if (mixes.size() == 1) return own * mixes[0].lambda + partner * (1 - mixes[0].lambda);
  std::vector<float> shares;
  for (const Mix& mix : mixes) shares.push_back(static_cast<float>(mix.lambda));
  const at::Tensor share = at::tensor(shares, at::kFloat).to(labels.device()).unsqueeze(1);
  return own * share + partner * (1 - share);
}

}  // namespace tec
