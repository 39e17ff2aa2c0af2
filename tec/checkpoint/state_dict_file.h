// The named tensors of a weight file, whatever its container: .pth (zip or legacy) or .safetensors. The container is
// told by the file's first bytes, not by its name; but for the index of sharded files (as Hugging Face writes it:
// {"weight_map": {tensor: file, ...}}), whose name ends with ".index.json". A folder with the names of
// Hugging Face or OpenCLIP stands for the file in it. Control characters of the file are shown as \xNN in messages.

#ifndef TEC_CHECKPOINT_STATE_DICT_FILE_H_
#define TEC_CHECKPOINT_STATE_DICT_FILE_H_

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tec/checkpoint/tensor_view.h"
#include "tec/checkpoint/value.h"

namespace tec {

struct StateDictFile {
  StateDict tensors;
  std::string path;  // Of the file, in the folder that was given.
  // The top-level entry the tensors were taken from, "" if the file is a bare state dict.
  std::string top_level;
  std::vector<std::string> other_entries;  // Of the top level, with tensors too (TensorEntries).
  // For messages and logs: "zip .pth", "legacy .pth", "safetensors", "safetensors in 3 shards",
  // "zip .pth in 2 shards".
  std::string container;
};

// Reads and checks the whole file. `top_level` names the entry to take; empty means "model", else "state_dict",
// whichever holds tensors, else the one entry that does, else the file itself if it is nothing but named tensors. A
// file with several candidates and none of these (student and teacher) is an error that lists them. So is an entry that
// is no tensor in the chosen dict, and a dict without tensors.
absl::StatusOr<StateDictFile> ReadStateDict(const std::string& path, const std::string& top_level = "");

// The same with the entry of a .pth that `choose` picks from the file's root; "" is the root itself.
using EntryChoice = std::function<absl::StatusOr<std::string>(const Value& root)>;
absl::StatusOr<StateDictFile> ReadStateDictBy(const std::string& path, const EntryChoice& choose);

// The entries of the top level that are dicts with tensors right under their names, in the file's order.
std::vector<std::string> TensorEntries(const Value& root);

// The weights in `path` where it is a folder as Hugging Face or OpenCLIP fill it (model.safetensors, pytorch_model.bin,
// the index of one of them, open_clip_model.safetensors, ...); else `path`. InvalidArgument: an address, with the
// command that downloads it; a folder without any of these names, with what it has.
absl::StatusOr<std::string> WeightFileIn(const std::string& path);

// The index of sharded weights: the names of each file's tensors. InvalidArgument: no index, more than 20,000 tensors,
// or a file outside of its folder.
absl::StatusOr<std::map<std::string, std::set<std::string>>> ParseShardIndex(absl::string_view text);

// The selection alone, on a value that ReadPth returned.
absl::StatusOr<StateDictFile> SelectStateDict(const Value& root, const std::string& top_level);

// Every tensor of `root` under its path, parts joined by '/'; list and tuple items under their index.
absl::StatusOr<StateDict> FlattenTensors(const Value& root);

}  // namespace tec

#endif  // TEC_CHECKPOINT_STATE_DICT_FILE_H_
