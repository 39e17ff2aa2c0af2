#include "tec/checkpoint/pickle.h"

#include <string.h>

#include <algorithm>
#include <string_view>
#include <unordered_set>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"

namespace tec {
namespace {

absl::Status Invalid(absl::string_view message) { return absl::InvalidArgumentError(message); }

enum Opcode : uint8_t {
  kMark = '(',
  kStop = '.',
  kBinInt = 'J',
  kBinInt1 = 'K',
  kBinInt2 = 'M',
  kNone = 'N',
  kBinPersId = 'Q',
  kReduce = 'R',
  kShortBinString = 'U',
  kBinUnicode = 'X',
  kAppend = 'a',
  kBuild = 'b',
  kGlobal = 'c',
  kAppends = 'e',
  kBinGet = 'h',
  kLongBinGet = 'j',
  kBinPut = 'q',
  kLongBinPut = 'r',
  kSetItem = 's',
  kTuple = 't',
  kSetItems = 'u',
  kEmptyDict = '}',
  kEmptyList = ']',
  kEmptyTuple = ')',
  kBinFloat = 'G',
  kProto = 0x80,
  kNewObj = 0x81,
  kTuple1 = 0x85,
  kTuple2 = 0x86,
  kTuple3 = 0x87,
  kNewTrue = 0x88,
  kNewFalse = 0x89,
  kLong1 = 0x8a,
  kShortBinUnicode = 0x8c,
  kBinUnicode8 = 0x8d,
  kEmptySet = 0x8f,
  kAddItems = 0x90,
  kStackGlobal = 0x93,
  kMemoize = 0x94,
  kFrame = 0x95,
};

// Opcodes that are refused, for the message.
absl::string_view RefusedOpcodeName(uint8_t opcode) {
  switch (opcode) {
    case '0':
      return "POP";
    case '1':
      return "POP_MARK";
    case '2':
      return "DUP";
    case 'F':
      return "FLOAT";
    case 'I':
      return "INT";
    case 'L':
      return "LONG";
    case 'P':
      return "PERSID";
    case 'S':
      return "STRING";
    case 'T':
      return "BINSTRING";
    case 'V':
      return "UNICODE";
    case 'B':
      return "BINBYTES";
    case 'C':
      return "SHORT_BINBYTES";
    case 'd':
      return "DICT";
    case 'g':
      return "GET";
    case 'i':
      return "INST";
    case 'l':
      return "LIST";
    case 'o':
      return "OBJ";
    case 'p':
      return "PUT";
    case 0x82:
      return "EXT1";
    case 0x83:
      return "EXT2";
    case 0x84:
      return "EXT4";
    case 0x8b:
      return "LONG4";
    case 0x8e:
      return "BINBYTES8";
    case 0x91:
      return "FROZENSET";
    case 0x92:
      return "NEWOBJ_EX";
    case 0x96:
      return "BYTEARRAY8";
    case 0x97:
      return "NEXT_BUFFER";
    case 0x98:
      return "READONLY_BUFFER";
    default:
      return "unknown";
  }
}

constexpr struct {
  absl::string_view name;
  DType dtype;
} kStorageClasses[] = {
    {"torch.FloatStorage", DType::kFloat32}, {"torch.DoubleStorage", DType::kFloat64},
    {"torch.HalfStorage", DType::kFloat16},  {"torch.BFloat16Storage", DType::kBFloat16},
    {"torch.LongStorage", DType::kInt64},    {"torch.IntStorage", DType::kInt32},
    {"torch.ShortStorage", DType::kInt16},   {"torch.CharStorage", DType::kInt8},
    {"torch.ByteStorage", DType::kUint8},    {"torch.BoolStorage", DType::kBool},
    {"torch.UntypedStorage", DType::kUint8}, {"torch.storage.UntypedStorage", DType::kUint8},
};

constexpr absl::string_view kOtherGlobals[] = {
    "collections.OrderedDict",
    "collections.Counter",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_tensor_v3",
    "torch._utils._rebuild_parameter",
    "torch.Size",
    "torch.device",
    "argparse.Namespace",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
    "_codecs.encode",
    "__builtin__.set",
    "builtins.set",
};

constexpr absl::string_view kTorchTypes[] = {
    "torch.float32", "torch.float",     "torch.float64",    "torch.double", "torch.float16",
    "torch.half",    "torch.bfloat16",  "torch.uint8",      "torch.int8",   "torch.int16",
    "torch.short",   "torch.int32",     "torch.int",        "torch.int64",  "torch.long",
    "torch.bool",    "torch.complex64", "torch.complex128", "torch.cfloat", "torch.cdouble",
};

// What a tensor may be of that we do not read; named, so that the message can say so.
constexpr struct {
  absl::string_view name, type;
} kOtherTypes[] = {
    {"torch.ComplexFloatStorage", "complex64"},
    {"torch.ComplexDoubleStorage", "complex128"},
    {"torch.QInt8Storage", "qint8"},
    {"torch.QUInt8Storage", "quint8"},
    {"torch.QInt32Storage", "qint32"},
    {"torch.QUInt4x2Storage", "quint4x2"},
    {"torch.QUInt2x4Storage", "quint2x4"},
    {"torch.uint16", "uint16"},
    {"torch.uint32", "uint32"},
    {"torch.uint64", "uint64"},
    {"torch.float8_e4m3fn", "float8_e4m3fn"},
    {"torch.float8_e4m3fnuz", "float8_e4m3fnuz"},
    {"torch.float8_e5m2", "float8_e5m2"},
    {"torch.float8_e5m2fnuz", "float8_e5m2fnuz"},
    {"torch.float8_e8m0fnu", "float8_e8m0fnu"},
    {"torch.complex32", "complex32"},
};

// Forms of a tensor that torch.load(weights_only=True) makes and we do not, and what makes plain ones of them.
constexpr struct {
  absl::string_view name, what, remedy;
} kOtherForms[] = {
    {"torch._utils._rebuild_qtensor", "quantised tensors", "v.dequantize() if v.is_quantized else v"},
    {"torch._utils._rebuild_sparse_tensor", "sparse tensors", "v.to_dense()"},
    {"torch._utils._rebuild_nested_tensor", "nested tensors", "v.to_padded_tensor(0.0) if v.is_nested else v"},
    {"torch._utils._rebuild_parameter_with_state", "parameters with attributes of their own", "v.data"},
};
constexpr absl::string_view kMeta = "torch._utils._rebuild_meta_tensor_no_storage";

absl::Status NotRead(absl::string_view what, absl::string_view remedy) {
  return Invalid(absl::StrCat(what, " are not read. In Python, sd = torch.load(FILE, weights_only=True), the dict of ",
                              "tensors in it, and torch.save({k: ", remedy,
                              " for k, v in sd.items()}, NEW) make a file that is"));
}

absl::Status OtherType(absl::string_view type) {
  const std::string what = absl::StrCat("tensors of type ", type);
  const auto is = [type](absl::string_view start) { return absl::StartsWith(type, start); };
  if (is("complex")) return NotRead(what, "torch.view_as_real(v) if v.is_complex() else v");
  if (is("q")) return NotRead(what, "v.dequantize() if v.is_quantized else v");
  if (is("uint")) return NotRead(what, absl::StrCat("v.long() if v.dtype == torch.", type, " else v"));
  return NotRead(what, "v.float() if v.is_floating_point() else v");
}

bool IsAllowedGlobal(absl::string_view name) {
  const auto equals = [name](absl::string_view allowed) { return allowed == name; };
  return std::any_of(std::begin(kOtherGlobals), std::end(kOtherGlobals), equals) ||
         std::any_of(std::begin(kTorchTypes), std::end(kTorchTypes), equals) ||
         std::any_of(std::begin(kStorageClasses), std::end(kStorageClasses),
                     [name](const auto& row) { return row.name == name; }) ||
         std::any_of(std::begin(kOtherTypes), std::end(kOtherTypes),
                     [name](const auto& row) { return row.name == name; });
}

// What telling twice-used keys apart takes for one key: an entry of a hash set and its place in the table.
constexpr size_t kKeyMemory = 72;
// Of a global, module and all.
constexpr size_t kMaxName = 1000;

// Printable and short: names come out of the file.
std::string Quoted(absl::string_view text) {
  std::string out = "\"";
  for (char c : text.substr(0, 200)) {
    if (absl::ascii_isprint(static_cast<unsigned char>(c))) {
      out += c;
    } else {
      absl::StrAppendFormat(&out, "\\x%02x", static_cast<unsigned char>(c));
    }
  }
  return absl::StrCat(out, text.size() > 200 ? "...\"" : "\"");
}

}  // namespace

bool IsValidUtf8(absl::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto byte = [&](size_t k) { return static_cast<unsigned char>(text[k]); };
    const unsigned char lead = byte(i);
    const size_t length = lead < 0x80 ? 1 : lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0;
    if (length == 0 || length > text.size() - i) return false;
    for (size_t k = 1; k < length; ++k) {
      if ((byte(i + k) & 0xC0) != 0x80) return false;
    }
    if (lead == 0xE0 && byte(i + 1) < 0xA0) return false;
    if (lead == 0xF0 && byte(i + 1) < 0x90) return false;
    if (lead == 0xF4 && byte(i + 1) >= 0x90) return false;
    i += length;
  }
  return true;
}

