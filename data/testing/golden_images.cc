#include "data/testing/golden_images.h"

#include <cstring>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "tec/base/file.h"
#include "tec/base/logging.h"
#include "tec/base/sha256.h"

namespace tec {
namespace testing {

std::string GoldenPath(const std::string& name) { return absl::StrCat("tec/testing/goldens/", name); }

std::string ReadGolden(const std::string& name) {
  auto bytes = ReadFile(GoldenPath(name));
  TEC_CHECK_OK(bytes);
  return *std::move(bytes);
}

std::map<std::string, Image> ReadGoldenImages(const std::string& name) {
  const std::string bytes = ReadGolden(name);
  uint64_t header_size;
  TEC_CHECK_GE(bytes.size(), sizeof(header_size));
  std::memcpy(&header_size, bytes.data(), sizeof(header_size));
  const auto header = nlohmann::json::parse(bytes.substr(8, header_size));
  const absl::string_view data = absl::string_view(bytes).substr(8 + header_size);
  std::map<std::string, Image> images;
  for (const auto& [key, tensor] : header.items()) {
    if (key == "__metadata__" || tensor["dtype"] != "U8") continue;
    const auto& shape = tensor["shape"];
    TEC_CHECK(shape.size() == 3 && shape[2] == 3) << key;
    Image image(shape[0], shape[1]);
    const uint64_t begin = tensor["data_offsets"][0], end = tensor["data_offsets"][1];
    TEC_CHECK_EQ(end - begin, image.size_bytes());
    TEC_CHECK_LE(end, data.size());
    std::memcpy(image.data(), data.data() + begin, end - begin);
    images.emplace(key, std::move(image));
  }
  TEC_CHECK(!images.empty()) << name;
  return images;
}

Image CopyImage(const Image& image) {
  Image copy(image.height(), image.width());
  std::memcpy(copy.data(), image.data(), image.size_bytes());
  return copy;
}

std::string Sha256(const Image& image) {
  return tec::Sha256(absl::string_view(reinterpret_cast<const char*>(image.data()), image.size_bytes()));
}

}  // namespace testing
}  // namespace tec
