// Damaged weight files, each a function of a seed, and a reader of them that uses what it gets: for tests, for the tool
// //tools/weights:mutate, and for fuzzers.

#ifndef TEC_CHECKPOINT_MUTATION_H_
#define TEC_CHECKPOINT_MUTATION_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace tec {

// `file` with one to four edits: bits, bytes, parts left out, parts repeated; mostly near the front, where the
// structure of most formats is. Never empty.
std::string MutatedFile(absl::string_view file, uint64_t seed, uint64_t stream, uint64_t number);

// A zip .pth file with edits in its pickle alone and valid checksums, so that the interpreter sees them. "" if `file`
// is no zip .pth file.
std::string MutatedPickle(absl::string_view file, uint64_t seed, uint64_t stream, uint64_t number);

// A zip .pth file with this pickle and one storage of eight float32 elements, "0".
std::string FileAround(absl::string_view pickle);

// Reads `bytes` as whatever they are (or, with `kind`, as that), looks at every element and plans a base model from it.
// Whether it was accepted. Crashes and sanitizer reports are the caller's to notice. kJson: what stands beside weights,
// an index of shards or a config.json.
enum class FileKind { kAny, kPth, kSafetensors, kJson };
bool ReadAnything(std::string bytes, FileKind kind = FileKind::kAny);

}  // namespace tec

#endif  // TEC_CHECKPOINT_MUTATION_H_
