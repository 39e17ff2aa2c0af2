#include "tec/checkpoint/safetensors.h"

#include <string.h>
#include <zlib.h>

#include <algorithm>
#include <deque>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "nlohmann/json.hpp"
#include "tec/base/file.h"
#include "tec/base/status.h"

namespace tec {
namespace {

// The format allows 100,000,000. Known models' have some 100 kB, and a header takes several times its size in memory.
constexpr uint64_t kMaxHeader = uint64_t{8} << 20;
// What all that a header says may take: some 60,000 tensors.
constexpr size_t kHeaderMemory = size_t{40} << 20;
// What a tensor's name takes once in each of the lists it is in, and what the tensor takes without it.
constexpr size_t kNameCopies = 4, kTensorMemory = 700;
constexpr size_t kMaxRank = 64;
constexpr size_t kMaxName = size_t{64} << 10;
constexpr absl::string_view kMetadata = "__metadata__";
// The checksum's name in the metadata, the text before its digits, and what stands for them where it is computed.
constexpr char kChecksum[] = "tec_crc32";
constexpr absl::string_view kChecksumStart = "\"tec_crc32\":\"", kNoChecksum = "00000000";

absl::Status Invalid(absl::string_view message) { return absl::InvalidArgumentError(message); }

struct Info {
  std::string name;
  std::string dtype;
  std::vector<int64_t> shape;
  std::vector<int64_t> offsets;
};

// Takes the header's JSON events and accepts exactly the format's grammar, so that no tree is ever built: depth, size
// and duplicate names are judged as they come.
class HeaderHandler : public nlohmann::json_sax<nlohmann::json> {
 public:
  std::deque<Info> infos;
  std::map<std::string, std::string> metadata;
  absl::Status status;

  bool null() override { return Fail("null is no part of the format"); }
  bool boolean(bool) override { return Fail("true and false are no part of the format"); }
  bool number_integer(number_integer_t value) override {
    return Fail(absl::StrCat(Place(), "negative number ", value));
  }
  bool number_float(number_float_t, const string_t& text) override {
    return Fail(absl::StrCat(Place(), "number ", text.substr(0, 100), " is not an integer of 64 bits"));
  }
  bool binary(binary_t&) override { return Fail("binary value"); }

  bool number_unsigned(number_unsigned_t value) override {
    if (state_ == State::kMetadata) return Fail(absl::StrCat("metadata \"", Short(key_), "\" is a number, not text"));
    if (state_ != State::kArray) return Fail(absl::StrCat("unexpected number ", value));
    if (value > static_cast<uint64_t>(INT64_MAX)) return Fail(absl::StrCat("number ", value, " is too large"));
    const bool shape = key_ == "shape";
    std::vector<int64_t>& numbers = shape ? infos.back().shape : infos.back().offsets;
    if (!shape && numbers.size() == 2) return Fail(absl::StrCat(Tensor(), ": data_offsets must be two numbers"));
    if (numbers.size() == kMaxRank) return Fail(absl::StrCat(Tensor(), " has more than ", kMaxRank, " dimensions"));
    numbers.push_back(value);
    // Both copies of the list, each of up to twice its size.
    return Charge(4 * sizeof(int64_t));
  }

  bool string(string_t& value) override {
    if (state_ == State::kMetadata) {
      if (!Charge(200 + 2 * key_.size() + value.size())) return false;
      metadata[key_] = value;
      return true;
    }
    if (state_ == State::kTensor && key_ == "dtype") {
      infos.back().dtype = value;
      return true;
    }
    return Fail(absl::StrCat("unexpected text \"", Short(value), "\""));
  }

