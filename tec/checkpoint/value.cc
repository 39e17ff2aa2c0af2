#include "tec/checkpoint/value.h"

#include "absl/strings/str_cat.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"

namespace tec {
namespace {

absl::string_view KindName(Value::Kind kind) {
  switch (kind) {
    case Value::Kind::kNone:
      return "None";
    case Value::Kind::kBool:
      return "bool";
    case Value::Kind::kInt:
    case Value::Kind::kBigInt:
      return "int";
    case Value::Kind::kDouble:
      return "float";
    case Value::Kind::kString:
      return "str";
    case Value::Kind::kBytes:
      return "bytes";
    case Value::Kind::kList:
      return "list";
    case Value::Kind::kTuple:
      return "tuple";
    case Value::Kind::kSet:
      return "set";
    case Value::Kind::kDict:
      return "dict";
    case Value::Kind::kOrderedDict:
      return "OrderedDict";
    case Value::Kind::kTensor:
      return "tensor";
    case Value::Kind::kGlobal:
      return "name";
    case Value::Kind::kObject:
      return "object";
  }
  return "?";
}

}  // namespace

Value Value::Bool(bool value) {
  Value result;
  result.kind_ = Kind::kBool;
  result.content_ = value;
  return result;
}

Value Value::Int(int64_t value) {
  Value result;
  result.kind_ = Kind::kInt;
  result.content_ = value;
  return result;
}

Value Value::Double(double value) {
  Value result;
  result.kind_ = Kind::kDouble;
  result.content_ = value;
  return result;
}

Value Value::Text(Kind kind, std::string text) {
  Value result;
  result.kind_ = kind;
  result.content_ = std::move(text);
  return result;
}

Value Value::Items(Kind kind, std::vector<Value> items) {
  TEC_CHECK(kind == Kind::kList || kind == Kind::kTuple || kind == Kind::kSet);
  Value result;
  result.kind_ = kind;
  result.content_ = std::move(items);
  return result;
}

Value Value::Entries(Kind kind, std::vector<Entry> entries, std::string class_name) {
  TEC_CHECK(kind == Kind::kDict || kind == Kind::kOrderedDict || kind == Kind::kObject);
  Mapping mapping;
  mapping.entries = std::move(entries);
  if (kind == Kind::kObject) mapping.class_name = std::make_shared<const std::string>(std::move(class_name));
  Value result;
  result.kind_ = kind;
  result.content_ = std::move(mapping);
  return result;
}

Value Value::String(std::string value) { return Text(Kind::kString, std::move(value)); }
Value Value::List(std::vector<Value> items) { return Items(Kind::kList, std::move(items)); }
Value Value::Tuple(std::vector<Value> items) { return Items(Kind::kTuple, std::move(items)); }
Value Value::Dict() { return Entries(Kind::kDict, {}); }
Value Value::OrderedDict() { return Entries(Kind::kOrderedDict, {}); }

Value Value::Tensor(TensorView tensor) {
  Value result;
  result.kind_ = Kind::kTensor;
  result.content_ = std::make_shared<const TensorView>(std::move(tensor));
  return result;
}

Value Value::FromStateDict(const StateDict& tensors) {
  std::vector<Entry> entries;
  entries.reserve(tensors.size());
  for (const auto& [name, tensor] : tensors) entries.emplace_back(String(name), Tensor(tensor));
  return Entries(Kind::kOrderedDict, std::move(entries));
}

bool Value::bool_value() const {
  TEC_CHECK(kind_ == Kind::kBool);
  return std::get<bool>(content_);
}

int64_t Value::int_value() const {
  TEC_CHECK(kind_ == Kind::kInt);
  return std::get<int64_t>(content_);
}

double Value::double_value() const {
  TEC_CHECK(kind_ == Kind::kDouble);
  return std::get<double>(content_);
}

const std::string& Value::text() const {
  if (kind_ == Kind::kObject) return *std::get<Mapping>(content_).class_name;
  TEC_CHECK(std::holds_alternative<std::string>(content_)) << "no text in " << Describe();
  return std::get<std::string>(content_);
}

const std::vector<Value>& Value::items() const {
  TEC_CHECK(std::holds_alternative<std::vector<Value>>(content_)) << "no items in " << Describe();
  return std::get<std::vector<Value>>(content_);
}

const std::vector<std::pair<Value, Value>>& Value::entries() const {
  TEC_CHECK(std::holds_alternative<Mapping>(content_)) << "no entries in " << Describe();
  return std::get<Mapping>(content_).entries;
}

const TensorView& Value::tensor() const {
  TEC_CHECK(kind_ == Kind::kTensor);
  return *std::get<std::shared_ptr<const TensorView>>(content_);
}

const Value* Value::Find(absl::string_view key) const {
  for (const auto& [k, value] : entries()) {
    if (k.kind() == Kind::kString && k.text() == key) return &value;
  }
  return nullptr;
}

const Value* Value::Find(int64_t key) const {
  for (const auto& [k, value] : entries()) {
    if (k.kind() == Kind::kInt && k.int_value() == key) return &value;
  }
  return nullptr;
}

void Value::Set(absl::string_view key, Value value) {
  TEC_CHECK(is_dict());
  if (const Value* old = Find(key)) {
    const_cast<Value&>(*old) = std::move(value);
  } else {
    std::get<Mapping>(content_).entries.emplace_back(String(std::string(key)), std::move(value));
  }
}

void Value::Set(int64_t key, Value value) {
  TEC_CHECK(is_dict());
  if (const Value* old = Find(key)) {
    const_cast<Value&>(*old) = std::move(value);
  } else {
    std::get<Mapping>(content_).entries.emplace_back(Int(key), std::move(value));
  }
}

void Value::Append(Value value) {
  TEC_CHECK(std::holds_alternative<std::vector<Value>>(content_));
  std::get<std::vector<Value>>(content_).push_back(std::move(value));
}

absl::StatusOr<const Value*> Value::Get(absl::string_view key) const {
  if (!is_dict() && kind_ != Kind::kObject) {
    return absl::InvalidArgumentError(absl::StrCat("\"", key, "\" looked for in a ", Describe()));
  }
  const Value* value = Find(key);
  if (value == nullptr) return absl::NotFoundError(absl::StrCat("\"", key, "\" is missing"));
  return value;
}

namespace {

absl::Status WrongKind(absl::string_view key, const Value& value, absl::string_view wanted) {
  return absl::InvalidArgumentError(absl::StrCat("\"", key, "\" is ", value.Describe(), ", not ", wanted));
}

}  // namespace

absl::StatusOr<bool> Value::GetBool(absl::string_view key) const {
  TEC_ASSIGN_OR_RETURN(const Value* value, Get(key));
  if (value->kind() != Kind::kBool) return WrongKind(key, *value, "bool");
  return value->bool_value();
}

absl::StatusOr<int64_t> Value::GetInt(absl::string_view key) const {
  TEC_ASSIGN_OR_RETURN(const Value* value, Get(key));
  if (value->kind() != Kind::kInt) return WrongKind(key, *value, "int");
  return value->int_value();
}

absl::StatusOr<double> Value::GetDouble(absl::string_view key) const {
  TEC_ASSIGN_OR_RETURN(const Value* value, Get(key));
  if (value->kind() == Kind::kInt) return static_cast<double>(value->int_value());
  if (value->kind() != Kind::kDouble) return WrongKind(key, *value, "float");
  return value->double_value();
}

absl::StatusOr<std::string> Value::GetString(absl::string_view key) const {
  TEC_ASSIGN_OR_RETURN(const Value* value, Get(key));
  if (value->kind() != Kind::kString) return WrongKind(key, *value, "str");
  return value->text();
}

std::string Value::Describe() const {
  std::string text(KindName(kind_));
  if (kind_ == Kind::kTensor) absl::StrAppend(&text, " ", ::tec::Describe(tensor()));
  if (kind_ == Kind::kGlobal || kind_ == Kind::kObject) absl::StrAppend(&text, " ", this->text());
  if (std::holds_alternative<std::vector<Value>>(content_)) absl::StrAppend(&text, " of ", items().size());
  if (is_dict()) absl::StrAppend(&text, " of ", entries().size());
  return text;
}

}  // namespace tec
