#include "tec/checkpoint/pth.h"

#include <string.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tec/base/file.h"
#include "tec/base/logging.h"
#include "tec/base/printable.h"
#include "tec/base/status.h"
#include "tec/checkpoint/pickle.h"
#include "tec/checkpoint/zip_file.h"

namespace tec {
namespace {

// What the objects of a file may take, however large it is: ample for the largest known checkpoints (some 50,000
// objects). With the list of the archive's entries and the names of the tensors it stays below 64 MiB. Dense copies of
// strided tensors may take the file's size and kCopyMemory besides.
constexpr size_t kObjectMemory = size_t{24} << 20;
constexpr size_t kCopyMemory = size_t{8} << 20;

// The pickle of PyTorch's magic number, 0x1950a86a20f9469cfc6c, and where the next one starts.
constexpr absl::string_view kLegacyMagic("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e", 15);
constexpr absl::string_view kZipMagic("PK\x03\x04", 4);

// Folder of the archive; any name serves.
constexpr char kRoot[] = "archive";

absl::Status Damaged(absl::string_view message) { return absl::DataLossError(message); }
absl::Status Refused(absl::string_view message) { return absl::InvalidArgumentError(message); }

absl::StatusOr<Value> ParseZip(std::shared_ptr<const MappedFile> file) {
  TEC_ASSIGN_OR_RETURN(const ZipReader zip, ZipReader::Open(file));
  if (zip.entries().empty()) return Refused("an empty zip archive");
  const std::string& first = zip.entries()[0].name;
  const size_t slash = first.find('/');
  if (slash == std::string::npos) return Refused("a zip archive that torch.save did not write");
  const std::string root = first.substr(0, slash + 1);
  if (zip.Find(root + "constants.pkl") != nullptr) {
    return Refused("a TorchScript archive, which holds code: save the module's state_dict() with torch.save instead");
  }
  const ZipEntry* pickle = zip.Find(root + "data.pkl");
  if (pickle == nullptr) {
    return Refused(absl::StrCat("a zip archive without \"", root, "data.pkl\": torch.save did not write it"));
  }
  TEC_RETURN_IF_ERROR(zip.CheckContent());
  if (const ZipEntry* order = zip.Find(root + "byteorder"); order != nullptr && order->data != "little") {
    return Refused("saved on a big-endian machine: load and save it there with little-endian tensors");
  }
  PickleInterpreter interpreter(kObjectMemory, file->bytes().size() + kCopyMemory);
  TEC_ASSIGN_OR_RETURN(const size_t end, interpreter.Run(pickle->data));
  if (end != pickle->data.size()) return Refused("bytes follow the end of the pickle");
  for (auto& [key, storage] : interpreter.storages()) {
    const ZipEntry* entry = zip.Find(absl::StrCat(root, "data/", key));
    if (entry == nullptr) return Refused(absl::StrCat("no entry \"", root, "data/", key, "\" for a storage"));
    if (storage.num_elements > static_cast<int64_t>(file->bytes().size())) {
      return Refused(absl::StrCat("storage \"", key, "\" claims ", storage.num_elements,
                                  " elements, more than the file has bytes"));
    }
    if (entry->size != storage.num_elements * DTypeSize(storage.dtype)) {
      return Refused(absl::StrCat("storage \"", key, "\" should hold ", storage.num_elements, " elements of ",
                                  DTypeSize(storage.dtype), " bytes and has ", entry->size, " bytes"));
    }
    storage.bytes = entry->data;
  }
  return interpreter.Result(file, file->mapped());
}

absl::StatusOr<Value> ParseLegacy(std::shared_ptr<const MappedFile> file) {
  absl::string_view rest = file->bytes();
  rest.remove_prefix(kLegacyMagic.size());
  const auto next = [&](PickleInterpreter& interpreter) -> absl::Status {
    TEC_ASSIGN_OR_RETURN(const size_t size, interpreter.Run(rest));
    rest.remove_prefix(size);
    return absl::OkStatus();
  };
  const auto next_value = [&](size_t limit) -> absl::StatusOr<Value> {
    PickleInterpreter interpreter(limit, 0);
    TEC_RETURN_IF_ERROR(next(interpreter));
    if (!interpreter.storages().empty()) return Refused("a storage in the head of the file");
    return interpreter.Result(nullptr, false);
  };
  TEC_ASSIGN_OR_RETURN(const Value version, next_value(1 << 20));
  if (version.kind() != Value::Kind::kInt || version.int_value() != 1001) {
    return Refused(absl::StrCat("legacy format version ", version.Describe(), " is not 1001"));
  }
  TEC_ASSIGN_OR_RETURN(const Value system, next_value(1 << 20));
  TEC_ASSIGN_OR_RETURN(const bool little, system.GetBool("little_endian"));
  if (!little) return Refused("saved on a big-endian machine: load and save it there with little-endian tensors");
  PickleInterpreter interpreter(kObjectMemory, file->bytes().size() + kCopyMemory);
  TEC_RETURN_IF_ERROR(next(interpreter));
  TEC_ASSIGN_OR_RETURN(const Value keys, next_value(kObjectMemory / 4));
  if (keys.kind() != Value::Kind::kList) return Refused("the list of storages is no list");
  if (keys.items().size() != interpreter.storages().size()) {
    return Refused(absl::StrCat("the file lists ", keys.items().size(), " storages, its tensors use ",
                                interpreter.storages().size()));
  }
  for (const Value& key : keys.items()) {
    const auto found =
        key.kind() == Value::Kind::kString ? interpreter.storages().find(key.text()) : interpreter.storages().end();
    if (found == interpreter.storages().end()) return Refused("the list of storages names one that no tensor uses");
    PickleStorage& storage = found->second;
    if (storage.bytes.data() != nullptr) return Refused(absl::StrCat("storage \"", key.text(), "\" is listed twice"));
    if (rest.size() < 8) return Damaged("the file is cut between storages");
    int64_t count;
    memcpy(&count, rest.data(), 8);
    rest.remove_prefix(8);
    if (count != storage.num_elements) {
      return Refused(
          absl::StrCat("storage \"", key.text(), "\" should hold ", storage.num_elements, " elements and has ", count));
    }
    const size_t size = DTypeSize(storage.dtype);
    if (count > static_cast<int64_t>(rest.size() / size)) {
      return Damaged(absl::StrCat("the file is cut inside storage \"", key.text(), "\""));
    }
    storage.bytes = rest.substr(0, count * size);
    rest.remove_prefix(count * size);
  }
  if (!rest.empty()) return Refused(absl::StrCat(rest.size(), " bytes follow the last storage"));
  return interpreter.Result(file, file->mapped());
}

// torch.save's pickle. No memo: nothing in a Value is shared, and it makes the bytes a plain function of the tree.
class PickleWriter {
 public:
  static constexpr int kMaxDepth = 100;