  bool start_object(size_t) override {
    if (state_ == State::kStart) {
      state_ = State::kTop;
    } else if (state_ == State::kTop && key_ == kMetadata) {
      state_ = State::kMetadata;
    } else if (state_ == State::kTop) {
      state_ = State::kTensor;
      if (!Charge(kTensorMemory + (key_.size() < 16 ? 0 : kNameCopies * (key_.size() + 32)))) return false;
      infos.emplace_back();
      infos.back().name = key_;
    } else {
      return Fail("an object inside the description of a tensor or the metadata");
    }
    if (state_ != State::kTop) inner_keys_.clear();
    return true;
  }

  bool key(string_t& key) override {
    if (key.size() > kMaxName) return Fail(absl::StrCat("a name of ", key.size(), " bytes"));
    key_ = key;
    std::set<std::string>& seen = state_ == State::kTop ? top_keys_ : inner_keys_;
    if (!seen.insert(key).second) return Fail(absl::StrCat("name \"", Short(key), "\" occurs twice"));
    if (state_ == State::kTensor && key != "dtype" && key != "shape" && key != "data_offsets") {
      return Fail(absl::StrCat(Tensor(), " has an unknown field \"", Short(key), "\""));
    }
    return true;
  }

  bool end_object() override {
    if (state_ == State::kTensor && inner_keys_.size() != 3) {
      return Fail(absl::StrCat(Tensor(), " lacks dtype, shape or data_offsets"));
    }
    state_ = state_ == State::kTop ? State::kEnd : State::kTop;
    return true;
  }

  bool start_array(size_t) override {
    if (state_ != State::kTensor || key_ == "dtype") return Fail("unexpected array");
    state_ = State::kArray;
    return true;
  }

  bool end_array() override {
    state_ = State::kTensor;
    return true;
  }

  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception& error) override {
    if (absl::StrContains(error.what(), "UTF-8"))
      return Fail(absl::StrCat("the header is not UTF-8 at byte ", position));
    if (absl::StrContains(error.what(), "unexpected end of input")) return Fail("the header ends inside its JSON");
    return Fail(absl::StrCat("the header is not valid JSON at byte ", position));
  }

 private:
  enum class State { kStart, kTop, kMetadata, kTensor, kArray, kEnd };

  bool Fail(absl::string_view message) {
    if (status.ok()) status = Invalid(message);
    return false;
  }

  bool Charge(size_t bytes) {
    if (bytes > memory_left_) {
      return Fail(absl::StrCat("the header describes more than weights have: at tensor ", infos.size(),
                               " it would take more than ", kHeaderMemory >> 20, " MiB"));
    }
    memory_left_ -= bytes;
    return true;
  }

  std::string Place() const { return state_ == State::kArray ? absl::StrCat(Tensor(), ": ", key_, " has the ") : ""; }
  static std::string Short(const std::string& text) { return text.substr(0, 200); }
  std::string Tensor() const { return absl::StrCat("tensor \"", Short(infos.back().name), "\""); }

