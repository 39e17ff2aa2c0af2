// The plain values a checkpoint holds beside and around its tensors: Python's None, bool, int, float, str, bytes, list,
// tuple, set and dict, and inert records of the few other classes that checkpoints carry (argparse.Namespace). The .pth
// reader returns one Value, the .pth writer takes one. A Value owns its children; tensors are views (tensor_view.h).
//
//   Value root = Value::Dict();
//   root.Set("epoch", Value::Int(7));
//   root.Set("betas", Value::Tuple({Value::Double(0.9), Value::Double(0.95)}));
//   TEC_ASSIGN_OR_RETURN(int64_t epoch, root.GetInt("epoch"));

#ifndef TEC_CHECKPOINT_VALUE_H_
#define TEC_CHECKPOINT_VALUE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tec/checkpoint/tensor_view.h"

namespace tec {

class Value {
 public:
  enum class Kind {
    kNone,
    kBool,
    kInt,
    kBigInt,  // An integer beyond 64 bits: text() is its little-endian two's complement bytes.
    kDouble,
    kString,  // UTF-8.
    kBytes,
    kList,
    kTuple,
    kSet,
    kDict,
    kOrderedDict,  // collections.OrderedDict: what state dicts are.
    kTensor,
    kGlobal,  // A bare name such as torch.float32: text() is "torch.float32".
    kObject,  // A record: text() is its class, entries() its attributes.
  };

  Value() = default;
  static Value None() { return Value(); }
  static Value Bool(bool value);
  static Value Int(int64_t value);
  static Value Double(double value);
  static Value String(std::string value);
  static Value List(std::vector<Value> items = {});
  static Value Tuple(std::vector<Value> items = {});
  static Value Dict();
  static Value OrderedDict();
  static Value Tensor(TensorView tensor);
  // An ordered dict of the tensors, names as they are.
  static Value FromStateDict(const StateDict& tensors);
  // kBigInt, kBytes, kGlobal.
  static Value Text(Kind kind, std::string text);
  // kList, kTuple, kSet.
  static Value Items(Kind kind, std::vector<Value> items);
  // kDict, kOrderedDict; kObject with its class.
  static Value Entries(Kind kind, std::vector<std::pair<Value, Value>> entries, std::string class_name = "");

  Kind kind() const { return kind_; }
  bool is_dict() const { return kind_ == Kind::kDict || kind_ == Kind::kOrderedDict; }

  // Each is a mistake of the caller (TEC_CHECK) on a value of another kind.
  bool bool_value() const;
  int64_t int_value() const;
  double double_value() const;
  const std::string& text() const;
  const std::vector<Value>& items() const;
  const std::vector<std::pair<Value, Value>>& entries() const;
  const TensorView& tensor() const;

  // Of a dict or object: the value under a text or number key, nullptr if there is none. Takes time linear in the
  // number of entries.
  const Value* Find(absl::string_view key) const;
  const Value* Find(int64_t key) const;

  // Of a dict: sets or replaces the entry.
  void Set(absl::string_view key, Value value);
  void Set(int64_t key, Value value);
  // Of a list, tuple or set.
  void Append(Value value);

  // Typed access for those who read a file: NotFound if the key is missing, InvalidArgument if its value has another
  // kind; both name the key. GetDouble takes an int too, as Python does.
  absl::StatusOr<const Value*> Get(absl::string_view key) const;
  absl::StatusOr<bool> GetBool(absl::string_view key) const;
  absl::StatusOr<int64_t> GetInt(absl::string_view key) const;
  absl::StatusOr<double> GetDouble(absl::string_view key) const;
  absl::StatusOr<std::string> GetString(absl::string_view key) const;

  // "dict of 5", "str", "tensor F32[2,3]": for messages.
  std::string Describe() const;

 private:
  using Entry = std::pair<Value, Value>;
  struct Mapping {
    // Of kObject only; apart, to keep a Value small: a file may hold a million.
    std::shared_ptr<const std::string> class_name;
    std::vector<Entry> entries;
  };

  Kind kind_ = Kind::kNone;
  std::variant<std::monostate, bool, int64_t, double, std::string, std::vector<Value>, Mapping,
               std::shared_ptr<const TensorView>>
      content_;
};

}  // namespace tec

#endif  // TEC_CHECKPOINT_VALUE_H_
