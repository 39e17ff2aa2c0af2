#include "tec/checkpoint/pickle_names.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace tec {
namespace {

absl::Status Invalid(absl::string_view message) { return absl::InvalidArgumentError(message); }

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

bool IsAllowedGlobal(absl::string_view name) {
  const auto equals = [name](absl::string_view allowed) { return allowed == name; };
  return std::any_of(std::begin(kOtherGlobals), std::end(kOtherGlobals), equals) ||
         std::any_of(std::begin(kTorchTypes), std::end(kTorchTypes), equals) ||
         std::any_of(std::begin(kStorageClasses), std::end(kStorageClasses),
                     [name](const auto& row) { return row.name == name; }) ||
         std::any_of(std::begin(kOtherTypes), std::end(kOtherTypes),
                     [name](const auto& row) { return row.name == name; });
}

}  // namespace

absl::string_view RefusedPickleOpcode(uint8_t opcode) {
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

absl::Status CheckPickleGlobal(absl::string_view name) {
  for (const auto& form : kOtherForms) {
    if (name == form.name) return NotRead(form.what, form.remedy);
  }
  if (name == kMeta) {
    return Invalid("it has tensors without values (of the device \"meta\"): save the model once its weights are there");
  }
  if (IsAllowedGlobal(name)) return absl::OkStatus();
  return Invalid(absl::StrCat("the file wants ", QuotedInPickle(name),
                              ", which is not among the names that weights need; it is not run. If you trust its "
                              "source, load it in Python and save the tensors alone"));
}

absl::StatusOr<std::optional<DType>> PickleStorageType(absl::string_view name) {
  for (const auto& row : kStorageClasses) {
    if (name == row.name) return std::optional<DType>(row.dtype);
  }
  for (const auto& row : kOtherTypes) {
    if (name == row.name) return OtherPickleType(row.type);
  }
  return std::optional<DType>();
}

absl::Status OtherPickleType(absl::string_view type) {
  const std::string what = absl::StrCat("tensors of type ", type);
  const auto is = [type](absl::string_view start) { return absl::StartsWith(type, start); };
  if (is("complex")) return NotRead(what, "torch.view_as_real(v) if v.is_complex() else v");
  if (is("q")) return NotRead(what, "v.dequantize() if v.is_quantized else v");
  if (is("uint")) return NotRead(what, absl::StrCat("v.long() if v.dtype == torch.", type, " else v"));
  return NotRead(what, "v.float() if v.is_floating_point() else v");
}

std::string QuotedInPickle(absl::string_view text) {
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

}  // namespace tec