absl::Status PickleInterpreter::Charge(size_t bytes) {
  if (bytes > memory_left_) {
    return Invalid("the objects in the file, their tensors aside, would take far more memory than weights need");
  }
  memory_left_ -= bytes;
  return absl::OkStatus();
}

// Short texts lie in their std::string, longer ones in a block of their own.
absl::Status PickleInterpreter::ChargeText(size_t size) { return size < 16 ? absl::OkStatus() : Charge(size + 32); }

template <typename T>
absl::Status PickleInterpreter::Reserve(std::vector<T>* items, size_t more) {
  if (items->capacity() - items->size() >= more) return absl::OkStatus();
  const size_t before = items->capacity(), capacity = std::max(items->size() + more, 2 * before);
  TEC_RETURN_IF_ERROR(Charge(capacity * sizeof(T) + 32));
  items->reserve(capacity);
  memory_left_ += before * sizeof(T);
  return absl::OkStatus();
}

absl::StatusOr<PickleInterpreter::Node*> PickleInterpreter::New(Kind kind) {
  TEC_RETURN_IF_ERROR(Charge(sizeof(Node) + 16));
  nodes_.emplace_back();
  nodes_.back().kind = kind;
  return &nodes_.back();
}

absl::StatusOr<absl::string_view> PickleInterpreter::Take(size_t count) {
  if (count > input_.size() - position_)
    return Invalid(absl::StrCat("the pickle ends inside an item of ", count, " bytes"));
  const absl::string_view bytes = input_.substr(position_, count);
  position_ += count;
  return bytes;
}

