// The zip container as torch.save uses it: stored (uncompressed) entries, data aligned to 64 bytes, sizes beyond 4 GiB
// by ZIP64. Not a general zip library, on purpose: general ones repair, guess and skip, where a checkpoint wants to be
// refused.

#ifndef TEC_CHECKPOINT_ZIP_FILE_H_
#define TEC_CHECKPOINT_ZIP_FILE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tec/checkpoint/mapped_file.h"

namespace tec {

struct ZipEntry {
  std::string name;
  uint64_t header_offset = 0;  // Of the local header.
  uint64_t size = 0;
  uint32_t crc = 0;
  // Reader only. Compressed entries have a name and no data: CheckContent() refuses them.
  bool compressed = false;
  absl::string_view data;
};

class ZipReader {
 public:
  // Checks the whole structure: end record, directory, local headers against the directory, data descriptors, unique
  // names, entries inside the file and apart from each other. The contents' CRCs are checked by CheckContent().
  // DataLoss: cut or damaged. InvalidArgument: encrypted entries, more than 50,000 of them, a directory of more than
  // 8 MiB, bytes before the first entry. Takes 20 MiB at most.
  static absl::StatusOr<ZipReader> Open(std::shared_ptr<const MappedFile> file);

  // In the order of the directory.
  const std::vector<ZipEntry>& entries() const { return entries_; }
  // nullptr if there is none.
  const ZipEntry* Find(absl::string_view name) const;
  // InvalidArgument for compressed entries. DataLoss if the CRC-32 of any entry is wrong or, in a file that ZipWriter
  // made, any other byte is.
  absl::Status CheckContent() const;

 private:
  std::shared_ptr<const MappedFile> file_;
  std::vector<ZipEntry> entries_;
  std::unordered_map<std::string, size_t> index_;
};

class ZipWriter {
 public:
  using Sink = std::function<absl::Status(absl::string_view)>;

  // All entries go into the folder `root`, as PyTorch wants it. Sizes and offsets from `zip64_from` on are written as
  // ZIP64; a smaller one is for tests.
  ZipWriter(Sink sink, std::string root, uint64_t zip64_from = 0xFFFFFFFF);
  // Appends to *out, which outlives the writer.
  ZipWriter(std::string* out, std::string root, uint64_t zip64_from = 0xFFFFFFFF);

  // `name` is unique. `data` is written at once and not kept.
  absl::Status Add(absl::string_view name, absl::string_view data);
  // Writes the checksum entry and the directory. Nothing can be added after it.
  absl::Status Finish();

  // What Add() takes in the file beside the data, at most.
  static size_t OverheadBound(absl::string_view root, absl::string_view name);

 private:
  absl::Status Write(absl::string_view bytes);

  Sink sink_;
  std::string root_;
  uint64_t zip64_from_;
  uint64_t offset_ = 0;
  uint32_t crc_ = 0;  // Of all bytes written.
  std::vector<ZipEntry> entries_;
};

// Name of the checksum entry inside the root folder.
inline constexpr absl::string_view kZipChecksumName = ".tec/checksum";

}  // namespace tec

#endif  // TEC_CHECKPOINT_ZIP_FILE_H_
