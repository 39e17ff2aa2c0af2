// What a pickle's calls and persistent ids make: storages, tensors, dicts, NumPy's scalars, Namespaces.

#include <string.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "tec/base/status.h"
#include "tec/checkpoint/pickle.h"
#include "tec/checkpoint/pickle_names.h"

namespace tec {
namespace {

absl::Status Invalid(absl::string_view message) { return absl::InvalidArgumentError(message); }

}  // namespace

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
    return Invalid(absl::StrCat("a persistent id of kind ", QuotedInPickle(id->items[0]->text),
                                " is refused: save the state dict, not the module"));
  }
  if (id->items.size() != 5 && id->items.size() != 6) {
    return Invalid(absl::StrCat("a storage's persistent id has ", id->items.size(), " parts, not 5 or 6"));
  }
  std::optional<DType> dtype;
  if (kind(1) == Kind::kGlobal) {
    TEC_ASSIGN_OR_RETURN(dtype, PickleStorageType(id->items[1]->text));
  }
  if (!dtype.has_value()) return Invalid(absl::StrCat("a storage of unknown class ", NameOf(id->items[1])));
  if (kind(2) != Kind::kString || kind(3) != Kind::kString || kind(4) != Kind::kInt) {
    return Invalid("a storage's key, location or size has the wrong type");
  }
  StorageView view;
  view.key = id->items[2]->text;
  view.num_elements = id->items[4]->number;
  if (view.num_elements < 0 || view.num_elements > INT64_MAX / 8) {
    return Invalid(absl::StrCat("storage ", QuotedInPickle(view.key), " of ", view.num_elements, " elements"));
  }
  for (int copies = 0; copies < 2; ++copies) TEC_RETURN_IF_ERROR(ChargeText(view.key.size()));
  if (storages_.count(view.key) == 0) TEC_RETURN_IF_ERROR(Charge(sizeof(std::string) + sizeof(PickleStorage) + 64));
  TEC_RETURN_IF_ERROR(Reserve(&views_, 1));
  PickleStorage storage;
  storage.dtype = *dtype;
  storage.num_elements = view.num_elements;
  const auto [known, inserted] = storages_.emplace(view.key, storage);
  if (!inserted && (known->second.dtype != storage.dtype || known->second.num_elements != storage.num_elements)) {
    return Invalid(absl::StrCat("storage ", QuotedInPickle(view.key), " is named with two types or sizes"));
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
      return Invalid(absl::StrCat("a view past the end of storage ", QuotedInPickle(view.key)));
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
    return OtherPickleType(absl::StripPrefix(items[6]->text, "torch."));
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
      const std::string storage =
          absl::StrCat("storage ", QuotedInPickle(views_[record.view].key), ", which has ", available);
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
    return Invalid(absl::StrCat("a numpy scalar of type ", QuotedInPickle(type), " in ", bytes.size(), " bytes"));
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
  return Invalid(absl::StrCat("a numpy scalar of type ", QuotedInPickle(type)));
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

}  // namespace tec
