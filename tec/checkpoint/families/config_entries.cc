#include "tec/checkpoint/families/config_entries.h"

#include "absl/strings/str_cat.h"
#include "tec/base/printable.h"
#include "tec/base/status.h"

namespace tec {
namespace {

using nlohmann::json;

constexpr double kMaxSize = 1 << 24;

absl::Status Invalid(absl::string_view message) { return absl::InvalidArgumentError(message); }

}  // namespace

json ObjectIn(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_object() ? *found : json::object();
}

std::string TextIn(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

absl::Status TakeSize(const json& object, const char* key, int64_t* size, int64_t least) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return absl::OkStatus();
  if (!found->is_number() || found->get<double>() < least || found->get<double>() > kMaxSize ||
      found->get<double>() != static_cast<double>(static_cast<int64_t>(found->get<double>()))) {
    return Invalid(absl::StrCat(key, " is ", Printable(found->dump().substr(0, 100)), ", no such number"));
  }
  *size = static_cast<int64_t>(found->get<double>());
  return absl::OkStatus();
}

absl::Status TakeSizes(const json& object, const char* key, int64_t* height, int64_t* width) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return absl::OkStatus();
  const json list = found->is_array() ? *found : json::array({*found, *found});
  if (list.size() < 2 || list.size() > 3) return Invalid(absl::StrCat(key, " is no size of images"));
  const json pair = {{"height", list[list.size() - 2]}, {"width", list[list.size() - 1]}};
  TEC_RETURN_IF_ERROR(Annotate(TakeSize(pair, "height", height), key));
  return Annotate(TakeSize(pair, "width", width), key);
}

absl::Status TakeSquare(const json& object, const char* key, int64_t* size) {
  int64_t height = *size, width = *size;
  TEC_RETURN_IF_ERROR(TakeSizes(object, key, &height, &width));
  if (height != width) return Invalid(absl::StrCat(key, " is ", height, " x ", width, ": only squares are known"));
  *size = height;
  return absl::OkStatus();
}

absl::Status TakeActivation(const json& object, const char* key, std::optional<Activation>* activation) {
  const std::string name = TextIn(object, key);
  if (name.empty()) return absl::OkStatus();
  if (name == "gelu") {
    *activation = Activation::kGelu;
  } else if (name == "quick_gelu" || name == "quickgelu") {
    *activation = Activation::kQuickGelu;
  } else if (name == "gelu_pytorch_tanh" || name == "gelu_tanh" || name == "gelu_new") {
    *activation = Activation::kGeluTanh;
  } else {
    return Invalid(absl::StrCat(key, " is \"", Printable(name.substr(0, 100)),
                                "\"; known are gelu, gelu_pytorch_tanh and quick_gelu"));
  }
  return absl::OkStatus();
}

void TakePositive(const json& object, const char* key, std::optional<double>* number) {
  const auto found = object.find(key);
  if (found != object.end() && found->is_number() && found->get<double>() > 0) *number = found->get<double>();
}

absl::Status TakeFlag(const json& object, const char* key, std::optional<bool>* flag) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return absl::OkStatus();
  if (!found->is_boolean()) {
    return Invalid(absl::StrCat(key, " is ", Printable(found->dump().substr(0, 100)), ", neither true nor false"));
  }
  *flag = found->get<bool>();
  return absl::OkStatus();
}

absl::StatusOr<int64_t> HiddenOf(int64_t width, double ratio) {
  const double hidden = static_cast<double>(width) * ratio;
  if (hidden > kMaxSize) return Invalid(absl::StrCat("mlp_ratio is ", ratio, ", no such number"));
  return static_cast<int64_t>(hidden);
}

void TakeNumbers(const json& object, const char* key, std::vector<float>* numbers) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_array() || found->size() > 64) return;
  for (const json& number : *found) {
    if (number.is_number()) numbers->push_back(number.get<float>());
  }
}

}  // namespace tec