template <typename T>
absl::StatusOr<T> PickleInterpreter::TakeNumber() {
  TEC_ASSIGN_OR_RETURN(const absl::string_view bytes, Take(sizeof(T)));
  T value;
  memcpy(&value, bytes.data(), sizeof(T));
  return value;
}

absl::StatusOr<absl::string_view> PickleInterpreter::TakeLine() {
  const size_t end = input_.find('\n', position_);
  if (end == absl::string_view::npos) return Invalid("the pickle ends inside a name");
  const absl::string_view line = input_.substr(position_, end - position_);
  position_ = end + 1;
  return line;
}

absl::Status PickleInterpreter::Push(Node* node) {
  TEC_RETURN_IF_ERROR(Reserve(&stack_, 1));
  stack_.push_back(node);
  return absl::OkStatus();
}

absl::StatusOr<PickleInterpreter::Node*> PickleInterpreter::Top() {
  if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) return Invalid("the pickle takes from an empty stack");
  return stack_.back();
}

absl::StatusOr<PickleInterpreter::Node*> PickleInterpreter::Pop() {
  TEC_ASSIGN_OR_RETURN(Node * node, Top());
  stack_.pop_back();
  return node;
}

absl::StatusOr<std::vector<PickleInterpreter::Node*>> PickleInterpreter::PopToMark() {
  if (marks_.empty()) return Invalid("the pickle refers to a mark that was never set");
  std::vector<Node*> items(stack_.begin() + marks_.back(), stack_.end());
  stack_.resize(marks_.back());
  marks_.pop_back();
  return items;
}

absl::Status PickleInterpreter::AppendTo(Node* node, const std::vector<Node*>& items) {
  TEC_RETURN_IF_ERROR(Reserve(&node->items, items.size()));
  node->items.insert(node->items.end(), items.begin(), items.end());
  return absl::OkStatus();
}

absl::StatusOr<size_t> PickleInterpreter::Run(absl::string_view bytes) {
  input_ = bytes.substr(0, kMaxBytes);
  for (int count = 0; !stopped_; ++count) {
    if (count == kMaxOpcodes) return Invalid("the pickle has more than 1,000,000 operations");
    if (position_ == input_.size()) {
      return Invalid(bytes.size() > kMaxBytes ? "the pickle is longer than 64 MiB" : "the pickle ends without STOP");
    }
    const size_t at = position_++;
    const absl::Status status = Step(static_cast<uint8_t>(input_[at]));
    if (!status.ok()) return absl::Status(status.code(), absl::StrCat(status.message(), " (pickle byte ", at, ")"));
  }
  return position_;
}

