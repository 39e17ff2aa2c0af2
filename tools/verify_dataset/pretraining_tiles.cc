#include "tools/verify_dataset/pretraining_tiles.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <utility>

#include "data/augment/resize.h"
#include "data/image/decode.h"
#include "data/loader/transform.h"
#include "tec/base/random.h"
#include "tec/base/status.h"

namespace tec {
namespace {

constexpr uint8_t kGrey = 128;

Image GreyTile(int size) {
  Image tile(size, size);
  std::memset(tile.data(), kGrey, tile.size_bytes());
  return tile;
}

Image Whole(const Image& picture, int size) {
  const double scale = static_cast<double>(size) / std::max(picture.height(), picture.width());
  const int height = std::clamp(static_cast<int>(std::lround(scale * picture.height())), 1, size);
  const int width = std::clamp(static_cast<int>(std::lround(scale * picture.width())), 1, size);
  Image scaled(height, width);
  ResizeScratch scratch;
  ResizeBicubic(picture, Box{0, 0, picture.height(), picture.width()}, height, width, /*flip=*/false, &scratch,
                scaled.data());
  Image tile = GreyTile(size);
  for (int y = 0; y < height; ++y) {
    std::memcpy(tile.row((size - height) / 2 + y) + 3 * ((size - width) / 2), scaled.row(y), scaled.stride());
  }
  return tile;
}

// As tec/nn/masking.h: the patches with the smallest noise stay, the earlier one of equals.
std::vector<bool> Masked(const PretrainingTilesOptions& options) {
  const int64_t grid = options.size / options.patch_size, patches = grid * grid;
  RandomStream stream(RandomKey{options.seed, RandomPurpose::kMask, 0, options.index});
  std::vector<float> noise(patches);
  for (float& value : noise) value = stream.NextFloat();
  std::vector<int64_t> order(patches);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return noise[a] < noise[b]; });
  std::vector<bool> masked(patches, true);
  const auto visible = static_cast<int64_t>(static_cast<double>(patches) * (1 - options.mask_ratio));
  for (int64_t i = 0; i < visible; ++i) masked[order[i]] = false;
  return masked;
}

}  // namespace

absl::StatusOr<std::vector<Image>> PretrainingTiles(const std::string& encoded,
                                                    const PretrainingTilesOptions& options) {
  Image picture;
  TEC_RETURN_IF_ERROR(DecodeImage(encoded, &picture));
  TrainTransform::Options transform;
  transform.size = options.size;
  Image crop(options.size, options.size);
  TransformScratch scratch;
  TEC_RETURN_IF_ERROR(
      TrainTransform(transform).Apply(encoded, SampleKey{options.seed, 0, options.index}, &scratch, crop.data()));
  Image seen(options.size, options.size);
  std::memcpy(seen.data(), crop.data(), crop.size_bytes());
  const std::vector<bool> masked = Masked(options);
  const int patch = options.patch_size, grid = options.size / patch;
  for (int y = 0; y < grid * patch; ++y) {
    for (int x = 0; x < grid * patch; ++x) {
      if (masked[y / patch * grid + x / patch]) std::memset(seen.row(y) + 3 * x, kGrey, 3);
    }
  }
  std::vector<Image> tiles;
  tiles.push_back(Whole(picture, options.size));
  tiles.push_back(std::move(crop));
  tiles.push_back(std::move(seen));
  return tiles;
}

}  // namespace tec