  State state_ = State::kStart;
  size_t memory_left_ = kHeaderMemory;
  std::string key_;
  std::set<std::string> top_keys_, inner_keys_;
};

absl::Status CheckTensor(const Info& info, absl::string_view data, TensorView* view) {
  TEC_ASSIGN_OR_RETURN(view->dtype, DTypeFromName(info.dtype));
  TEC_ASSIGN_OR_RETURN(const int64_t elements, CheckedNumElements(info.shape));
  if (info.offsets.size() != 2) return Invalid("data_offsets must be two numbers");
  const int64_t begin = info.offsets[0], end = info.offsets[1];
  if (begin > end) return Invalid(absl::StrCat("data ends at ", end, ", before its begin at ", begin));
  if (end > static_cast<int64_t>(data.size())) {
    return Invalid(absl::StrCat("data ends at ", end, ", beyond the file's ", data.size(), " bytes of data"));
  }
  int64_t size;
  if (__builtin_mul_overflow(elements, static_cast<int64_t>(DTypeSize(view->dtype)), &size) || size != end - begin) {
    view->shape = info.shape;
    return Invalid(absl::StrCat(Describe(*view), " does not take ", end - begin, " bytes"));
  }
  view->shape = info.shape;
  view->bytes = data.substr(begin, size);
  return absl::OkStatus();
}

// CRC-32 of bytes whose CRC-32 is `before` and `part` after them. Pages of a mapped file are given back.
uint32_t Crc32(uint32_t before, absl::string_view part, bool mapped = false) {
  constexpr size_t kPiece = size_t{8} << 20;
  for (size_t begin = 0; begin < part.size(); begin += kPiece) {
    TensorView piece;
    piece.bytes = part.substr(begin, kPiece);
    piece.mapped = mapped;
    before = crc32(before, reinterpret_cast<const Bytef*>(piece.bytes.data()), piece.bytes.size());
    if (part.size() > kPiece) ReleasePages(piece);
  }
  return before;
}

absl::Status CheckChecksum(const MappedFile& file, absl::string_view header, const std::string& expected) {
  const size_t start = header.find(kChecksumStart);
  const size_t digits = start == absl::string_view::npos ? start : 8 + start + kChecksumStart.size();
  if (expected.size() != kNoChecksum.size() || digits == absl::string_view::npos) {
    return Invalid(absl::StrCat("\"", kChecksum, "\" in the metadata is not written as this project writes it"));
  }
  const absl::string_view bytes = file.bytes();
  uint32_t crc = Crc32(0, bytes.substr(0, digits), file.mapped());
  crc = Crc32(crc, kNoChecksum);
  crc = Crc32(crc, bytes.substr(digits + kNoChecksum.size()), file.mapped());
  const std::string found = absl::StrFormat("%08x", crc);
  if (found == expected) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("the file is damaged: its checksum is ", found, ", and ", expected,
                                          " is written in it. (If a program changed it ", "and kept the metadata, \"",
                                          kChecksum, "\" has to be taken out.)"));
}

}  // namespace

absl::StatusOr<Safetensors> ParseSafetensors(std::shared_ptr<const MappedFile> file) {
  const absl::string_view bytes = file->bytes();
  if (bytes.size() < 8) return Invalid(absl::StrCat("a file of ", bytes.size(), " bytes is no safetensors file"));
  uint64_t header_size;
  memcpy(&header_size, bytes.data(), 8);
  if (header_size > kMaxHeader) {
    return Invalid(absl::StrCat("header length ", header_size, " is above the limit of ", kMaxHeader,
                                ", many times what models need"));
  }
  if (header_size > bytes.size() - 8) {
    return Invalid(absl::StrCat("header length ", header_size, " is beyond the file's ", bytes.size(), " bytes"));
  }
  const absl::string_view header = bytes.substr(8, header_size);
  const absl::string_view data = bytes.substr(8 + header_size);
  // The JSON library skips a byte order mark and takes a NUL for the end of its input: neither may stand in JSON.
  if (header.find('\0') != absl::string_view::npos) return Invalid("the header holds a NUL byte");
  const absl::string_view text = absl::StripLeadingAsciiWhitespace(header);
  if (text.empty() || text[0] != '{') return Invalid("the header is not a JSON object");

  Safetensors result;
  std::deque<Info> infos;
  {
    HeaderHandler handler;
    nlohmann::json::sax_parse(header.begin(), header.end(), &handler);
    TEC_RETURN_IF_ERROR(handler.status);
    infos = std::move(handler.infos);
    result.metadata = std::move(handler.metadata);
  }
  std::vector<std::pair<int64_t, int64_t>> ranges;
  for (Info& info : infos) {
    TensorView view;
    view.owner = file;
    view.mapped = file->mapped();
    TEC_RETURN_IF_ERROR(
        Annotate(CheckTensor(info, data, &view), absl::StrCat("tensor \"", info.name.substr(0, 200), "\"")));
    ranges.emplace_back(info.offsets[0], info.offsets[1]);
    TEC_RETURN_IF_ERROR(result.tensors.Add(std::move(info.name), std::move(view)));
  }
  std::sort(ranges.begin(), ranges.end());
  int64_t end = 0;
  for (const auto& [begin, range_end] : ranges) {
    if (begin > end) return Invalid(absl::StrCat("data bytes ", end, " to ", begin, " belong to no tensor"));
    if (begin < end) return Invalid(absl::StrCat("tensors overlap at data byte ", begin));
    end = range_end;
  }
  if (end != static_cast<int64_t>(data.size())) {
    return Invalid(absl::StrCat(data.size() - end, " bytes follow the last tensor"));
  }
  if (const auto checksum = result.metadata.find(kChecksum); checksum != result.metadata.end()) {
    TEC_RETURN_IF_ERROR(CheckChecksum(*file, header, checksum->second));
    result.metadata.erase(checksum);
  }
  return result;
}

