// The pickle inside a .pth file, interpreted symbolically. Nothing is ever called: the few global names on the list
// below stand for plain data, every other name and opcode is refused by name.
//
// Globals: collections.OrderedDict and Counter; torch._utils._rebuild_tensor_v2, _v3 and _rebuild_parameter; torch's
// storage classes and types; torch.Size, torch.device; argparse.Namespace; numpy's scalars and dtype; _codecs.encode;
// set.

#ifndef TEC_CHECKPOINT_PICKLE_H_
#define TEC_CHECKPOINT_PICKLE_H_

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tec/base/status.h"
#include "tec/checkpoint/value.h"

namespace tec {

// Whether `text` is well-formed UTF-8. Lone surrogates pass, as in Python's pickles.
bool IsValidUtf8(absl::string_view text);

// Bytes that tensors of a pickle lie in; which bytes, the container says (Bind) after the pickle has been read.
struct PickleStorage {
  DType dtype = DType::kFloat32;
  int64_t num_elements = 0;
  absl::string_view bytes;
};

class PickleInterpreter {
 public:
  static constexpr size_t kMaxBytes = size_t{64} << 20;
  static constexpr int kMaxOpcodes = 1'000'000;
  static constexpr int kMaxDepth = 1'000;

  // What the objects may take, and what the dense copies of strided tensors may, in bytes.
  PickleInterpreter(size_t object_memory, size_t copy_memory)
      : memory_left_(object_memory), copies_left_(copy_memory) {}

  // Runs one pickle from the start of `bytes` to its STOP; returns the number of bytes it takes. Once an object.
  absl::StatusOr<size_t> Run(absl::string_view bytes);

  // The storages that the pickle names, by key.
  std::map<std::string, PickleStorage>& storages() { return storages_; }

  // The object the pickle holds. Every storage must have its bytes by now. `owner` keeps them alive; `mapped` as in
  // TensorView. Refuses what is nested too deep or shares parts so often that it would outgrow the memory limit, and
  // dicts with a key twice.
  absl::StatusOr<Value> Result(std::shared_ptr<const void> owner, bool mapped);

 private:
  enum class Kind : uint8_t {
    kNone,
    kBool,
    kInt,
    kBigInt,
    kDouble,
    kString,
    kBytes,
    kList,
    kTuple,
    kSet,
    kDict,
    kOrderedDict,
    kNamespace,
    kGlobal,   // text: "module.name".
    kDType,    // numpy.dtype; text: "f8", "i8", ...
    kStorage,  // number: index into views_.
    kTensor,   // number: index into tensors_.
  };

  // Lives in nodes_ until the interpreter dies; the memo and containers point at it, so nothing is copied by a pickle.
  struct Node {
    Kind kind = Kind::kNone;
    union {
      bool boolean;
      int64_t number = 0;
      double real;
    };
    std::string text;
    // Items; of dicts and namespaces key, value, key, value, ...
    std::vector<Node*> items;
  };

  // A storage as a persistent id names it: a part of one (legacy view) or all.
  struct StorageView {
    std::string key;
    int64_t offset = 0, num_elements = 0;
  };

  struct TensorRecord {
    size_t view;
    int64_t offset;
    std::vector<int64_t> shape, strides;
  };

  absl::Status Charge(size_t bytes);
  absl::Status ChargeText(size_t size);
  // Room for `more` items more, charged as it grows: while it does, the old room and the new are both taken.
  template <typename T>
  absl::Status Reserve(std::vector<T>* items, size_t more);
  absl::StatusOr<Node*> New(Kind kind);
  absl::StatusOr<absl::string_view> Take(size_t count);
  template <typename T>
  absl::StatusOr<T> TakeNumber();
  absl::StatusOr<absl::string_view> TakeLine();

  absl::Status Push(Node* node);
  absl::StatusOr<Node*> Pop();
  absl::StatusOr<Node*> Top();
  // All above the last mark, which goes too.
  absl::StatusOr<std::vector<Node*>> PopToMark();
  absl::Status AppendTo(Node* node, const std::vector<Node*>& items);

  absl::Status Step(uint8_t opcode);
  absl::Status PushNumber(int64_t value);
  absl::Status PushText(absl::string_view text);
  absl::Status PushLong(absl::string_view bytes);
  absl::Status PushTuple(size_t count);
  absl::Status PushGlobal(absl::string_view module, absl::string_view name);
  absl::Status PutMemo(uint32_t slot);
  absl::Status PushMemo(uint32_t slot);
  absl::Status SetItems(Node* target, const std::vector<Node*>& items);
  absl::Status PersistentId();
  absl::Status Call();
  absl::Status NewObject();
  absl::Status Build();
  absl::Status RebuildTensor(const std::vector<Node*>& arguments);
  absl::Status NumpyScalar(const std::vector<Node*>& arguments);
  absl::StatusOr<Value> Expand(const Node* node, int depth);
  absl::StatusOr<TensorView> ExpandTensor(const TensorRecord& record);
  static std::string NameOf(const Node* node);

  size_t memory_left_, copies_left_;
  absl::string_view input_;
  size_t position_ = 0;
  bool stopped_ = false;
  std::deque<Node> nodes_;
  std::vector<Node*> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint32_t, Node*> memo_;
  std::map<std::string, PickleStorage> storages_;
  std::vector<StorageView> views_;
  std::vector<TensorRecord> tensors_;
  Node* result_ = nullptr;
  std::shared_ptr<const void> owner_;
  bool mapped_ = false;
};

template <typename T>
absl::Status PickleInterpreter::Reserve(std::vector<T>* items, size_t more) {
  if (items->capacity() - items->size() >= more) return absl::OkStatus();
  const size_t before = items->capacity(), capacity = std::max(items->size() + more, 2 * before);
  TEC_RETURN_IF_ERROR(Charge(capacity * sizeof(T) + 32));
  items->reserve(capacity);
  memory_left_ += before * sizeof(T);
  return absl::OkStatus();
}

}  // namespace tec

#endif  // TEC_CHECKPOINT_PICKLE_H_
