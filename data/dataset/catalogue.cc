// The layout: a magic, the CRC-32 of what follows, then numbers of 8 bytes, little-endian, and arrays after their
// length.

#include "data/dataset/catalogue.h"

#include <zlib.h>

#include <algorithm>
#include <cstring>

#include "tec/base/logging.h"

namespace tec {
namespace {

// The version is the last digit. 1 is without defects and left_out, 2 without what follows them, 3 without checksums;
// packed files, which hold no zips, outlive versions.
constexpr absl::string_view kMagic = "TECCAT0";
constexpr char kNewest = '4';  // Written of zips alone: what older programs can read, they may.
constexpr size_t kHeader = 8 + 4;

uint32_t Crc(absl::string_view bytes) { return crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()); }

template <typename T>
void Append(const std::vector<T>& values, std::string* out) {
  const uint64_t count = values.size();
  out->append(reinterpret_cast<const char*>(&count), sizeof(count));
  out->append(reinterpret_cast<const char*>(values.data()), count * sizeof(T));
}

void Append(absl::string_view text, std::string* out) {
  const uint64_t count = text.size();
  out->append(reinterpret_cast<const char*>(&count), sizeof(count));
  out->append(text.data(), text.size());
}

class Parser {
 public:
  explicit Parser(absl::string_view rest) : rest_(rest) {}
  bool ok() const { return ok_; }
  bool AtEnd() const { return ok_ && rest_.empty(); }

  uint64_t Number() {
    uint64_t value = 0;
    if (rest_.size() < sizeof(value)) return Fail();
    std::memcpy(&value, rest_.data(), sizeof(value));
    rest_.remove_prefix(sizeof(value));
    return value;
  }
  absl::string_view Text() {
    const uint64_t count = Number();
    if (count > rest_.size()) {
      Fail();
      return {};
    }
    const absl::string_view text = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return text;
  }
  template <typename T>
  void Array(std::vector<T>* values) {
    const uint64_t count = Number();
    if (count > rest_.size() / sizeof(T)) {
      Fail();
      return;
    }
    values->resize(count);
    if (count > 0) std::memcpy(values->data(), rest_.data(), count * sizeof(T));
    rest_.remove_prefix(count * sizeof(T));
  }
  std::vector<std::string> Texts() {
    std::vector<std::string> texts;
    for (uint64_t left = Number(); left > 0 && ok_; --left) texts.emplace_back(Text());
    return texts;
  }

 private:
  uint64_t Fail() {
    ok_ = false;
    rest_ = {};
    return 0;
  }

  absl::string_view rest_;
  bool ok_ = true;
};

// Whether every number in it leads somewhere.
bool Consistent(const Catalogue& c) {
  const size_t n = c.ends.size();
  if (!std::is_sorted(c.ends.begin(), c.ends.end()) || (n == 0 ? 0 : c.ends.back()) != c.names.size()) return false;
  if (c.labels.empty() ? !c.classes.empty() && n > 0 : c.labels.size() != n) return false;
  for (const int32_t label : c.labels) {
    if (label < 0 || static_cast<size_t>(label) >= c.classes.size()) return false;
  }
  if (c.in_class_folders && c.labels.size() != n) return false;
  if (c.containers.empty())
    return c.container.empty() && c.begin.empty() && c.bytes.empty() && c.packed.empty() && c.checksums.empty();
  if (c.container.size() != n || c.begin.size() != n || c.bytes.size() != n) return false;
  if (!c.packed.empty() && c.packed.size() != n) return false;
  if (c.checksums.size() != c.packed.size()) return false;
  for (const uint32_t container : c.container) {
    if (container >= c.containers.size()) return false;
  }
  return true;
}

}  // namespace

absl::string_view Catalogue::name(int64_t index) const {
  TEC_CHECK(index >= 0 && index < size()) << index << " of " << size();
  const uint64_t first = index == 0 ? 0 : ends[index - 1];
  return absl::string_view(names).substr(first, ends[index] - first);
}

