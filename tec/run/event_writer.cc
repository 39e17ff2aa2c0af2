#include "tec/run/event_writer.h"

#include <errno.h>
#include <unistd.h>

#include <array>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "tec/base/file.h"
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

double WallTime() { return absl::ToDoubleSeconds(absl::Now() - absl::UnixEpoch()); }

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
  const std::string path = absl::StrFormat("%s/events.out.tfevents.%010d.%s.%d", directory,
                                           absl::ToUnixSeconds(absl::Now()), host, getpid());
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

EventWriter::~EventWriter() { std::fclose(file_); }

absl::Status EventWriter::AddScalars(int64_t step, const std::vector<std::pair<std::string, double>>& scalars) {
  run::Event event;
  event.set_wall_time(WallTime());
  event.set_step(step);
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
