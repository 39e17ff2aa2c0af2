#include "eval/dense/training_pairs.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "data/augment/resize.h"
#include "data/augment/resize_nearest.h"
#include "data/image/decode.h"
#include "data/image/index_image.h"
#include "tec/base/random.h"
#include "tec/base/status.h"

namespace tec {
namespace {

constexpr size_t kLengthBytes = sizeof(uint64_t);  // Of the picture, before it, in this machine's order.

}  // namespace

absl::StatusOr<ClassPlaces> ClassPlaces::Create(int highest, const std::vector<int>& ignored) {
  ClassPlaces places;
  for (const int number : ignored) places.places_[number] = kNoClass;
  for (int number = 0; number < std::min(highest, 256); ++number) {
    if (places.places_[number] == kNoClass) continue;
    places.places_[number] = static_cast<int>(places.numbers_.size());
    places.numbers_.push_back(number);
  }
  if (places.numbers_.empty())
    return absl::InvalidArgumentError("no class is left: all numbers are ignored (--ignore)");
  if (places.numbers_.size() > kNoClass) {
    return absl::InvalidArgumentError("256 classes: at most 255 fit beside the pixels that are none");
  }
  return places;
}

absl::Status ClassPlaces::Map(Image* mask) const {
  uint8_t* pixels = mask->data();
  for (size_t i = 0; i < mask->size_bytes(); ++i) {
    const int place = places_[pixels[i]];
    if (place < 0) {
      return absl::InvalidArgumentError(absl::StrCat("the mask has the number ", pixels[i],
                                                     ", which is no class: those are ", numbers_.front(), " to ",
                                                     numbers_.back(), " (--nb_classes, --ignore)"));
    }
    pixels[i] = static_cast<uint8_t>(place);
  }
  return absl::OkStatus();
}

absl::StatusOr<int> HighestNumber(const MaskedPictures& pictures, const std::vector<int>& ignored) {
  int highest = 0;
  for (int64_t i = 0; i < pictures.size(); ++i) {
    TEC_ASSIGN_OR_RETURN(const Image mask, pictures.ReadMask(i));
    for (size_t p = 0; p < mask.size_bytes(); ++p) {
      const int number = mask.data()[p];
      if (number < highest) continue;
      if (std::find(ignored.begin(), ignored.end(), number) == ignored.end()) highest = number + 1;
    }
  }
  return highest;
}

absl::Status PairedPictures::Read(int64_t index, std::string* bytes) const {
  std::string picture;
  TEC_RETURN_IF_ERROR(pictures_->Read(index, &picture));
  std::string mask;
  TEC_RETURN_IF_ERROR(pictures_->ReadMaskBytes(index, &mask));
  const uint64_t length = picture.size();
  bytes->assign(reinterpret_cast<const char*>(&length), kLengthBytes);
  bytes->append(picture).append(mask);
  return absl::OkStatus();
}

absl::Status CheckSizes(const Image& picture, const Image& mask) {
  if (picture.height() == mask.height() && picture.width() == mask.width()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("the mask has ", mask.height(), " x ", mask.width(),
                                                 " pixels, its picture ", picture.height(), " x ", picture.width()));
}

absl::Status PairTransform::Apply(absl::string_view encoded, const SampleKey& key, TransformScratch* scratch,
                                  uint8_t* out) const {
  uint64_t length = 0;
  if (encoded.size() < kLengthBytes) return absl::InternalError("no pair of picture and mask");
  std::memcpy(&length, encoded.data(), kLengthBytes);
  Image picture, mask;
  TEC_RETURN_IF_ERROR(DecodeImage(encoded.substr(kLengthBytes, length), &picture, channels_));
  TEC_RETURN_IF_ERROR(DecodeIndexImage(encoded.substr(kLengthBytes + length), &mask));
  TEC_RETURN_IF_ERROR(CheckSizes(picture, mask));
  TEC_RETURN_IF_ERROR(places_.Map(&mask));

  RandomStream random(RandomKey{key.seed, RandomPurpose::kCrop, key.epoch, key.sample});
  const int h = picture.height(), w = picture.width(), longer = std::max(h, w);
  const int low = std::max(1, longer / 2), high = 2 * longer;
  const int side = low + static_cast<int>(random.UniformInt(high - low + 1));
  const int shorter = std::max(1, static_cast<int>(1.0 * std::min(h, w) * side / longer + 0.5));
  const int height = h > w ? side : shorter, width = h > w ? shorter : side;
  Image resized(height, width, channels_), resized_mask(height, width, 1);
  ResizeBicubic(picture, Box{0, 0, h, w}, height, width, /*flip=*/false, &scratch->resize, resized.data());
  ResizeNearest(mask, height, width, resized_mask.data());
  const int left = static_cast<int>(random.UniformInt(std::max(0, width - size_) + 1));
  const int top = static_cast<int>(random.UniformInt(std::max(0, height - size_) + 1));
  const bool flip = random.Bernoulli(0.5);
  for (int y = 0; y < size_; ++y) {
    for (int x = 0; x < size_; ++x, out += channels_ + 1) {
      const int row = top + y, column = left + (flip ? size_ - 1 - x : x);
      if (row < height && column < width) {
        std::memcpy(out, resized.row(row) + ptrdiff_t{channels_} * column, channels_);
        out[channels_] = resized_mask.row(row)[column];
      } else {
        std::memset(out, 0, channels_);
        out[channels_] = kNoClass;
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace tec