  absl::Status Write(const Value& root) {
    out_ = "\x80\x02";
    TEC_RETURN_IF_ERROR(WriteValue(root, 0));
    out_ += '.';
    return absl::OkStatus();
  }
  const std::string& pickle() const { return out_; }
  // In the order of their keys: the first is data/0.
  const std::vector<const TensorView*>& tensors() const { return tensors_; }

 private:
  template <typename T>
  void Raw(T value) {
    out_.append(reinterpret_cast<const char*>(&value), sizeof(T));
  }

  void WriteInt(int64_t value) {
    if (value >= 0 && value < 256) {
      out_ += 'K';
      Raw<uint8_t>(value);
    } else if (value >= 0 && value < 65536) {
      out_ += 'M';
      Raw<uint16_t>(value);
    } else if (value >= INT32_MIN && value <= INT32_MAX) {
      out_ += 'J';
      Raw<int32_t>(value);
    } else {
      out_ += "\x8a\x08";
      Raw<int64_t>(value);
    }
  }

  // A str of Python, which must be UTF-8: paths in the arguments of a run need not be.
  void WriteText(absl::string_view text) {
    const std::string utf8 = ToUtf8(text);
    out_ += 'X';
    Raw<uint32_t>(utf8.size());
    out_ += utf8;
  }

  void WriteSizes(const std::vector<int64_t>& sizes) {
    out_ += '(';
    for (int64_t size : sizes) WriteInt(size);
    out_ += 't';
  }

  void WriteTensor(const TensorView& tensor) {
    out_ += "ctorch._utils\n_rebuild_tensor_v2\n((";
    WriteText("storage");
    out_ += StorageClass(tensor.dtype);
    WriteText(absl::StrCat(tensors_.size()));
    WriteText("cpu");
    WriteInt(tensor.NumElements());
    out_ += "tQ";
    WriteInt(0);
    WriteSizes(tensor.shape);
    std::vector<int64_t> strides(tensor.shape.size());
    int64_t stride = 1;
    for (size_t i = strides.size(); i-- > 0;) {
      strides[i] = stride;
      // As PyTorch: the stride beside an empty dimension counts it as one.
      stride *= std::max<int64_t>(tensor.shape[i], 1);
    }
    WriteSizes(strides);
    out_ += "\x89";
    out_ += "ccollections\nOrderedDict\n)RtR";
    tensors_.push_back(&tensor);
  }

