#include "tec/run/event_writer.h"

#include <errno.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "tec/base/file.h"
#include "tec/base/file_operations.h"
#include "tec/base/status.h"
#include "tec/run/event.pb.h"

namespace tec {
namespace {

constexpr uint32_t kCastagnoliReversed = 0x82F63B78;

std::array<uint32_t, 256> MakeCrcTable() {
  std::array<uint32_t, 256> table;
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (crc & 1 ? kCastagnoliReversed : 0);
    table[i] = crc;
  }
  return table;
}

template <typename T>
std::string LittleEndian(T value) {
  std::string bytes;
  for (size_t i = 0; i < sizeof(T); ++i) bytes.push_back(static_cast<char>(value >> (8 * i)));
  return bytes;
}

template <typename T>
T FromLittleEndian(absl::string_view bytes) {
  T value = 0;
  for (size_t i = sizeof(T); i-- > 0;) value = value << 8 | static_cast<uint8_t>(bytes[i]);
  return value;
}

double WallTime() { return absl::ToDoubleSeconds(absl::Now() - absl::UnixEpoch()); }

constexpr absl::string_view kPrefix = "events.out.tfevents.";
constexpr size_t kTimeDigits = 10;

// The time for a new file's name, seconds since 1970: TensorBoard reads files in the order of their names, so it is
// after those that are there, though the clock may have been set back since.
int64_t TimeOfNewFile(const std::string& directory) {
  int64_t time = absl::ToUnixSeconds(absl::Now());
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    const std::string name = entry.path().filename().string();
    int64_t of_file;
    if (absl::StartsWith(name, kPrefix) && absl::SimpleAtoi(name.substr(kPrefix.size(), kTimeDigits), &of_file)) {
      time = std::max(time, of_file + 1);
    }
  }
  return time;
}

}  // namespace

uint32_t Crc32c(absl::string_view bytes) {
  static const std::array<uint32_t, 256> table = MakeCrcTable();
  uint32_t crc = 0xFFFFFFFF;
  for (const char byte : bytes) crc = table[(crc ^ static_cast<uint8_t>(byte)) & 0xFF] ^ (crc >> 8);
  return ~crc;
}

uint32_t MaskedCrc32c(absl::string_view bytes) {
  const uint32_t crc = Crc32c(bytes);
  return ((crc >> 15) | (crc << 17)) + 0xA282EAD8;
}

absl::StatusOr<std::unique_ptr<EventWriter>> EventWriter::Create(const std::string& directory, int64_t first_step) {
  TEC_RETURN_IF_ERROR(MakeDirectories(directory));
  char host[256] = "localhost";
  gethostname(host, sizeof(host) - 1);
  const std::string path =
      absl::StrFormat("%s/%s%010d.%s.%d", directory, kPrefix, TimeOfNewFile(directory), host, getpid());
  std::FILE* file = std::fopen(path.c_str(), "abe");
  if (file == nullptr) return ErrnoToStatus(errno, "cannot create", path);
  std::unique_ptr<EventWriter> writer(new EventWriter(path, file));
  run::Event event;
  event.set_wall_time(WallTime());
  event.set_file_version("brain.Event:2");
  TEC_RETURN_IF_ERROR(writer->WriteRecord(event.SerializeAsString()));
  event.set_step(first_step);
  event.mutable_session_log()->set_status(run::SessionLog::START);
  TEC_RETURN_IF_ERROR(writer->WriteRecord(event.SerializeAsString()));
  TEC_RETURN_IF_ERROR(writer->Flush());
  return writer;
}

absl::StatusOr<int64_t> TrimEvents(const std::string& directory, int64_t updates, int64_t epoch) {
  constexpr size_t kHead = 12, kTail = 4;  // The length and its checksum; the record's.
  int64_t largest = -1;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    const std::string path = entry.path().string();
    if (!absl::StartsWith(entry.path().filename().string(), kPrefix)) continue;
    TEC_ASSIGN_OR_RETURN(const std::string content, ReadFile(path));
    std::string kept;
    bool ours = false;
    absl::string_view rest = content;
    while (rest.size() >= kHead + kTail) {
      // What a kill or a power failure left of the last ones, zeros for example, no reader gets past.
      const auto length = FromLittleEndian<uint64_t>(rest);
      if (length > rest.size() - kHead - kTail) break;
      const absl::string_view framed = rest.substr(0, kHead + length + kTail);
      if (FromLittleEndian<uint32_t>(framed.substr(8)) != MaskedCrc32c(framed.substr(0, 8)) ||
          FromLittleEndian<uint32_t>(framed.substr(kHead + length)) != MaskedCrc32c(framed.substr(kHead, length))) {
        break;
      }
      rest.remove_prefix(framed.size());
      run::Event event;
      if (!event.ParseFromArray(framed.data() + kHead, static_cast<int>(length))) break;
      ours = ours || event.has_of_update() || event.has_of_epoch();
      if (event.of_update() > updates || (event.has_of_epoch() && event.of_epoch() >= epoch)) continue;
      absl::StrAppend(&kept, framed);
      if (event.has_summary()) largest = std::max(largest, event.step());
    }
    if (ours && kept != content) TEC_RETURN_IF_ERROR(WriteFile(path, kept));
  }
  return largest;
}

EventWriter::~EventWriter() { std::fclose(file_); }

absl::Status EventWriter::AddScalars(int64_t step, const std::vector<std::pair<std::string, double>>& scalars,
                                     const EventSource& source) {
  run::Event event;
  event.set_wall_time(WallTime());
  event.set_step(step);
  if (source.update >= 0) event.set_of_update(source.update);
  if (source.epoch >= 0) event.set_of_epoch(source.epoch);
  for (const auto& [tag, scalar] : scalars) {
    auto* value = event.mutable_summary()->add_value();
    value->set_tag(tag);
    value->set_simple_value(static_cast<float>(scalar));
  }
  return WriteRecord(event.SerializeAsString());
}

absl::Status EventWriter::Flush() {
  if (std::fflush(file_) != 0) return ErrnoToStatus(errno, "cannot write", path_);
  return absl::OkStatus();
}

absl::Status EventWriter::Sync() {
  TEC_RETURN_IF_ERROR(Flush());
  if (file_operations::Sync(fileno(file_)) != 0) return ErrnoToStatus(errno, "cannot write to disk", path_);
  return absl::OkStatus();
}

absl::Status EventWriter::WriteRecord(const std::string& record) {
  const std::string length = LittleEndian<uint64_t>(record.size());
  const std::string framed =
      absl::StrCat(length, LittleEndian(MaskedCrc32c(length)), record, LittleEndian(MaskedCrc32c(record)));
  if (std::fwrite(framed.data(), 1, framed.size(), file_) != framed.size()) {
    return ErrnoToStatus(errno, "cannot write", path_);
  }
  return absl::OkStatus();
}

}  // namespace tec