absl::Status PickleInterpreter::Step(uint8_t opcode) {
  switch (opcode) {
    case kProto: {
      TEC_ASSIGN_OR_RETURN(const uint8_t protocol, TakeNumber<uint8_t>());
      if (protocol < 2 || protocol > 5) return Invalid(absl::StrCat("pickle protocol ", protocol, " is not read"));
      return absl::OkStatus();
    }
    case kFrame: {
      TEC_ASSIGN_OR_RETURN(const uint64_t size, TakeNumber<uint64_t>());
      if (size > input_.size() - position_) return Invalid("a frame is longer than the pickle");
      return absl::OkStatus();
    }
    case kStop: {
      TEC_ASSIGN_OR_RETURN(result_, Pop());
      if (!stack_.empty() || !marks_.empty()) return Invalid("the pickle stops with objects left over");
      stopped_ = true;
      return absl::OkStatus();
    }
    case kMark:
      TEC_RETURN_IF_ERROR(Reserve(&marks_, 1));
      marks_.push_back(stack_.size());
      return absl::OkStatus();
    case kNone: {
      TEC_ASSIGN_OR_RETURN(Node * node, New(Kind::kNone));
      return Push(node);
    }
    case kNewTrue:
    case kNewFalse: {
      TEC_ASSIGN_OR_RETURN(Node * node, New(Kind::kBool));
      node->boolean = opcode == kNewTrue;
      return Push(node);
    }
    case kBinInt: {
      TEC_ASSIGN_OR_RETURN(const int32_t value, TakeNumber<int32_t>());
      return PushNumber(value);
    }
    case kBinInt1: {
      TEC_ASSIGN_OR_RETURN(const uint8_t value, TakeNumber<uint8_t>());
      return PushNumber(value);
    }
    case kBinInt2: {
      TEC_ASSIGN_OR_RETURN(const uint16_t value, TakeNumber<uint16_t>());
      return PushNumber(value);
    }
    case kLong1: {
      TEC_ASSIGN_OR_RETURN(const uint8_t size, TakeNumber<uint8_t>());
      TEC_ASSIGN_OR_RETURN(const absl::string_view bytes, Take(size));
      return PushLong(bytes);
    }
    case kBinFloat: {
      TEC_ASSIGN_OR_RETURN(uint64_t bits, TakeNumber<uint64_t>());
      bits = __builtin_bswap64(bits);
      TEC_ASSIGN_OR_RETURN(Node * node, New(Kind::kDouble));
      memcpy(&node->real, &bits, sizeof(bits));
      return Push(node);
    }
    case kShortBinString:
    case kShortBinUnicode: {
      TEC_ASSIGN_OR_RETURN(const uint8_t size, TakeNumber<uint8_t>());
      TEC_ASSIGN_OR_RETURN(const absl::string_view text, Take(size));
      return PushText(text);
    }
    case kBinUnicode: {
      TEC_ASSIGN_OR_RETURN(const uint32_t size, TakeNumber<uint32_t>());
      TEC_ASSIGN_OR_RETURN(const absl::string_view text, Take(size));
      return PushText(text);
    }
    case kBinUnicode8: {
      TEC_ASSIGN_OR_RETURN(const uint64_t size, TakeNumber<uint64_t>());
      TEC_ASSIGN_OR_RETURN(const absl::string_view text, Take(size));
      return PushText(text);
    }
    case kEmptyTuple:
      return PushTuple(0);
    case kTuple1:
      return PushTuple(1);
    case kTuple2:
      return PushTuple(2);
    case kTuple3:
      return PushTuple(3);
    case kTuple: {
      TEC_ASSIGN_OR_RETURN(const std::vector<Node*> items, PopToMark());
      TEC_ASSIGN_OR_RETURN(Node * node, New(Kind::kTuple));
      TEC_RETURN_IF_ERROR(AppendTo(node, items));
      return Push(node);
    }
    case kEmptyList:
    case kEmptyDict:
    case kEmptySet: {
      TEC_ASSIGN_OR_RETURN(Node * node, New(opcode == kEmptyList   ? Kind::kList
                                            : opcode == kEmptyDict ? Kind::kDict
                                                                   : Kind::kSet));
      return Push(node);
    }
    case kAppend: {
      TEC_ASSIGN_OR_RETURN(Node * item, Pop());
      TEC_ASSIGN_OR_RETURN(Node * list, Top());
      if (list->kind != Kind::kList) return Invalid(absl::StrCat("APPEND to ", NameOf(list)));
      return AppendTo(list, {item});
    }
    case kAppends:
    case kAddItems: {
      TEC_ASSIGN_OR_RETURN(const std::vector<Node*> items, PopToMark());
      TEC_ASSIGN_OR_RETURN(Node * target, Top());
      if (target->kind != (opcode == kAppends ? Kind::kList : Kind::kSet)) {
        return Invalid(absl::StrCat(opcode == kAppends ? "APPENDS" : "ADDITEMS", " to ", NameOf(target)));
      }
      return AppendTo(target, items);
    }
    case kSetItem: {
      TEC_ASSIGN_OR_RETURN(Node * value, Pop());
      TEC_ASSIGN_OR_RETURN(Node * key, Pop());
      TEC_ASSIGN_OR_RETURN(Node * dict, Top());
      return SetItems(dict, {key, value});
    }
    case kSetItems: {
      TEC_ASSIGN_OR_RETURN(const std::vector<Node*> items, PopToMark());
      TEC_ASSIGN_OR_RETURN(Node * dict, Top());
      return SetItems(dict, items);
    }
    case kGlobal: {
      TEC_ASSIGN_OR_RETURN(const absl::string_view module, TakeLine());
      TEC_ASSIGN_OR_RETURN(const absl::string_view name, TakeLine());
      return PushGlobal(module, name);
    }
    case kStackGlobal: {
      TEC_ASSIGN_OR_RETURN(Node * name, Pop());
      TEC_ASSIGN_OR_RETURN(Node * module, Pop());
      if (name->kind != Kind::kString || module->kind != Kind::kString) {
        return Invalid("STACK_GLOBAL of something that is no text");
      }
      return PushGlobal(module->text, name->text);
    }
    case kBinPut: {
      TEC_ASSIGN_OR_RETURN(const uint8_t slot, TakeNumber<uint8_t>());
      return PutMemo(slot);
    }
    case kLongBinPut: {
      TEC_ASSIGN_OR_RETURN(const uint32_t slot, TakeNumber<uint32_t>());
      return PutMemo(slot);
    }
    case kMemoize:
      return PutMemo(memo_.size());
    case kBinGet: {
      TEC_ASSIGN_OR_RETURN(const uint8_t slot, TakeNumber<uint8_t>());
      return PushMemo(slot);
    }
    case kLongBinGet: {
      TEC_ASSIGN_OR_RETURN(const uint32_t slot, TakeNumber<uint32_t>());
      return PushMemo(slot);
    }
    case kBinPersId:
      return PersistentId();
    case kReduce:
      return Call();
    case kNewObj:
      return NewObject();
    case kBuild:
      return Build();
    default:
      return Invalid(absl::StrFormat("pickle operation %s (0x%02x) is refused: no weight file needs it",
                                     RefusedOpcodeName(opcode), opcode));
  }
}

