// The named tensors of a weight file, whatever its container: .pth (zip or legacy) or .safetensors. The container is
// told by the file's first bytes, not by its name; but for the index of sharded files (as Hugging Face writes it:
// {"weight_map": {tensor: file, ...}}), whose name ends with ".index.json". A folder with Hugging Face's names stands
// for the file in it. Control characters of the file are shown as \xNN in messages.

#ifndef TEC_CHECKPOINT_STATE_DICT_FILE_H_
#define TEC_CHECKPOINT_STATE_DICT_FILE_H_

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
  // The top-level entry the tensors were taken from, "" if the file is a bare state dict.
  std::string top_level;
  // For messages and logs: "zip .pth", "legacy .pth", "safetensors", "safetensors in 3 shards",
  // "zip .pth in 2 shards".
  std::string container;
};

// Reads and checks the whole file. `top_level` names the entry to take; empty means "model", else "state_dict", else
// the file itself if it is nothing but named tensors. A file with several candidates and none of these (student and
// teacher) is an error that lists them. So is an entry that is no tensor in the chosen dict, and a dict without
// tensors.
absl::StatusOr<StateDictFile> ReadStateDict(const std::string& path, const std::string& top_level = "");

// The same with the first of `entries` that the file has, else the file itself.
absl::StatusOr<StateDictFile> ReadFirstStateDict(const std::string& path, const std::vector<std::string>& entries);

// The weights in `path` where it is a folder as Hugging Face fills it (model.safetensors, pytorch_model.bin, or the
// index of one of them); else `path`.
std::string WeightFileIn(const std::string& path);

// The index of sharded weights: the names of each file's tensors. InvalidArgument: no index, more than 20,000 tensors,
// or a file outside of its folder.
absl::StatusOr<std::map<std::string, std::set<std::string>>> ParseShardIndex(absl::string_view text);

// The selection alone, on a value that ReadPth returned.
absl::StatusOr<StateDictFile> SelectStateDict(const Value& root, const std::string& top_level);

// Every tensor of `root` under its path, parts joined by '/'; list and tuple items under their index.
absl::StatusOr<StateDict> FlattenTensors(const Value& root);

}  // namespace tec

#endif  // TEC_CHECKPOINT_STATE_DICT_FILE_H_
