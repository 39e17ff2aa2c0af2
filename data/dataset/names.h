// What names of files say: which are pictures, archives, litter that other programs leave, or not wanted.

#ifndef TEC_DATA_DATASET_NAMES_H_
#define TEC_DATA_DATASET_NAMES_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace tec {

// torchvision's IMG_EXTENSIONS.
inline constexpr absl::string_view kPictureExtensions[] = {".jpg", ".jpeg", ".png",  ".ppm", ".bmp",
                                                           ".pgm", ".tif",  ".tiff", ".webp"};
inline constexpr absl::string_view kMorePictureExtensions[] = {".gif", ".jfif", ".pbm"};

// Whether the name ends in one of the above, in upper or lower case. `as_image_folder`: as torchvision's ImageFolder
// decides, by the first list alone.
bool IsPictureName(absl::string_view name, bool as_image_folder);

// The endings that IsPictureName() knows, with a blank between them.
std::string PictureExtensions(bool as_image_folder);

// Archives that are data sets as they are.
bool IsTarName(absl::string_view name);
bool IsZipName(absl::string_view name);
// Archives that have to be unpacked first: ".tar.gz", ".7z" and their like.
bool IsPackedArchiveName(absl::string_view name);
inline bool IsArchiveName(absl::string_view name) { return IsTarName(name) || IsZipName(name); }

// From its last dot; empty without one.
absl::string_view SuffixOf(absl::string_view name);

// "cat" of "a/cat.tar".
absl::string_view StemOf(absl::string_view path);

// How litter is called: files and folders that other programs leave beside pictures and that hold none of the data set,
// such as "._*" (macOS's forks) or "lost+found". Empty for all other names. `name`: the last part of a path.
absl::string_view LitterOf(absl::string_view name, bool folder);

// Whether one of the shell patterns fits `path`, which is relative to the data set, or its last part; * takes slashes.
bool FitsAny(const std::vector<std::string>& patterns, const std::string& path);

}  // namespace tec

#endif  // TEC_DATA_DATASET_NAMES_H_