absl::Status PickleInterpreter::PushNumber(int64_t value) {
  TEC_ASSIGN_OR_RETURN(Node * node, New(Kind::kInt));
  node->number = value;
  return Push(node);
}

absl::Status PickleInterpreter::PushText(absl::string_view text) {
  if (!IsValidUtf8(text)) return Invalid("a text is not UTF-8");
  TEC_RETURN_IF_ERROR(ChargeText(text.size()));
  TEC_ASSIGN_OR_RETURN(Node * node, New(Kind::kString));
  node->text = std::string(text);
  return Push(node);
}

absl::Status PickleInterpreter::PushLong(absl::string_view bytes) {
  if (bytes.size() > 16) return Invalid(absl::StrCat("an integer of ", bytes.size(), " bytes"));
  if (bytes.size() > 8) {
    TEC_RETURN_IF_ERROR(ChargeText(bytes.size()));
    TEC_ASSIGN_OR_RETURN(Node * node, New(Kind::kBigInt));
    node->text = std::string(bytes);
    return Push(node);
  }
  // Two's complement: the top bit of the last byte is the sign of all above it.
  uint64_t value = !bytes.empty() && (bytes.back() & 0x80) ? ~uint64_t{0} : 0;
  memcpy(&value, bytes.data(), bytes.size());
  return PushNumber(static_cast<int64_t>(value));
}

absl::Status PickleInterpreter::PushTuple(size_t count) {
  TEC_ASSIGN_OR_RETURN(Node * node, New(Kind::kTuple));
  std::vector<Node*> items(count);
  for (size_t i = count; i-- > 0;) {
    TEC_ASSIGN_OR_RETURN(items[i], Pop());
  }
  TEC_RETURN_IF_ERROR(AppendTo(node, items));
  return Push(node);
}

absl::Status PickleInterpreter::PushGlobal(absl::string_view module, absl::string_view name) {
  if (module.size() + name.size() > kMaxName) {
    return Invalid(absl::StrCat("the file wants a name of ", module.size() + name.size(),
                                " bytes: ", Quoted(module.empty() ? name : module)));
  }
  const std::string full = absl::StrCat(module, ".", name);
  for (const auto& form : kOtherForms) {
    if (full == form.name) return NotRead(form.what, form.remedy);
  }
  if (full == kMeta) {
    return Invalid("it has tensors without values (of the device \"meta\"): save the model once its weights are there");
  }
  if (!IsAllowedGlobal(full)) {
    return Invalid(absl::StrCat("the file wants ", Quoted(full),
                                ", which is not among the names that weights need; it is not run. If you trust its "
                                "source, load it in Python and save the tensors alone"));
  }
  TEC_RETURN_IF_ERROR(ChargeText(full.size()));
  TEC_ASSIGN_OR_RETURN(Node * node, New(Kind::kGlobal));
  node->text = full;
  return Push(node);
}

absl::Status PickleInterpreter::PutMemo(uint32_t slot) {
  TEC_ASSIGN_OR_RETURN(Node * node, Top());
  // A hash map: the slot number, which the file chooses, costs nothing.
  if (memo_.count(slot) == 0) TEC_RETURN_IF_ERROR(Charge(64));
  memo_[slot] = node;
  return absl::OkStatus();
}

absl::Status PickleInterpreter::PushMemo(uint32_t slot) {
  const auto found = memo_.find(slot);
  if (found == memo_.end()) return Invalid(absl::StrCat("memo slot ", slot, " was never set"));
  return Push(found->second);
}

absl::Status PickleInterpreter::SetItems(Node* target, const std::vector<Node*>& items) {
  if (target->kind != Kind::kDict && target->kind != Kind::kOrderedDict) {
    return Invalid(absl::StrCat("SETITEM on ", NameOf(target)));
  }
  if (items.size() % 2 != 0) return Invalid("a dict gets a key without a value");
  return AppendTo(target, items);
}

std::string PickleInterpreter::NameOf(const Node* node) {
  switch (node->kind) {
    case Kind::kNone:
      return "None";
    case Kind::kBool:
      return "a bool";
    case Kind::kInt:
      return "an int";
    case Kind::kBigInt:
      return "a large int";
    case Kind::kDouble:
      return "a float";
    case Kind::kString:
      return "a text";
    case Kind::kBytes:
      return "bytes";
    case Kind::kList:
      return "a list";
    case Kind::kTuple:
      return "a tuple";
    case Kind::kSet:
      return "a set";
    case Kind::kDict:
      return "a dict";
    case Kind::kOrderedDict:
      return "an OrderedDict";
    case Kind::kNamespace:
      return "a Namespace";
    case Kind::kGlobal:
      return node->text;
    case Kind::kDType:
      return "a numpy dtype";
    case Kind::kStorage:
      return "a storage";
    case Kind::kTensor:
      return "a tensor";
  }
  return "?";
}

