#include "tec/checkpoint/families/image_statistics.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "tec/base/status.h"
#include "tec/checkpoint/small_json.h"

namespace tec {
namespace {

using nlohmann::json;

// A number, or a list of them; nothing of another type.
std::vector<float> NumbersIn(const json& object, const char* key) {
  std::vector<float> numbers;
  const auto found = object.find(key);
  if (found == object.end() || found->size() > 64) return numbers;
  for (const json& number : found->is_array() ? *found : json::array({*found})) {
    if (number.is_number()) numbers.push_back(number.get<float>());
  }
  return numbers;
}

absl::StatusOr<ImageStatistics> Parse(const json& object, const char* mean, const char* std) {
  ImageStatistics statistics;
  // Pixels as they are.
  const auto normalises = object.find("do_normalize");
  if (normalises != object.end() && normalises->is_boolean() && !normalises->get<bool>()) return statistics;
  statistics.mean = NumbersIn(object, mean);
  statistics.std = NumbersIn(object, std);
  bool usable = statistics.mean.size() == statistics.std.size();
  for (float number : statistics.mean) usable = usable && std::isfinite(number);
  for (float number : statistics.std) usable = usable && std::isfinite(number) && number > 0;
  if (usable) return statistics;
  return absl::InvalidArgumentError(absl::StrCat(mean, " and ", std, " are no means and deviations of the channels"));
}

}  // namespace

absl::StatusOr<ImageStatistics> ReadImageStatisticsBeside(const std::string& file) {
  const size_t slash = file.rfind('/');
  const std::string folder = slash == std::string::npos ? "" : file.substr(0, slash + 1);
  struct Place {
    const char *name, *inside, *mean, *std;
  };
  for (const Place& place : {Place{"preprocessor_config.json", "", "image_mean", "image_std"},
                             Place{"open_clip_config.json", "preprocess_cfg", "mean", "std"}}) {
    const std::string path = absl::StrCat(folder, place.name);
    const absl::StatusOr<json> read = ReadSmallJson(path);
    if (absl::IsNotFound(read.status())) continue;
    TEC_RETURN_IF_ERROR(read.status());
    json object = *read;
    if (*place.inside != '\0')
      object = object.is_object() && object.contains(place.inside) ? object[place.inside] : json();
    if (!object.is_object()) continue;
    absl::StatusOr<ImageStatistics> statistics = Parse(object, place.mean, place.std);
    TEC_RETURN_IF_ERROR(Annotate(statistics.status(), path));
    if (!statistics->known()) continue;
    statistics->source = path;
    return statistics;
  }
  return ImageStatistics();
}

}  // namespace tec
