// The names that a pickle of weights may use, and what is said of others.

#ifndef TEC_CHECKPOINT_PICKLE_NAMES_H_
#define TEC_CHECKPOINT_PICKLE_NAMES_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tec/checkpoint/tensor_view.h"

namespace tec {

// Of opcodes that are refused, for the message.
absl::string_view RefusedPickleOpcode(uint8_t opcode);

// "module.name": whether it is one that weights need; the message says what it is, and what to do in Python.
absl::Status CheckPickleGlobal(absl::string_view name);

// The type of what a storage of class `name` holds; none if that is no storage's; the status of OtherPickleType if it
// is one that is not read.
absl::StatusOr<std::optional<DType>> PickleStorageType(absl::string_view name);

// InvalidArgument for tensors of a type that is not read, "complex64", with what makes such a file one that is.
absl::Status OtherPickleType(absl::string_view type);

// Printable and short: names come out of the file.
std::string QuotedInPickle(absl::string_view text);

}  // namespace tec

#endif  // TEC_CHECKPOINT_PICKLE_NAMES_H_