  static std::string StorageClass(DType dtype) {
    switch (dtype) {
      case DType::kBool:
        return "ctorch\nBoolStorage\n";
      case DType::kUint8:
        return "ctorch\nByteStorage\n";
      case DType::kInt8:
        return "ctorch\nCharStorage\n";
      case DType::kInt16:
        return "ctorch\nShortStorage\n";
      case DType::kInt32:
        return "ctorch\nIntStorage\n";
      case DType::kInt64:
        return "ctorch\nLongStorage\n";
      case DType::kFloat16:
        return "ctorch\nHalfStorage\n";
      case DType::kBFloat16:
        return "ctorch\nBFloat16Storage\n";
      case DType::kFloat32:
        return "ctorch\nFloatStorage\n";
      case DType::kFloat64:
        return "ctorch\nDoubleStorage\n";
    }
    return "";
  }

  absl::Status WriteValue(const Value& value, int depth) {
    if (depth > kMaxDepth) return Refused(absl::StrCat("values nested deeper than ", kMaxDepth));
    switch (value.kind()) {
      case Value::Kind::kNone:
        out_ += 'N';
        return absl::OkStatus();
      case Value::Kind::kBool:
        out_ += value.bool_value() ? '\x88' : '\x89';
        return absl::OkStatus();
      case Value::Kind::kInt:
        WriteInt(value.int_value());
        return absl::OkStatus();
      case Value::Kind::kDouble: {
        const double number = value.double_value();
        uint64_t bits;
        memcpy(&bits, &number, sizeof(bits));
        out_ += 'G';
        Raw(__builtin_bswap64(bits));
        return absl::OkStatus();
      }
      case Value::Kind::kString:
        if (!IsValidUtf8(value.text())) return Refused("a text is not UTF-8");
        if (value.text().size() > (size_t{16} << 20)) return Refused("a text of more than 16 MiB");
        WriteText(value.text());
        return absl::OkStatus();
      case Value::Kind::kList:
        out_ += "](";
        for (const Value& item : value.items()) TEC_RETURN_IF_ERROR(WriteValue(item, depth + 1));
        out_ += 'e';
        return absl::OkStatus();
      case Value::Kind::kTuple:
        out_ += '(';
        for (const Value& item : value.items()) TEC_RETURN_IF_ERROR(WriteValue(item, depth + 1));
        out_ += 't';
        return absl::OkStatus();
      case Value::Kind::kDict:
      case Value::Kind::kOrderedDict:
        out_ += value.kind() == Value::Kind::kDict ? "}(" : "ccollections\nOrderedDict\n)R(";
        for (const auto& [key, item] : value.entries()) {
          if (key.kind() != Value::Kind::kString && key.kind() != Value::Kind::kInt &&
              key.kind() != Value::Kind::kDouble && key.kind() != Value::Kind::kBool) {
            return Refused(absl::StrCat(key.Describe(), " as the key of a dict"));
          }
          TEC_RETURN_IF_ERROR(WriteValue(key, depth + 1));
          TEC_RETURN_IF_ERROR(WriteValue(item, depth + 1));
        }
        out_ += 'u';
        return absl::OkStatus();
      case Value::Kind::kTensor:
        WriteTensor(value.tensor());
        return absl::OkStatus();
      default:
        return Refused(absl::StrCat("a checkpoint cannot hold ", value.Describe()));
    }
  }

