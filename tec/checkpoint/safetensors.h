// The safetensors format: an 8-byte little-endian header length, a JSON header, the tensors' bytes.
//
// The reader takes nothing on trust: header length, UTF-8, duplicate names (also spelled with escapes), types, shapes,
// offsets without holes, overlaps or a tail are all checked before it returns, and nothing is allocated by a length
// that the file claims; at most 64 dimensions, 8 MiB of header (some 60,000 tensors), and less than 64 MiB of memory,
// whatever the file holds. The format is that of huggingface/safetensors; where that library is lenient (duplicate
// names) this one is not.

#ifndef TEC_CHECKPOINT_SAFETENSORS_H_
#define TEC_CHECKPOINT_SAFETENSORS_H_

#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tec/checkpoint/mapped_file.h"
#include "tec/checkpoint/tensor_view.h"

namespace tec {

struct Safetensors {
  // In the order of the header. The bytes are pages of the file.
  StateDict tensors;
  // The header's __metadata__, without the checksum.
  std::map<std::string, std::string> metadata;
};

// InvalidArgument says what is wrong with the file; DataLoss: it has a checksum of ours, which is of other bytes;
// NotFound and PermissionDenied name the path.
absl::StatusOr<Safetensors> ReadSafetensors(const std::string& path);
// The same over an open file; messages do not name it.
absl::StatusOr<Safetensors> ParseSafetensors(std::shared_ptr<const MappedFile> file);

// Writes the file whole or not at all (AtomicFileWriter), and not begun if the disk has too little free. Its metadata
// gets "tec_crc32": eight hexadecimal digits, the CRC-32 of the whole file with zeros in their place. The header lists
// the tensors in the order given; the bytes lie by falling element size, so that each is aligned. Equal input gives
// equal bytes. InvalidArgument for a tensor named "__metadata__".
absl::Status WriteSafetensors(const std::string& path, const StateDict& tensors,
                              const std::map<std::string, std::string>& metadata = {});

}  // namespace tec

#endif  // TEC_CHECKPOINT_SAFETENSORS_H_
