// PyTorch's weight files (.pth, .pt, .bin): the zip container of torch.save since 1.6, the legacy container before it,
// and the pickle inside both.
//
// Reading never runs anything. The pickle is interpreted symbolically by an interpreter of our own: an allow-list of
// opcodes and of global names, whose calls become plain data (value.h); anything else is refused by name. Every length
// is checked against the file before memory is taken for it, the total is bounded by the file's size plus a constant,
// CRCs are checked, and sizes, strides and offsets must lie inside their storage. Tensors are pages of the file; only
// views with gaps (transposed, strided, expanded) are copied, to dense ones.

#ifndef TEC_CHECKPOINT_PTH_H_
#define TEC_CHECKPOINT_PTH_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tec/checkpoint/mapped_file.h"
#include "tec/checkpoint/value.h"

namespace tec {

// The object that torch.save() was given. InvalidArgument says what is wrong or refused (a format or class we do not
// read is said by name, with what to do); DataLoss: the file was one and is damaged (cut, bad CRC); NotFound,
// PermissionDenied: the path.
absl::StatusOr<Value> ReadPth(const std::string& path);
// The same over an open file; messages do not name it.
absl::StatusOr<Value> ParsePth(std::shared_ptr<const MappedFile> file);

// What bytes that are no weight file seem to be, and what to do ("a git-lfs pointer, not the file itself: fetch it with
// git lfs pull", a web page, a gzip file, ...); "" if they look like nothing that is often met in a weight file's
// place.
std::string WhatItSeems(absl::string_view bytes);

// Writes `root` so that torch.load(path, weights_only=True) returns it. Whole or not at all (AtomicFileWriter), and not
// begun if the disk has less free than PthSizeBound(); the tensors are written from where they lie. Equal values give
// equal bytes: no times, no names from outside. The file also carries a checksum over every byte, which ReadPth()
// verifies, so a flipped bit anywhere is found. InvalidArgument for what weights_only would refuse (bytes, sets,
// objects, integers beyond 64 bits, text that is no UTF-8, dict keys other than text, int, float, bool) or nesting
// beyond 100.
absl::Status WritePth(const std::string& path, const Value& root);

// An upper bound of the size of the file WritePth() makes of `root`.
size_t PthSizeBound(const Value& root);

}  // namespace tec

#endif  // TEC_CHECKPOINT_PTH_H_
