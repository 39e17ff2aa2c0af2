#include "tools/contact_sheet/contact_sheet.h"

#include <algorithm>
#include <cstring>

#include "tec/base/logging.h"

namespace tec {
namespace {

constexpr int kGap = 4;
constexpr uint8_t kGrey = 96;

}  // namespace

Image ContactSheet(const std::vector<Image>& tiles, int columns) {
  TEC_CHECK(!tiles.empty() && columns >= 1);
  const int across = std::min(columns, static_cast<int>(tiles.size()));
  const int down = (static_cast<int>(tiles.size()) + across - 1) / across;
  const int height = tiles[0].height() + kGap, width = tiles[0].width() + kGap;
  Image sheet(down * height + kGap, across * width + kGap);
  std::memset(sheet.data(), kGrey, sheet.size_bytes());
  for (size_t i = 0; i < tiles.size(); ++i) {
    const Image& tile = tiles[i];
    TEC_CHECK(tile.height() + kGap == height && tile.width() + kGap == width) << "tile " << i;
    const int top = kGap + static_cast<int>(i) / across * height, left = kGap + static_cast<int>(i) % across * width;
    for (int y = 0; y < tile.height(); ++y) std::memcpy(sheet.row(top + y) + 3 * left, tile.row(y), tile.stride());
  }
  return sheet;
}

}  // namespace tec
