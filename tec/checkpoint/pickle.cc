#include "tec/checkpoint/pickle.h"

#include <string.h>

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tec/base/logging.h"
#include "tec/base/status.h"
#include "tec/checkpoint/pickle_names.h"

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

// Of a global, module and all.
constexpr size_t kMaxName = 1000;

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
                                     RefusedPickleOpcode(opcode), opcode));
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
                                " bytes: ", QuotedInPickle(module.empty() ? name : module)));
  }
  const std::string full = absl::StrCat(module, ".", name);
  TEC_RETURN_IF_ERROR(CheckPickleGlobal(full));
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

}  // namespace tec