absl::Status PickleInterpreter::PersistentId() {
  TEC_ASSIGN_OR_RETURN(const Node* id, Pop());
  const auto kind = [id](size_t i) { return id->items[i]->kind; };
  if (id->kind != Kind::kTuple || id->items.empty() || kind(0) != Kind::kString) {
    return Invalid(absl::StrCat("a persistent id that is ", NameOf(id), ", not a storage's tuple"));
  }
  if (id->items[0]->text != "storage") {
    return Invalid(absl::StrCat("a persistent id of kind ", Quoted(id->items[0]->text),
                                " is refused: save the state dict, not the module"));
  }
  if (id->items.size() != 5 && id->items.size() != 6) {
    return Invalid(absl::StrCat("a storage's persistent id has ", id->items.size(), " parts, not 5 or 6"));
  }
  const DType* dtype = nullptr;
  for (const auto& row : kStorageClasses) {
    if (kind(1) == Kind::kGlobal && id->items[1]->text == row.name) dtype = &row.dtype;
  }
  for (const auto& row : kOtherTypes) {
    if (kind(1) == Kind::kGlobal && id->items[1]->text == row.name) return OtherType(row.type);
  }
  if (dtype == nullptr) return Invalid(absl::StrCat("a storage of unknown class ", NameOf(id->items[1])));
  if (kind(2) != Kind::kString || kind(3) != Kind::kString || kind(4) != Kind::kInt) {
    return Invalid("a storage's key, location or size has the wrong type");
  }
  StorageView view;
  view.key = id->items[2]->text;
  view.num_elements = id->items[4]->number;
  if (view.num_elements < 0 || view.num_elements > INT64_MAX / 8) {
    return Invalid(absl::StrCat("storage ", Quoted(view.key), " of ", view.num_elements, " elements"));
  }
  for (int copies = 0; copies < 2; ++copies) TEC_RETURN_IF_ERROR(ChargeText(view.key.size()));
  if (storages_.count(view.key) == 0) TEC_RETURN_IF_ERROR(Charge(sizeof(std::string) + sizeof(PickleStorage) + 64));
  TEC_RETURN_IF_ERROR(Reserve(&views_, 1));
  PickleStorage storage;
  storage.dtype = *dtype;
  storage.num_elements = view.num_elements;
  const auto [known, inserted] = storages_.emplace(view.key, storage);
  if (!inserted && (known->second.dtype != storage.dtype || known->second.num_elements != storage.num_elements)) {
    return Invalid(absl::StrCat("storage ", Quoted(view.key), " is named with two types or sizes"));
  }
  if (id->items.size() == 6 && kind(5) != Kind::kNone) {
    const Node* part = id->items[5];
    if (part->kind != Kind::kTuple || part->items.size() != 3 || part->items[1]->kind != Kind::kInt ||
        part->items[2]->kind != Kind::kInt) {
      return Invalid("a storage's view is not (key, offset, size)");
    }
    view.offset = part->items[1]->number;
    const int64_t size = part->items[2]->number;
    if (view.offset < 0 || size < 0 || view.offset > view.num_elements || size > view.num_elements - view.offset) {
      return Invalid(absl::StrCat("a view past the end of storage ", Quoted(view.key)));
    }
    view.num_elements = size;
  }
  TEC_ASSIGN_OR_RETURN(Node * node, New(Kind::kStorage));
  node->number = views_.size();
  views_.push_back(std::move(view));
  return Push(node);
}

