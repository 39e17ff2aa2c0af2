#include "tec/base/json_text.h"

#include "tec/base/printable.h"

namespace tec {
namespace {

using Json = nlohmann::ordered_json;

Json InUtf8(const Json& json) {
  if (json.is_string()) return ToUtf8(json.get_ref<const std::string&>());
  Json result = json;
  if (json.is_array()) {
    for (Json& value : result) value = InUtf8(value);
  } else if (json.is_object()) {
    result = Json::object();
    for (const auto& [key, value] : json.items()) result[ToUtf8(key)] = InUtf8(value);
  }
  return result;
}

}  // namespace

std::string DumpJson(const nlohmann::ordered_json& json, int indent) {
  try {
    return json.dump(indent);
  } catch (const Json::type_error&) {  // No UTF-8.
    return InUtf8(json).dump(indent);
  }
}

}  // namespace tec
