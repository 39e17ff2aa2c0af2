#include "data/dataset/names.h"

#include <fnmatch.h>

#include <algorithm>
#include <iterator>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace tec {

bool IsPictureName(absl::string_view name, bool as_image_folder) {
  const auto ends_in = [name](absl::string_view extension) { return absl::EndsWithIgnoreCase(name, extension); };
  return std::any_of(std::begin(kPictureExtensions), std::end(kPictureExtensions), ends_in) ||
         (!as_image_folder &&
          std::any_of(std::begin(kMorePictureExtensions), std::end(kMorePictureExtensions), ends_in));
}

std::string PictureExtensions(bool as_image_folder) {
  return absl::StrCat(absl::StrJoin(kPictureExtensions, " "), as_image_folder ? "" : " ",
                      as_image_folder ? "" : absl::StrJoin(kMorePictureExtensions, " "));
}

bool IsTarName(absl::string_view name) { return absl::EndsWithIgnoreCase(name, ".tar"); }
bool IsZipName(absl::string_view name) { return absl::EndsWithIgnoreCase(name, ".zip"); }

bool IsPackedArchiveName(absl::string_view name) {
  constexpr absl::string_view kSuffixes[] = {".tar.gz",  ".tgz",  ".tar.bz2", ".tbz2", ".tar.xz", ".txz",
                                             ".tar.zst", ".tzst", ".tar.lz4", ".7z",   ".rar"};
  return std::any_of(std::begin(kSuffixes), std::end(kSuffixes),
                     [name](absl::string_view suffix) { return absl::EndsWithIgnoreCase(name, suffix); });
}

absl::string_view SuffixOf(absl::string_view name) {
  const size_t dot = name.rfind('.');
  return dot == absl::string_view::npos ? absl::string_view() : name.substr(dot);
}

absl::string_view StemOf(absl::string_view path) {
  const size_t slash = path.rfind('/');
  if (slash != absl::string_view::npos) path.remove_prefix(slash + 1);
  return path.substr(0, path.size() - SuffixOf(path).size());
}

absl::string_view LitterOf(absl::string_view name, bool folder) {
  constexpr absl::string_view kFiles[] = {".DS_Store",   ".localized",        "Icon\r",      "Thumbs.db",
                                          "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", ".directory",
                                          ".picasa.ini", "Picasa.ini"};
  constexpr absl::string_view kFolders[] = {"__MACOSX",
                                            "@eaDir",
                                            "@Recycle",
                                            "@Recently-Snapshot",
                                            ".@__thumb",
                                            "@SynoEAStream",
                                            "@SynoResource",
                                            "@tmp",
                                            "#recycle",
                                            "#snapshot",
                                            ".recycle",
                                            ".snapshot",
                                            ".snapshots",
                                            "~snapshot",
                                            ".zfs",
                                            "lost+found",
                                            "$RECYCLE.BIN",
                                            "RECYCLER",
                                            "System Volume Information",
                                            ".Trash",
                                            ".Trashes",
                                            ".Spotlight-V100",
                                            ".fseventsd",
                                            ".TemporaryItems",
                                            ".DocumentRevisions-V100",
                                            ".AppleDouble",
                                            ".AppleDB",
                                            ".AppleDesktop",
                                            ".thumbnails",
                                            ".picasaoriginals",
                                            ".xvpics",
                                            ".dtrash",
                                            ".stversions",
                                            ".stfolder",
                                            ".dropbox.cache",
                                            "Network Trash Folder",
                                            "Temporary Items",
                                            ".ipynb_checkpoints",
                                            "__pycache__",
                                            ".git",
                                            ".svn",
                                            ".hg",
                                            ".cache"};
  if (absl::StartsWith(name, "._")) return "._*";
  if (folder && absl::StartsWith(name, ".Trash-")) return ".Trash-*";
  const auto find = [name](const auto& list) -> absl::string_view {
    const auto* found = std::find_if(std::begin(list), std::end(list),
                                     [name](absl::string_view litter) { return absl::EqualsIgnoreCase(name, litter); });
    return found == std::end(list) ? absl::string_view() : *found;
  };
  return folder ? find(kFolders) : find(kFiles);
}

bool FitsAny(const std::vector<std::string>& patterns, const std::string& path) {
  const size_t slash = path.rfind('/');
  const char* name = path.c_str() + (slash == std::string::npos ? 0 : slash + 1);
  return std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) {
    return fnmatch(pattern.c_str(), path.c_str(), 0) == 0 || fnmatch(pattern.c_str(), name, 0) == 0;
  });
}

}  // namespace tec