  std::string out_;
  std::vector<const TensorView*> tensors_;
};

size_t SizeBound(const Value& value, int depth) {
  if (depth > PickleWriter::kMaxDepth) return 0;
  switch (value.kind()) {
    case Value::Kind::kString:
      return value.text().size() + 16;
    case Value::Kind::kTensor:
      // Pickle of a tensor, its entry, its bytes.
      return 256 + 24 * value.tensor().shape.size() + ZipWriter::OverheadBound(kRoot, "data/18446744073709551615") +
             value.tensor().bytes.size();
    case Value::Kind::kList:
    case Value::Kind::kTuple: {
      size_t size = 16;
      for (const Value& item : value.items()) size += SizeBound(item, depth + 1);
      return size;
    }
    case Value::Kind::kDict:
    case Value::Kind::kOrderedDict: {
      size_t size = 40;
      for (const auto& [key, item] : value.entries()) size += SizeBound(key, depth + 1) + SizeBound(item, depth + 1);
      return size;
    }
    default:
      return 16;
  }
}

}  // namespace

std::string WhatItSeems(absl::string_view bytes) {
  const auto starts = [bytes](absl::string_view magic) { return absl::StartsWith(bytes, magic); };
  if (bytes.size() > 262 && bytes.substr(257, 5) == "ustar") {
    return "the tar format of PyTorch before 0.1.10 is not read: load and save it with a PyTorch between 0.2 and 2.5";
  }
  if (starts("\x80")) return "a bare pickle, not a weight file: only files of torch.save are read";
  if (starts("\x1f\x8b")) return "a gzip file: unpack it first";
  if (starts("BZh") || starts("\xfd"
                              "7zXZ"))
    return "a compressed file: unpack it first";
  if (starts("version https://git-lfs")) {
    return "a git-lfs pointer, not the file itself: fetch it with git lfs pull";
  }
  if (starts("GGUF")) return "a GGUF file: take the .safetensors or .pth that it was made of";
  if (starts("\x89HDF")) return "an HDF5 file, as Keras writes: take a .safetensors or .pth of the model";
  if (starts("\x93NUMPY")) return "a NumPy array: take a .safetensors or .pth of the model";
  absl::string_view text = absl::StripLeadingAsciiWhitespace(bytes.substr(0, 4096));
  if (absl::StartsWith(text, "<")) return "text that starts with \"<\", perhaps a web page saved in place of the file";
  if (absl::StartsWith(text, "{\"") && bytes.size() < 4096) {
    return "a JSON text, perhaps an error message saved in place of the file";
  }
  return "";
}

absl::StatusOr<Value> ParsePth(std::shared_ptr<const MappedFile> file) {
  const absl::string_view bytes = file->bytes();
  if (bytes.empty()) return Damaged("the file is empty");
  if (absl::StartsWith(bytes, kZipMagic)) return ParseZip(std::move(file));
  if (absl::StartsWith(bytes, kLegacyMagic)) return ParseLegacy(std::move(file));
  if (absl::StartsWith(kLegacyMagic, bytes)) return Damaged("the file is cut at its start");
  // Everything else is refused, with the name of what it seems to be.
  constexpr size_t kZipEnd = 22;
  if (bytes.size() >= kZipEnd && bytes.substr(bytes.size() - kZipEnd, 4) == absl::string_view("PK\x05\x06", 4)) {
    return Damaged(
        "the file ends as a zip archive and does not start as one: its front is cut, or has something before it");
  }
  const std::string what = WhatItSeems(bytes);
  return Refused(what.empty() ? "neither a zip nor a legacy file of torch.save" : what);
}

absl::StatusOr<Value> ReadPth(const std::string& path) {
  TEC_ASSIGN_OR_RETURN(std::shared_ptr<const MappedFile> file, MappedFile::Open(path));
  absl::StatusOr<Value> result = ParsePth(std::move(file));
  if (!result.ok()) return Annotate(result.status(), path);
  return result;
}

absl::Status WritePth(const std::string& path, const Value& root) {
  PickleWriter pickle;
  TEC_RETURN_IF_ERROR(Annotate(pickle.Write(root), path));
  TEC_ASSIGN_OR_RETURN(std::unique_ptr<AtomicFileWriter> file, AtomicFileWriter::Open(path, PthSizeBound(root)));
  ZipWriter zip([&file](absl::string_view bytes) { return file->Write(bytes); }, kRoot);
  // Names, order and contents as torch.save's.
  TEC_RETURN_IF_ERROR(zip.Add("data.pkl", pickle.pickle()));
  TEC_RETURN_IF_ERROR(zip.Add(".format_version", "1"));
  TEC_RETURN_IF_ERROR(zip.Add(".storage_alignment", "64"));
  TEC_RETURN_IF_ERROR(zip.Add("byteorder", "little"));
  for (size_t i = 0; i < pickle.tensors().size(); ++i) {
    TEC_RETURN_IF_ERROR(zip.Add(absl::StrCat("data/", i), pickle.tensors()[i]->bytes));
  }
  TEC_RETURN_IF_ERROR(zip.Add("version", "3\n"));
  TEC_RETURN_IF_ERROR(zip.Finish());
  return file->Commit();
}

size_t PthSizeBound(const Value& root) { return SizeBound(root, 0) + 4096; }

}  // namespace tec