absl::StatusOr<Safetensors> ReadSafetensors(const std::string& path) {
  TEC_ASSIGN_OR_RETURN(std::shared_ptr<const MappedFile> file, MappedFile::Open(path));
  absl::StatusOr<Safetensors> result = ParseSafetensors(std::move(file));
  if (!result.ok()) return Annotate(result.status(), path);
  return result;
}

absl::Status WriteSafetensors(const std::string& path, const StateDict& tensors,
                              const std::map<std::string, std::string>& metadata) {
  std::vector<const StateDict::Entry*> by_size;
  for (const StateDict::Entry& entry : tensors) {
    if (entry.first == kMetadata) return Invalid("a safetensors file cannot hold a tensor named __metadata__");
    by_size.push_back(&entry);
  }
  std::stable_sort(by_size.begin(), by_size.end(), [](const StateDict::Entry* a, const StateDict::Entry* b) {
    return DTypeSize(a->second.dtype) > DTypeSize(b->second.dtype);
  });
  std::map<const StateDict::Entry*, size_t> offsets;
  size_t end = 0;
  for (const StateDict::Entry* entry : by_size) {
    offsets[entry] = end;
    end += entry->second.bytes.size();
  }
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  std::map<std::string, std::string> with_checksum = metadata;
  with_checksum[kChecksum] = std::string(kNoChecksum);
  header[std::string(kMetadata)] = with_checksum;
  for (const StateDict::Entry& entry : tensors) {
    const size_t begin = offsets[&entry];
    header[entry.first] = {{"dtype", std::string(DTypeName(entry.second.dtype))},
                           {"shape", entry.second.shape},
                           {"data_offsets", {begin, begin + entry.second.bytes.size()}}};
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const nlohmann::json::exception&) {
    return Invalid("a tensor's name or the metadata is not UTF-8");
  }
  text.resize((text.size() + 7) / 8 * 8, ' ');
  if (text.size() > kMaxHeader) return Invalid("the header is larger than is read");
  const uint64_t header_size = text.size();

  const absl::string_view size_bytes(reinterpret_cast<const char*>(&header_size), 8);

  TEC_ASSIGN_OR_RETURN(std::unique_ptr<AtomicFileWriter> writer, AtomicFileWriter::Open(path, 8 + text.size() + end));
  uint32_t crc = Crc32(Crc32(0, size_bytes), text);
  for (const StateDict::Entry* entry : by_size) crc = Crc32(crc, entry->second.bytes, entry->second.mapped);
  const size_t digits = absl::string_view(text).find(kChecksumStart) + kChecksumStart.size();
  text.replace(digits, kNoChecksum.size(), absl::StrFormat("%08x", crc));
  TEC_RETURN_IF_ERROR(writer->Write(size_bytes));
  TEC_RETURN_IF_ERROR(writer->Write(text));
  for (const StateDict::Entry* entry : by_size) TEC_RETURN_IF_ERROR(writer->Write(entry->second.bytes));
  return writer->Commit();
}

}  // namespace tec
