// Other people's containers of pictures, which this project does not read: what they are, and how to convert them.

#ifndef TEC_DATA_DATASET_FOREIGN_H_
#define TEC_DATA_DATASET_FOREIGN_H_

#include <string>

#include "absl/strings/string_view.h"

namespace tec {

// What a file is by its first bytes, or else by its name, and what to do with it, as the end of a sentence that begins
// "FILE is": "a gzip file: unpack it (gunzip, tar xzf)". Empty for everything else. `bytes` may be empty, or the first
// kilobyte or more; so may be `name`.
std::string ForeignContainer(absl::string_view bytes, absl::string_view name);

// The same for a path that is none of this machine: "https://...", "s3://...". Empty for all other paths.
std::string ForeignAddress(absl::string_view path);

}  // namespace tec

#endif  // TEC_DATA_DATASET_FOREIGN_H_
