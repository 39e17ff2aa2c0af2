// The files that TensorBoard reads: TFRecord framing, and which files of a folder they are.

#ifndef TEC_RUN_EVENT_FILE_H_
#define TEC_RUN_EVENT_FILE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace tec {

// How their names begin; a time, the host and the process follow.
inline constexpr absl::string_view kEventFilePrefix = "events.out.tfevents.";

// The event files of a folder, in the order in which TensorBoard reads them; none where there is no such folder.
std::vector<std::string> EventFiles(const std::string& directory);

// CRC-32C (Castagnoli), as RFC 3720 appendix B.4 has it.
uint32_t Crc32c(absl::string_view bytes);
// The form in which TFRecord stores it: rotated right by 15, plus a constant.
uint32_t MaskedCrc32c(absl::string_view bytes);

// A record as it stands in a file: its length and itself, each with its checksum, little-endian.
std::string FramedRecord(absl::string_view record);

struct EventRecord {
  absl::string_view record, framed;
};
// Takes the next record off `rest`; none where it ends, or at what a kill or a power failure left of the last ones,
// zeros for example, which no reader gets past.
std::optional<EventRecord> TakeRecord(absl::string_view* rest);

}  // namespace tec

#endif  // TEC_RUN_EVENT_FILE_H_