absl::Status PickleInterpreter::Call() {
  TEC_ASSIGN_OR_RETURN(const Node* arguments, Pop());
  TEC_ASSIGN_OR_RETURN(const Node* function, Pop());
  if (function->kind != Kind::kGlobal) return Invalid(absl::StrCat("REDUCE of ", NameOf(function)));
  if (arguments->kind != Kind::kTuple) return Invalid("REDUCE with arguments that are no tuple");
  const std::string& name = function->text;
  const std::vector<Node*>& items = arguments->items;
  const auto wrong = [&name] { return Invalid(absl::StrCat(name, " with the wrong arguments")); };
  if (name == "torch._utils._rebuild_tensor_v2") return RebuildTensor(items);
  if (name == "torch._utils._rebuild_tensor_v3") {
    // PyTorch's way for the types that have no storage class, none of which we read.
    if (items.size() < 7 || items[6]->kind != Kind::kGlobal) return wrong();
    return OtherType(absl::StripPrefix(items[6]->text, "torch."));
  }
  if (name == "torch._utils._rebuild_parameter") {
    if (items.size() != 3 || items[0]->kind != Kind::kTensor || items[1]->kind != Kind::kBool) return wrong();
    return Push(items[0]);
  }
  if (name == "collections.OrderedDict" || name == "collections.Counter") {
    TEC_ASSIGN_OR_RETURN(Node * dict, New(name == "collections.Counter" ? Kind::kDict : Kind::kOrderedDict));
    if (items.size() > 1) return wrong();
    if (items.size() == 1 && items[0]->kind == Kind::kDict) {
      TEC_RETURN_IF_ERROR(AppendTo(dict, items[0]->items));
    } else if (items.size() == 1) {
      if (items[0]->kind != Kind::kList) return wrong();
      for (const Node* pair : items[0]->items) {
        if ((pair->kind != Kind::kList && pair->kind != Kind::kTuple) || pair->items.size() != 2) return wrong();
        TEC_RETURN_IF_ERROR(AppendTo(dict, pair->items));
      }
    }
    return Push(dict);
  }
  if (name == "torch.Size") {
    if (items.size() != 1 || (items[0]->kind != Kind::kTuple && items[0]->kind != Kind::kList)) return wrong();
    TEC_ASSIGN_OR_RETURN(Node * size, New(Kind::kTuple));
    for (const Node* item : items[0]->items) {
      if (item->kind != Kind::kInt) return wrong();
    }
    TEC_RETURN_IF_ERROR(AppendTo(size, items[0]->items));
    return Push(size);
  }
  if (name == "torch.device") {
    if (items.empty() || items.size() > 2 || items[0]->kind != Kind::kString) return wrong();
    if (items.size() == 2 && items[1]->kind != Kind::kInt) return wrong();
    return PushText(items.size() == 1 ? items[0]->text : absl::StrCat(items[0]->text, ":", items[1]->number));
  }
  if (name == "_codecs.encode") {
    if (items.size() != 2 || items[0]->kind != Kind::kString || items[1]->kind != Kind::kString) return wrong();
    if (items[1]->text != "latin1" && items[1]->text != "latin-1") return wrong();
    const std::string& text = items[0]->text;
    TEC_RETURN_IF_ERROR(ChargeText(text.size()));
    TEC_ASSIGN_OR_RETURN(Node * bytes, New(Kind::kBytes));
    bytes->text.reserve(text.size());
    for (size_t i = 0; i < text.size(); ++i) {
      const unsigned char lead = text[i];
      if (lead < 0x80) {
        bytes->text += text[i];
      } else if (lead == 0xC2 || lead == 0xC3) {
        bytes->text += static_cast<char>(((lead & 3) << 6) | (text[++i] & 0x3F));
      } else {
        return Invalid("bytes beyond latin1");
      }
    }
    return Push(bytes);
  }
  if (name == "__builtin__.set" || name == "builtins.set") {
    TEC_ASSIGN_OR_RETURN(Node * set, New(Kind::kSet));
    if (items.size() > 1 || (items.size() == 1 && items[0]->kind != Kind::kList)) return wrong();
    if (items.size() == 1) TEC_RETURN_IF_ERROR(AppendTo(set, items[0]->items));
    return Push(set);
  }
  if (name == "numpy.dtype") {
    if (items.empty() || items.size() > 3 || items[0]->kind != Kind::kString) return wrong();
    TEC_RETURN_IF_ERROR(ChargeText(items[0]->text.size()));
    TEC_ASSIGN_OR_RETURN(Node * dtype, New(Kind::kDType));
    dtype->text = items[0]->text;
    return Push(dtype);
  }
  if (name == "numpy.core.multiarray.scalar" || name == "numpy._core.multiarray.scalar") return NumpyScalar(items);
  return Invalid(absl::StrCat("a call of ", name, " is refused"));
}

absl::Status PickleInterpreter::RebuildTensor(const std::vector<Node*>& arguments) {
  // (storage, offset, size, stride, requires_grad, backward_hooks[, metadata])
  if (arguments.size() != 6 && arguments.size() != 7) {
    return Invalid(absl::StrCat("a tensor of ", arguments.size(), " arguments, not 6 or 7"));
  }
  if (arguments[0]->kind != Kind::kStorage) return Invalid(absl::StrCat("a tensor in ", NameOf(arguments[0])));
  if (arguments[1]->kind != Kind::kInt) return Invalid(absl::StrCat("a tensor's offset is ", NameOf(arguments[1])));
  if (arguments[2]->kind != Kind::kTuple || arguments[3]->kind != Kind::kTuple) {
    return Invalid("a tensor's size or stride is no tuple");
  }
  if (arguments[4]->kind != Kind::kBool || arguments[5]->kind != Kind::kOrderedDict || !arguments[5]->items.empty()) {
    return Invalid("a tensor's requires_grad or hooks have the wrong type");
  }
  if (arguments.size() == 7 && arguments[6]->kind != Kind::kNone && arguments[6]->kind != Kind::kDict) {
    return Invalid("a tensor's metadata has the wrong type");
  }
  TensorRecord record;
  record.view = arguments[0]->number;
  record.offset = arguments[1]->number;
  const auto numbers = [](const Node* tuple, absl::string_view what, std::vector<int64_t>* out) -> absl::Status {
    for (const Node* item : tuple->items) {
      if (item->kind != Kind::kInt) return Invalid(absl::StrCat("a tensor's ", what, " is ", NameOf(item)));
      if (item->number < 0) return Invalid(absl::StrCat("a tensor's ", what, " is negative: ", item->number));
      out->push_back(item->number);
    }
    return absl::OkStatus();
  };
  const size_t rank = arguments[2]->items.size();
  if (rank > 64) return Invalid(absl::StrCat("a tensor of ", rank, " dimensions"));
  if (rank != arguments[3]->items.size()) return Invalid("a tensor has not as many strides as sizes");
  if (record.offset < 0) return Invalid(absl::StrCat("a tensor's offset is negative: ", record.offset));
  TEC_RETURN_IF_ERROR(numbers(arguments[2], "size", &record.shape));
  TEC_RETURN_IF_ERROR(numbers(arguments[3], "stride", &record.strides));
  TEC_ASSIGN_OR_RETURN(const int64_t elements, CheckedNumElements(record.shape));
  const int64_t available = views_[record.view].num_elements;
  if (elements > 0) {
    int64_t last = record.offset;
    for (size_t i = 0; i < rank; ++i) {
      int64_t step;
      if (__builtin_mul_overflow(record.shape[i] - 1, record.strides[i], &step) ||
          __builtin_add_overflow(last, step, &last)) {
        return Invalid("a tensor's sizes and strides overflow");
      }
    }
    if (last >= available) {
      const std::string storage = absl::StrCat("storage ", Quoted(views_[record.view].key), ", which has ", available);
      return Invalid(record.offset == 0 ? absl::StrCat("a tensor of ", last + 1, " elements in ", storage)
                                        : absl::StrCat("a tensor at offset ", record.offset, " reaches element ", last,
                                                       " of ", storage));
    }
  }
  // Two lists of sizes that grew to their place.
  TEC_RETURN_IF_ERROR(Charge(2 * (2 * rank * sizeof(int64_t) + 32)));
  TEC_RETURN_IF_ERROR(Reserve(&tensors_, 1));
  TEC_ASSIGN_OR_RETURN(Node * node, New(Kind::kTensor));
  node->number = tensors_.size();
  tensors_.push_back(std::move(record));
  return Push(node);
}

