// What a pickle holds once it has been read: values, and tensors where their bytes lie.

#include <string.h>

#include <memory>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"
#include "tec/checkpoint/pickle.h"
#include "tec/checkpoint/pickle_names.h"

namespace tec {
namespace {

absl::Status Invalid(absl::string_view message) { return absl::InvalidArgumentError(message); }

// What telling twice-used keys apart takes for one key: an entry of a hash set and its place in the table.
constexpr size_t kKeyMemory = 72;

}  // namespace

absl::StatusOr<Value> PickleInterpreter::Result(std::shared_ptr<const void> owner, bool mapped) {
  TEC_CHECK(stopped_);
  owner_ = std::move(owner);
  mapped_ = mapped;
  return Expand(result_, 0);
}

absl::StatusOr<Value> PickleInterpreter::Expand(const Node* node, int depth) {
  if (depth > kMaxDepth) return Invalid(absl::StrCat("objects nested deeper than ", kMaxDepth));
  // The Value itself is charged with the list it is put in.
  TEC_RETURN_IF_ERROR(ChargeText(node->text.size()));
  switch (node->kind) {
    case Kind::kNone:
      return Value::None();
    case Kind::kBool:
      return Value::Bool(node->boolean);
    case Kind::kInt:
      return Value::Int(node->number);
    case Kind::kBigInt:
      return Value::Text(Value::Kind::kBigInt, node->text);
    case Kind::kDouble:
      return Value::Double(node->real);
    case Kind::kString:
      return Value::String(node->text);
    case Kind::kBytes:
      return Value::Text(Value::Kind::kBytes, node->text);
    case Kind::kGlobal:
      return Value::Text(Value::Kind::kGlobal, node->text);
    case Kind::kDType:
      return Value::Text(Value::Kind::kGlobal, absl::StrCat("numpy.dtype.", node->text));
    case Kind::kStorage:
      return Invalid("a storage outside of a tensor");
    case Kind::kTensor: {
      TEC_ASSIGN_OR_RETURN(TensorView view, ExpandTensor(tensors_[node->number]));
      return Value::Tensor(std::move(view));
    }
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kSet: {
      std::vector<Value> items;
      TEC_RETURN_IF_ERROR(Reserve(&items, node->items.size()));
      for (const Node* item : node->items) {
        TEC_ASSIGN_OR_RETURN(Value value, Expand(item, depth + 1));
        items.push_back(std::move(value));
      }
      return Value::Items(node->kind == Kind::kList    ? Value::Kind::kList
                          : node->kind == Kind::kTuple ? Value::Kind::kTuple
                                                       : Value::Kind::kSet,
                          std::move(items));
    }
    case Kind::kDict:
    case Kind::kOrderedDict:
    case Kind::kNamespace: {
      std::vector<std::pair<Value, Value>> entries;
      std::unordered_set<std::string_view> texts;
      std::unordered_set<int64_t> numbers;
      const size_t count = node->items.size() / 2;
      TEC_RETURN_IF_ERROR(Reserve(&entries, count));
      TEC_RETURN_IF_ERROR(Charge(count * kKeyMemory));
      for (size_t i = 0; i < node->items.size(); i += 2) {
        const Node* key = node->items[i];
        switch (key->kind) {
          case Kind::kString:
            if (!texts.insert(key->text).second)
              return Invalid(absl::StrCat("key ", QuotedInPickle(key->text), " occurs twice"));
            break;
          case Kind::kInt:
            if (!numbers.insert(key->number).second) return Invalid(absl::StrCat("key ", key->number, " occurs twice"));
            break;
          case Kind::kNone:
          case Kind::kBool:
          case Kind::kBigInt:
          case Kind::kDouble:
          case Kind::kBytes:
          case Kind::kTuple:
          case Kind::kGlobal:
            break;
          default:
            return Invalid(absl::StrCat(NameOf(key), " as the key of a dict"));
        }
        TEC_ASSIGN_OR_RETURN(Value key_value, Expand(key, depth + 1));
        absl::StatusOr<Value> value = Expand(node->items[i + 1], depth + 1);
        if (!value.ok()) {
          // The way to what is wrong, near the top only: a path of a thousand names helps nobody.
          if (depth < 4 && key->kind == Kind::kString) return Annotate(value.status(), QuotedInPickle(key->text));
          return value.status();
        }
        entries.emplace_back(std::move(key_value), *std::move(value));
      }
      memory_left_ += count * kKeyMemory;
      return Value::Entries(node->kind == Kind::kDict          ? Value::Kind::kDict
                            : node->kind == Kind::kOrderedDict ? Value::Kind::kOrderedDict
                                                               : Value::Kind::kObject,
                            std::move(entries), node->kind == Kind::kNamespace ? "argparse.Namespace" : "");
    }
  }
  return Invalid("?");
}

absl::StatusOr<TensorView> PickleInterpreter::ExpandTensor(const TensorRecord& record) {
  const StorageView& part = views_[record.view];
  const PickleStorage& storage = storages_.at(part.key);
  const size_t size = DTypeSize(storage.dtype);
  TEC_CHECK_EQ(storage.bytes.size(), storage.num_elements * size);
  TensorView view;
  view.dtype = storage.dtype;
  view.shape = record.shape;
  const int64_t elements = view.NumElements();
  TEC_RETURN_IF_ERROR(Charge(sizeof(TensorView) + 64 + record.shape.size() * sizeof(int64_t)));
  if (elements == 0) return view;

  bool dense = true;
  int64_t expected = 1;
  for (size_t i = record.shape.size(); i-- > 0;) {
    if (record.shape[i] != 1 && record.strides[i] != expected) dense = false;
    expected *= record.shape[i];
  }
  const char* source = storage.bytes.data() + (part.offset + record.offset) * size;
  if (dense) {
    view.bytes = absl::string_view(source, elements * size);
    view.owner = owner_;
    view.mapped = mapped_;
    return view;
  }
  if (elements > static_cast<int64_t>(copies_left_ / size)) {
    return Invalid(
        absl::StrCat("a tensor expanded to ", elements, " elements by its strides is far larger than the file"));
  }
  TEC_RETURN_IF_ERROR(Charge(96));
  copies_left_ -= elements * size;
  auto copy = std::make_shared<std::string>(elements * size, '\0');
  char* out = &(*copy)[0];
  std::vector<int64_t> index(record.shape.size(), 0);
  int64_t offset = 0;
  for (int64_t n = 0; n < elements; ++n, out += size) {
    memcpy(out, source + offset * size, size);
    for (size_t i = record.shape.size(); i-- > 0;) {
      offset += record.strides[i];
      if (++index[i] < record.shape[i]) break;
      offset -= index[i] * record.strides[i];
      index[i] = 0;
    }
  }
  view.bytes = *copy;
  view.owner = std::move(copy);
  // Not both the copy and the pages it was made from.
  TensorView original;
  original.bytes = storage.bytes;
  original.mapped = mapped_;
  ReleasePages(original);
  return view;
}

}  // namespace tec