void Catalogue::Add(absl::string_view name, int32_t label) {
  names.append(name.data(), name.size());
  ends.push_back(names.size());
  if (label >= 0) labels.push_back(label);
  TEC_CHECK(labels.empty() || labels.size() == ends.size());
}

void Catalogue::AddRecord(absl::string_view name, int32_t label, uint32_t container_index, uint64_t first_byte,
                          uint64_t count, uint64_t packed_bytes, uint32_t checksum) {
  Add(name, label);
  if (packed_bytes != kPlain) packed.resize(container.size(), kPlain);  // Archives of both kinds may stand together.
  container.push_back(container_index);
  begin.push_back(first_byte);
  bytes.push_back(count);
  if (packed_bytes != kPlain || !packed.empty()) packed.push_back(packed_bytes);
  checksums.resize(packed.size());
  if (packed_bytes != kPlain) checksums.back() = checksum;
}

std::string SerializeCatalogue(const Catalogue& c, const std::vector<Stamp>& stamps) {
  std::string out(kMagic);
  const bool zips = !c.checksums.empty();
  out += zips ? kNewest : '3';
  out.append(4, '\0');
  const auto append_number = [&](uint64_t value) { out.append(reinterpret_cast<const char*>(&value), sizeof(value)); };
  append_number(stamps.size());
  for (const Stamp& stamp : stamps) {
    Append(stamp.path, &out);
    append_number(stamp.bytes);
    append_number(stamp.modified);
  }
  for (const auto* texts : {&c.classes, &c.containers}) {
    append_number(texts->size());
    for (const std::string& text : *texts) Append(text, &out);
  }
  append_number(c.in_class_folders);
  Append(c.names, &out);
  Append(c.ends, &out);
  Append(c.labels, &out);
  Append(c.container, &out);
  Append(c.begin, &out);
  Append(c.bytes, &out);
  append_number(c.defects.size());
  for (const std::string& defect : c.defects) Append(defect, &out);
  Append(c.left_out, &out);
  append_number(c.warnings.size());
  for (const std::string& warning : c.warnings) Append(warning, &out);
  Append(c.why_unlabelled, &out);
  Append(c.packed, &out);
  if (zips) Append(c.checksums, &out);
  const uint32_t crc = Crc(absl::string_view(out).substr(kHeader));
  std::memcpy(&out[8], &crc, sizeof(crc));
  return out;
}

absl::StatusOr<Catalogue> ParseCatalogue(absl::string_view bytes, std::vector<Stamp>* stamps) {
  const absl::Status damaged = absl::DataLossError("the index is damaged or of another version");
  if (bytes.size() < kHeader || bytes.substr(0, kMagic.size()) != kMagic) return damaged;
  const char version = bytes[kMagic.size()];
  if (version < '1' || version > kNewest) return damaged;
  uint32_t crc;
  std::memcpy(&crc, bytes.data() + 8, sizeof(crc));
  bytes.remove_prefix(kHeader);
  if (Crc(bytes) != crc) return damaged;
  Parser parser(bytes);
  for (uint64_t left = parser.Number(); left > 0 && parser.ok(); --left) {
    Stamp stamp;
    stamp.path = std::string(parser.Text());
    stamp.bytes = static_cast<int64_t>(parser.Number());
    stamp.modified = static_cast<int64_t>(parser.Number());
    stamps->push_back(std::move(stamp));
  }
  Catalogue c;
  c.classes = parser.Texts();
  c.containers = parser.Texts();
  c.in_class_folders = parser.Number() != 0;
  c.names = std::string(parser.Text());
  parser.Array(&c.ends);
  parser.Array(&c.labels);
  parser.Array(&c.container);
  parser.Array(&c.begin);
  parser.Array(&c.bytes);
  if (version >= '2') {
    c.defects = parser.Texts();
    c.left_out = std::string(parser.Text());
  }
  if (version >= '3') {
    c.warnings = parser.Texts();
    c.why_unlabelled = std::string(parser.Text());
    parser.Array(&c.packed);
  }
  if (version >= '4') parser.Array(&c.checksums);
  if (!parser.AtEnd() || !Consistent(c)) return damaged;
  return c;
}

}  // namespace tec