absl::Status PickleInterpreter::NumpyScalar(const std::vector<Node*>& arguments) {
  if (arguments.size() != 2 || arguments[0]->kind != Kind::kDType || arguments[1]->kind != Kind::kBytes) {
    return Invalid("a numpy scalar with the wrong arguments");
  }
  absl::string_view type = arguments[0]->text;
  const std::string& bytes = arguments[1]->text;
  if (!type.empty() && type[0] == '>') return Invalid("a big-endian numpy scalar");
  if (!type.empty() && (type[0] == '<' || type[0] == '|' || type[0] == '=')) type.remove_prefix(1);
  if (type.size() != 2 || bytes.size() != static_cast<size_t>(type[1] - '0')) {
    return Invalid(absl::StrCat("a numpy scalar of type ", Quoted(type), " in ", bytes.size(), " bytes"));
  }
  if (type == "f8") {
    TEC_ASSIGN_OR_RETURN(Node * node, New(Kind::kDouble));
    memcpy(&node->real, bytes.data(), 8);
    return Push(node);
  }
  if (type == "f4") {
    float value;
    memcpy(&value, bytes.data(), 4);
    TEC_ASSIGN_OR_RETURN(Node * node, New(Kind::kDouble));
    node->real = value;
    return Push(node);
  }
  if (type == "b1") {
    TEC_ASSIGN_OR_RETURN(Node * node, New(Kind::kBool));
    node->boolean = bytes[0] != 0;
    return Push(node);
  }
  if (type[0] == 'i') return PushLong(bytes);
  if (type[0] == 'u') return PushLong(absl::StrCat(bytes, absl::string_view("\0", 1)));
  return Invalid(absl::StrCat("a numpy scalar of type ", Quoted(type)));
}

absl::Status PickleInterpreter::NewObject() {
  TEC_ASSIGN_OR_RETURN(const Node* arguments, Pop());
  TEC_ASSIGN_OR_RETURN(const Node* type, Pop());
  if (type->kind != Kind::kGlobal || type->text != "argparse.Namespace") {
    return Invalid(absl::StrCat("NEWOBJ of ", NameOf(type), " is refused"));
  }
  if (arguments->kind != Kind::kTuple || !arguments->items.empty()) return Invalid("a Namespace with arguments");
  TEC_ASSIGN_OR_RETURN(Node * node, New(Kind::kNamespace));
  return Push(node);
}

absl::Status PickleInterpreter::Build() {
  TEC_ASSIGN_OR_RETURN(const Node* state, Pop());
  TEC_ASSIGN_OR_RETURN(Node * object, Top());
  switch (object->kind) {
    case Kind::kOrderedDict:
      // A state dict's _metadata: versions of modules, of no use here.
      if (state->kind != Kind::kDict)
        return Invalid(absl::StrCat("an OrderedDict with a state that is ", NameOf(state)));
      return absl::OkStatus();
    case Kind::kNamespace:
      if (state->kind != Kind::kDict) return Invalid(absl::StrCat("a Namespace with a state that is ", NameOf(state)));
      return AppendTo(object, state->items);
    case Kind::kDType:
      if (state->kind != Kind::kTuple || state->items.size() < 2 || state->items[1]->kind != Kind::kString) {
        return Invalid("a numpy dtype with a state of the wrong type");
      }
      if (state->items[1]->text == ">") return Invalid("a big-endian numpy value");
      return absl::OkStatus();
    default:
      return Invalid(absl::StrCat("BUILD of ", NameOf(object), " is refused"));
  }
}

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
              return Invalid(absl::StrCat("key ", Quoted(key->text), " occurs twice"));
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
          if (depth < 4 && key->kind == Kind::kString) return Annotate(value.status(), Quoted(key->text));
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
